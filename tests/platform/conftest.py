"""Fixtures for tests against a real Docker engine."""

from docker_engine import engine, step_image  # noqa: F401
