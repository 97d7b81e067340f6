"""Airflow must find its test home before anything imports it."""

import airflow_home  # noqa: F401
from docker_engine import bench, engine, step_image  # noqa: F401
