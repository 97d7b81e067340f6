"""A demo started as from a terminal, with the size of a test."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *options: str) -> "subprocess.Popen[str]":
    """The process; a test run in the background hands on an ignored Ctrl-C, which is put right here."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "EYEWALL"))}
    return subprocess.Popen(
        [sys.executable, "-m", "eyewall.cli", "platform", "demo", "--small", f"--folder={folder}", *options],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
