"""Patience with something that keeps failing: at once when it is new, then after pauses that double up to a limit."""

import time
from collections.abc import Callable


class Backoff:
    """The pause before the next try of *one* thing; another thing starts afresh."""

    def __init__(self, first_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Pauses of ``first_s``, twice that, … up to ``longest_s`` seconds, by ``clock``."""
        self._first_s, self._longest_s, self._clock = first_s, longest_s, clock
        self.clear()

    def clear(self) -> None:
        """Nothing fails any more."""
        self._what: object = None
        self.tries = 0  #: how often it has failed
        self._pause_s, self._due_at = 0.0, 0.0

    def due(self, what: object) -> bool:
        """Whether ``what`` may be tried now: another thing than the one that failed, or its pause is over."""
        return not self.tries or what != self._what or self._clock() >= self._due_at

    def failed(self, what: object) -> float:
        """Note that ``what`` has failed; seconds until it is due again."""
        if not self.tries or what != self._what:
            self.clear()
            self._what = what
        self.tries += 1
        self._pause_s = min(self._longest_s, max(self._first_s, 2 * self._pause_s))
        self._due_at = self._clock() + self._pause_s
        return self._pause_s
