"""Fixtures for tests against a real Docker engine; and Airflow must find its test home before anything imports it."""

import airflow_home  # noqa: F401
from docker_engine import engine  # noqa: F401
