"""Slots: files that make one picture, and the gate that says whether enough of them are there.

A slot is named by its nominal time (and by its sector or storm, where a time has several). Of its segments some are
*wanted* (the area needs them), some *critical* (without them the picture is not worth having). While a slot is younger
than the timeliness limit, wanted segments may still come and the slot waits; after it, what is there has to do.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from eyewall.contracts.errors import InputError, NothingNew
from eyewall.satellite.formats import NameFacts
from eyewall.satellite.sources import Found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file of a source and what its name says."""

    found: Found
    facts: NameFacts


@dataclass(frozen=True, slots=True)
class Slot:
    """The files of one nominal time and part, sorted by name."""

    time: datetime
    part: str
    candidates: tuple[Candidate, ...]

    def __str__(self) -> str:
        return f"{self.time:%Y-%m-%d %H:%M:%S} UTC" + (f" ({self.part})" if self.part else "")

    @property
    def segment_count(self) -> int:
        """Segments of the whole picture; 1 where the format has none."""
        return max((candidate.facts.segments or 1 for candidate in self.candidates), default=1)


def group(candidates: Iterable[Candidate]) -> list[Slot]:
    """Candidates → slots in order of time and part."""
    slots: dict[tuple[datetime, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        slots[candidate.facts.time, candidate.facts.part].append(candidate)
    return [Slot(time, part, tuple(members)) for (time, part), members in sorted(slots.items())]


@dataclass(frozen=True)
class Gate:
    """Which segments a slot needs, and how long it may wait for them."""

    wanted: frozenset[int]
    critical: frozenset[int]
    timeliness: timedelta | None

    def judge(
        self, present: frozenset[int], slot: datetime, now: datetime, lacking: frozenset[str] = frozenset()
    ) -> None:
        """Passes, or raises NothingNew (wait for more), or InputError (a critical segment will not come).

        ``lacking`` are kinds of files without which no segment can be read: prologue, epilogue.
        """
        missing = (self.wanted | self.critical) - present
        if (missing or lacking) and self.timeliness is not None and now - slot < self.timeliness:
            what = f"files {', '.join(sorted(lacking))}" if lacking else f"segments {_listed(missing)}"
            raise NothingNew(
                f"{what} are missing {_minutes(now - slot)} after the slot: "
                f"they may come until {_minutes(self.timeliness)}"
            )
        if lacking:
            raise InputError(f"{', '.join(sorted(lacking))} is missing: no segment can be read without it")
        if critical := self.critical - present:
            raise InputError(f"critical segments {_listed(critical)} are missing: the slot is refused")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _minutes(time: timedelta) -> str:
    return f"{time.total_seconds() / 60:.0f} min"
