"""A task's process that is killed with -9 right after its n-th request: run by the tests, with JSON as argument."""

import json
import os
import signal
import sys

import airflow_home  # noqa: F401  # before anything of Airflow's
from gang_driver import Drive, FakeGang

from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.settings import Settings
from operators.api_calls import Send


class DyingGang(FakeGang):
    """Its process does not live to see the answer."""

    requests = 0

    def sender(self) -> Send:
        """Count, and die."""
        send = super().sender()

        def send_one(call):
            answer = send(call)
            self.requests += 1
            if self.requests == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return send_one


given = json.loads(sys.argv[1])
killed_at = given["killed_at"]
drive = Drive(
    Settings.model_validate(given["settings"]),
    TrainJob.model_validate(given["job"]),
    told=given["told"],
    run_id=given["run_id"],
    operator=DyingGang,
)
drive.turn(given["event"])
