"""Airflow must find its test home before anything imports it."""

import airflow_home  # noqa: F401
