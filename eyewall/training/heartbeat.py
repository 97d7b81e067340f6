"""Signs of life between a replica and the launcher that supervises it: one small file per replica.

A lost TensorFlow peer shows as a hang of all the others, not as an error, so somebody outside has to look. A thread
of the replica touches the file every second (a process that is stopped or swapped out does not), and the training
loop writes its progress into it (a loop that waits for a peer for ever does not).
"""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE_VARIABLE = "EYEWALL_HEARTBEAT"
LAUNCHER_VARIABLE = "EYEWALL_LAUNCHER_PID"
FINISHED = -1
_INTERVAL_S = 0.5


class Heartbeat:
    """The replica's side. Without a launcher (in a container, or alone) it does nothing."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get(FILE_VARIABLE)
        self._path = Path(name) if name else None
        self._launcher = int(environ.get(LAUNCHER_VARIABLE, "0"))
        self._progress = 0

    def start(self) -> "Heartbeat":
        """Beat from now on, in a daemon thread."""
        if self._path is not None:
            threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
        return self

    def progress(self) -> None:
        """Say that the training loop has got a bit further; called first when a step is done."""
        self._progress += 1

    def finish(self) -> None:
        """Say that all steps are done: what comes now may take as long as it takes."""
        self._progress = FINISHED

    def _beat(self) -> None:
        assert self._path is not None
        beside = self._path.with_suffix(".tmp")
        while True:
            if self._launcher and os.getppid() != self._launcher:
                os._exit(1)  # the launcher was killed: nobody would ever end this process
            try:
                beside.write_text(str(self._progress))
                beside.replace(self._path)
            except OSError:
                os._exit(1)  # the launcher has removed its folder: it is going
            time.sleep(_INTERVAL_S)


@dataclass
class Pulse:
    """The launcher's side: what is known of one replica. Times are of the monotonic clock."""

    path: Path
    started_at: float
    progress: int = 0
    progressed_at: float = 0.0
    beaten_at: float = 0.0
    _stamp: int = 0

    def look(self, now: float) -> None:
        """Read the file."""
        try:
            stamp, progress = self.path.stat().st_mtime_ns, int(self.path.read_text())
        except (OSError, ValueError):
            return
        if stamp != self._stamp:  # compared with itself: the wall clock may be set, the monotonic one not
            self._stamp, self.beaten_at = stamp, now
        if progress != self.progress:
            self.progress, self.progressed_at = progress, now

    def silent_s(self, now: float) -> float:
        """Seconds since the last beat."""
        return now - (self.beaten_at or self.started_at)

    def stalled_s(self, now: float) -> float | None:
        """Seconds since the training loop last got further; None before its first step."""
        return now - self.progressed_at if self.progress else None
