"""A dispatcher as a process, for tests that kill, freeze or end it: URL FOLDER [--halt-at STEP] [--idle-s N].

``--halt-at create``: just before anything is made, ``start``: between the check that the attempt is ours and the start,
``remove``: after its end was recorded. It writes FOLDER/halted there and goes on once FOLDER/go-on is there.
"""

import argparse
import signal
import time
from pathlib import Path

from eyewall.jobs.dispatcher import Dispatcher
from eyewall.jobs.process.runner import ProcessRunner
from eyewall.jobs.runner import Assignment, Worker
from eyewall.storage import Store


class Halting(ProcessRunner):
    """A runner that stops for a while at one step, as a machine may that has too much to do."""

    folder: Path
    step: str

    def _halt(self, step: str) -> None:
        if step == self.step:
            (self.folder / "halted").touch()
            while not (self.folder / "go-on").exists():
                time.sleep(0.01)

    def create(self, assignment: Assignment) -> None:
        """Halt there, or make it."""
        self._halt("create")
        super().create(assignment)

    def start(self, assignment: Assignment) -> None:
        """Halt there, or start it."""
        self._halt("start")
        super().start(assignment)

    def remove(self, assignment: Assignment) -> None:
        """Halt there, or remove it."""
        self._halt("remove")
        super().remove(assignment)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--halt-at", default="")
    parser.add_argument("--idle-s", type=float)
    parser.add_argument("--grace-s", type=float, default=1.0)
    args = parser.parse_args()
    Halting.folder, Halting.step = args.folder, args.halt_at

    def make(worker: Worker, store: Store) -> ProcessRunner:
        return Halting(worker, store)

    dispatcher = Dispatcher(
        args.url, Store(str(args.folder / "store")), idle_s=args.idle_s, make_runner=make, grace_s=args.grace_s
    )
    signal.signal(signal.SIGTERM, lambda *_: dispatcher.stop())
    dispatcher.run()


if __name__ == "__main__":
    main()
