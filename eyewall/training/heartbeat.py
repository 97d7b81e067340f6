"""Signs of life of a replica in one small file, and who judges them: the local launcher, or a pod's liveness probe.

A lost TensorFlow peer shows as a hang of all the others, not as an error, so somebody outside has to look. A thread
of the replica writes the file twice a second (a process that is stopped or swapped out does not), and the training
loop has its progress written into it (a loop that waits for a peer for ever gets no further).

    python -m eyewall.training.heartbeat --file PATH --timeout-s 120

ends with 0 while the replica beats and gets further, else with 1 and one sentence. It is run every few seconds beside
a training, so it imports the standard library only, and little of that.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

FILE_VARIABLE = "EYEWALL_HEARTBEAT"
LAUNCHER_VARIABLE = "EYEWALL_LAUNCHER_PID"
FINISHED, SERVING = -1, -2  #: in place of a count of progress
START_UP_S = 300.0  #: to the end of the first step: imports, reading, connecting, tracing
_INTERVAL_S = 0.5


class Heartbeat:
    """The replica's side. Where the environment names no file it does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get(FILE_VARIABLE)
        self._path = Path(name) if name else None
        self._launcher = int(environ.get(LAUNCHER_VARIABLE, "0"))
        self._steps = 0
        self.shown = 0  #: what the file says: the count of progress, or FINISHED, or SERVING
        self._progressed_at = time.monotonic()

    def start(self) -> "Heartbeat":
        """Beat from now on, in a daemon thread. Raises OSError when the file cannot be written."""
        if self._path is not None:
            self._write(self._path)
            threading.Thread(target=self._beat, args=(self._path,), name="heartbeat", daemon=True).start()
        return self

    def progress(self) -> None:
        """Say that the training loop has got a bit further; called first when a step is done."""
        self._steps += 1
        self.shown, self._progressed_at = self._steps, time.monotonic()

    def finish(self) -> None:
        """Say that all steps are done: what comes now may take as long as it takes."""
        self.shown = FINISHED

    def serve(self) -> None:
        """Say that others have to get further now: a server has no steps, a worker waits for the chief's checkpoint.

        Until the next `progress`. Whoever is waited for has a heartbeat of its own.
        """
        self.shown = SERVING

    def _write(self, path: Path) -> None:
        """Progress, and when it was made, and now: seconds of the monotonic clock, which all processes share."""
        beside = path.with_name(path.name + ".tmp")
        beside.write_text(f"{self.shown} {self._progressed_at:.3f} {time.monotonic():.3f}\n")
        beside.replace(path)

    def _beat(self, path: Path) -> None:
        while True:
            if self._launcher and os.getppid() != self._launcher:
                os._exit(1)  # the launcher was killed: nobody would ever end this process
            try:
                self._write(path)
            except OSError:
                if self._launcher:
                    os._exit(1)  # the launcher has removed its folder: it is going
                # In a pod a disk may be full for a moment; if it stays so, the probe hears silence.
            time.sleep(_INTERVAL_S)


def complaint(path: Path, timeout_s: float, start_up_s: float = START_UP_S, now: float | None = None) -> str | None:
    """What is wrong with the replica that writes ``path``, in one sentence; None when it is well.

    ``now`` is of the monotonic clock of the machine on which the replica runs.
    """
    now = time.monotonic() if now is None else now
    try:
        words = path.read_text().split()
        progress, progressed_at, beaten_at = int(words[0]), float(words[1]), float(words[2])
    except (OSError, ValueError, IndexError) as error:
        return f"no heartbeat can be read from {path} ({error}): the replica has not begun, or {FILE_VARIABLE} differs"
    # A beat from the future is of an earlier life of the machine, whose clock began anew.
    if not 0 <= now - beaten_at <= timeout_s:
        return f"the replica has been silent for more than {timeout_s:g} s: it is frozen"
    stalled_s = now - progressed_at
    if progress == 0 and stalled_s > start_up_s:
        return f"the replica has not done its first step for {stalled_s:.0f} s: a peer or the storage keeps it waiting"
    if progress > 0 and stalled_s > timeout_s:
        return f"the replica has not got any further for {stalled_s:.0f} s: it waits for a lost peer"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a replica by its file; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m eyewall.training.heartbeat", description="Is this replica well?")
    parser.add_argument("--file", type=Path, required=True, help=f"what {FILE_VARIABLE} names for the replica")
    parser.add_argument("--timeout-s", type=float, required=True, help="silent, or no further, for this long: lost")
    parser.add_argument("--start-up-s", type=float, default=START_UP_S, help="time until the first step is done")
    options = parser.parse_args(arguments)
    sentence = complaint(options.file, options.timeout_s, max(options.start_up_s, options.timeout_s))
    if sentence is not None:
        sys.stderr.write(f"eyewall: {sentence}\n")
    return 0 if sentence is None else 1


if __name__ == "__main__":
    sys.exit(main())
