"""Airflow must find its test home before anything imports it."""

import subprocess
import sys
import textwrap

import airflow_home  # noqa: F401
import pytest
from docker_engine import bench, engine, step_image  # noqa: F401
from queue_database import queue, queue_server, queue_url  # noqa: F401


@pytest.fixture
def program(monkeypatch):
    """Replaces ``eyewall.cli`` by a few lines of Python; call with the lines."""
    from operators import process

    real = subprocess.Popen

    def use(code: str) -> None:
        def popen(command, **kwargs):
            assert command[:3] == [sys.executable, "-m", "eyewall.cli"]
            return real([sys.executable, "-c", textwrap.dedent(code), *command[3:]], **kwargs)

        monkeypatch.setattr(process.subprocess, "Popen", popen)

    return use
