"""The ``process`` backend: a step as a child process of the task, in a process group of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context

from eyewall.contracts.jobs import Job
from eyewall.contracts.settings import Settings
from operators.outcome import Outcome, OutputReader

#: What a step may see of the task's environment. Airflow's own variables (its secrets, its database) are not among it,
#: nor is EYEWALL_DATABASE_URL: no step writes to the catalogue.
ALLOWED_NAMES = frozenset(
    {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "NO_COLOR"}
    # A source or a store behind a proxy, or behind a certificate of one's own.
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
    | {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
)
ALLOWED_PREFIXES = ("EYEWALL_", "AWS_", "TF_", "CUDA_", "NVIDIA_", "XDG_", "LC_", "OMP_", "SSL_", "FSSPEC_")
WITHHELD = frozenset({"EYEWALL_DATABASE_URL"})
#: How long a step has between SIGTERM and SIGKILL; its checkpoints make a hard end harmless.
GRACE_S = 15.0


def step_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of ``environ`` that a step gets to see."""
    return {
        name: value
        for name, value in environ.items()
        if (name in ALLOWED_NAMES or name.startswith(ALLOWED_PREFIXES)) and name not in WITHHELD
    }


class ProcessBackend:
    """Runs one command line ``eyewall <args>`` and can be stopped from a signal handler meanwhile."""

    def __init__(self, settings: Settings, task: BaseOperator) -> None:
        """Every line of output goes into the task's log as it comes."""
        self._log = task.log
        self._process: subprocess.Popen[str] | None = None

    def run(self, job: Job, context: Context) -> Outcome:
        """Run the job to its end. Whatever interrupts the wait ends the whole process group first."""
        return self.run_command([*job.to_args(), "--json"])

    def resume(self, job: Job, context: Context, event: dict[str, Any]) -> Outcome:
        """Never called: a process is waited for by the task itself."""
        raise NotImplementedError("the process backend does not defer")

    def run_command(self, args: Sequence[str], extra: Mapping[str, str] | None = None) -> Outcome:
        """Run ``eyewall <args>`` to its end, with the variables ``extra`` beside those that a step may see."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "eyewall.cli", *args],
            env={**step_environment(os.environ), "PYTHONUNBUFFERED": "1", **(extra or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, so that stop() reaches its workers too
        )
        reader = OutputReader(self._log.info)
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                reader.take(line)
            return reader.outcome(self._process.wait())
        finally:
            self.stop()

    def stop(self) -> None:
        """End the process group: SIGTERM, GRACE_S, SIGKILL. Harmless when it has ended."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE_S)
            os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their leader
        process.wait()
