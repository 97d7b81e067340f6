"""The local launcher's ear: what it knows of one replica by the file of `eyewall.training.heartbeat`."""

from dataclasses import dataclass
from pathlib import Path

from eyewall.training.heartbeat import SERVING


@dataclass
class Pulse:
    """What is known of one replica. Times are of the monotonic clock."""

    path: Path
    started_at: float
    progress: int = 0
    progressed_at: float = 0.0
    beaten_at: float = 0.0
    _stamp: int = 0

    def look(self, now: float) -> None:
        """Read the file."""
        try:
            stamp, progress = self.path.stat().st_mtime_ns, int(self.path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if stamp != self._stamp:  # compared with itself: the wall clock may be set, the monotonic one not
            self._stamp, self.beaten_at = stamp, now
        if progress != self.progress:
            self.progress, self.progressed_at = progress, now

    def silent_s(self, now: float) -> float:
        """Seconds since the last beat."""
        return now - (self.beaten_at or self.started_at)

    def stalled_s(self, now: float) -> float | None:
        """Seconds since the training loop last got further; None before its first step, or where it takes none."""
        return now - self.progressed_at if self.progress not in (0, SERVING) else None
