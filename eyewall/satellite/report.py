"""What an ingest came to: the summary, sentences on stderr, and what to raise when there is no frame at all.

An archive has a hundred thousand slots: of each only a count is kept, and what is listed in the summary ends at
`MAX_LISTED` entries of a kind. The latest frames are listed, and the first refusals; everything was said on stderr.
"""

import sys
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from eyewall.contracts.errors import InputError, NothingNew, StillComing
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite.formats import Format
from eyewall.satellite.ingest import Outcome
from eyewall.satellite.names import Listing, base_names
from eyewall.satellite.quarantine import Refusal
from eyewall.satellite.slots import Slot
from eyewall.satellite.sources import default_layout

_FEW_NAMES: Final = 3
MAX_LISTED: Final = 1000


@dataclass
class Tally:
    """What became of the slots so far, in a memory that does not grow with their number."""

    status: Counter[str] = field(default_factory=Counter)
    frames: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MAX_LISTED))  #: summaries, by time
    latest: Outcome | None = None  #: the last one with a frame
    waiting: Outcome | None = None  #: the first one that waits
    without: list[Outcome] = field(default_factory=list)  #: the first ones that have no frame
    without_count: int = 0
    wrong_requests: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    refusal_count: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    unreadable_count: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one slot more; they come in order of time."""
        self.status[outcome.status] += 1
        if outcome.manifest is not None:
            self.frames.append(_frame_summary(outcome))
            self.latest = outcome
        else:
            self.without_count += 1
            self.wrong_requests += outcome.wrong_request
            if len(self.without) < MAX_LISTED:
                self.without.append(outcome)
        if outcome.status == "waiting" and self.waiting is None:
            self.waiting = outcome
        self.refusal_count += len(outcome.refusals)
        self.refusals += outcome.refusals[: MAX_LISTED - len(self.refusals)]
        self.unreadable_count += len(outcome.unreadable)
        if len(self.unreadable) < MAX_LISTED:
            self.unreadable |= outcome.unreadable

    @property
    def done(self) -> int:
        """Slots with a frame."""
        return self.status.total() - self.without_count


@dataclass(frozen=True)
class Report:
    """Everything that is to be said of one run: what became of slots, and of files that belong to none."""

    job: IngestJob
    form: Format
    listing: Listing
    misnamed: Sequence[Refusal]
    misnamed_unreadable: dict[str, str]
    tally: Tally = field(default_factory=Tally)

    @property
    def _refusals(self) -> list[Refusal]:
        return [*self.misnamed, *self.tally.refusals]

    # --- what to raise -----------------------------------------------------------------------------------------------

    def raise_unless_done(self) -> None:
        """Raises when a slot of a source still waits, or when there is no frame; `step` says which error when."""
        waiting = self.tally.waiting
        if waiting is not None and not self.job.files:
            raise StillComing(
                f"{waiting.slot}: {waiting.reason}; {self.tally.done} other slots are done: try again then"
            )
        if not self.tally.done:
            raise self._nothing()

    def _nothing(self) -> InputError | NothingNew:
        tally, bad = self.tally, len(self.misnamed) + self.tally.refusal_count
        kept = (
            f"; {'1 bad file is' if bad == 1 else f'{bad} bad files are'} in quarantine/{self.job.stream}"
            if bad
            else ""
        )
        if tally.waiting is not None:
            return NothingNew(f"{tally.waiting.slot}: {tally.waiting.reason}{kept}")
        reasons = [f"{outcome.slot}: {outcome.reason}" for outcome in tally.without]
        reasons += [f"{refusal.file}: {refusal.reason}" for refusal in self.misnamed]
        reasons += list(self.misnamed_unreadable.values())
        first = reasons[0] if reasons else self._no_file()
        count = len(reasons) + tally.without_count - len(tally.without)
        more = f" (and {count - 1} more)" if count > 1 else ""
        wrong_request = bool(tally.without_count) and tally.wrong_requests == tally.without_count
        if wrong_request or (self.job.files and reasons):
            return InputError(f"no frame could be made: {first}{more}{kept}")
        return NothingNew(f"nothing to ingest from {self.job.source or 'the files'}: {first}{more}{kept}")

    def _no_file(self) -> str:
        """Why there was no file to look at."""
        if self.listing.candidates:
            times = [candidate.facts.time for candidate in self.listing.candidates]
            span = f"{min(times):%Y-%m-%d %H:%M} to {max(times):%Y-%m-%d %H:%M} UTC"
            return f"no file lies in the interval: the {len(times)} files there are of {span}"
        if self.listing.strangers:
            return f"no file in it has a name of reader {self.job.reader}: {self.form.expected_names()}"
        if layout := default_layout(self.job.source or ""):
            return (
                f"no file lies in the interval, below folders {layout}: "
                "give another layout as strftime fields in --source, if the bucket has one"
            )
        return "no file lies in the interval" if self.job.slot_from or self.job.slot_to else "there is no file in it"

    # --- what to say -------------------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """The latest frame's numbers at the top, each frame's own below, and everything that was refused."""
        tally, status = self.tally, self.tally.status
        unlisted = {
            "frames": tally.done - len(tally.frames),
            "quarantined": tally.refusal_count - len(tally.refusals),
            "refused": tally.without_count - len(tally.without),
            "unreadable": tally.unreadable_count - len(tally.unreadable),
        }
        unreadable = self.misnamed_unreadable | tally.unreadable
        return {
            **tally.frames[-1],
            "quarantined": [refusal.summary() for refusal in self._refusals],
            "stream": self.job.stream,
            "slots_ok": status["made"],
            "slots_present": status["present"],
            "slots_refused": status["refused"],
            "slots_waiting": status["waiting"],
            "refused": [{"slot": str(o.slot), "reason": o.reason} for o in tally.without],
            "unreadable": [{"file": name, "reason": reason} for name, reason in unreadable.items()],
            "strangers": len(self.listing.strangers),
            "stranger_names": base_names(self.listing.strangers, _FEW_NAMES),
            **({"left_in_inbox": self._left_in_inbox()} if self.job.inbox else {}),
            "frames": list(tally.frames),
            **({"unlisted": left} if (left := {k: n for k, n in unlisted.items() if n > 0}) else {}),
        }

    def _left_in_inbox(self) -> list[dict[str, str]]:
        """What is in quarantine and was still not taken away, and why."""
        stay = "not taken away: its name is no satellite file's, and with --files only those are"
        left = [{"file": refusal.file, "reason": stay} for refusal in self.misnamed] if self.job.files else []
        return left + [{"file": refusal.file, "reason": refusal.note} for refusal in self._refusals if refusal.note]

    def _strangers(self) -> str:
        files = self.listing.strangers
        names = ", ".join(base_names(files, _FEW_NAMES)) + (", …" if len(files) > _FEW_NAMES else "")
        what = "1 file is none" if len(files) == 1 else f"{len(files)} files are none"
        return f"{what} of reader {self.job.reader} by name ({names})"

    def say_names(self) -> None:
        """On stderr: files that belong to no slot, and what becomes of them."""
        for refusal in self.misnamed:
            _say_refusal(refusal)
        for name, reason in self.misnamed_unreadable.items():
            _say(f"{name} is passed over: {reason}")
        if self.job.files and self.job.inbox and self.misnamed:
            names = ", ".join(refusal.file for refusal in self.misnamed[:_FEW_NAMES])
            more = ", …" if len(self.misnamed) > _FEW_NAMES else ""
            _say(f"not taken away, since their names are no satellite files': {names}{more}")
        if self.listing.strangers and not self.job.files:
            _say(f"{self._strangers()}: left alone")

    def say_slots(self, slots: Sequence[Slot]) -> None:
        """On stderr: how much an open interval comes to, before it is read."""
        if slots and self.job.source and not (self.job.slot_from and self.job.slot_to):
            lacking = "--slot-from" if self.job.slot_from is None else "--slot-to"
            lacking = lacking if self.job.slot_from or self.job.slot_to else "--slot-from and --slot-to"
            count = "1 slot" if len(slots) == 1 else f"{len(slots)} slots"
            times = str(slots[0]) if len(slots) == 1 else f"{slots[0]} to {slots[-1]}"
            _say(f"no {lacking}: {count} of {self.job.source} will be read, {times}")


def say_outcome(outcome: Outcome) -> None:
    """On stderr: what is wrong with a slot, if anything is."""
    for refusal in outcome.refusals:
        _say_refusal(refusal)
    for name, reason in outcome.unreadable.items():
        _say(f"{name} is passed over: {reason}")
    if outcome.manifest is None:
        _say(f"no frame of {outcome.slot}: {outcome.reason}")


def _say_refusal(refusal: Refusal) -> None:
    _say(f"{refusal.file} is in quarantine: {refusal.reason}")
    if refusal.note:
        _say(refusal.note)


def _say(sentence: str) -> None:
    sys.stderr.write(f"ingest: {sentence}\n")


def _frame_summary(outcome: Outcome) -> dict[str, Any]:
    assert outcome.manifest is not None
    quality = outcome.manifest.extra["quality"]
    return {
        "frame": outcome.path,
        "shape": outcome.manifest.extra["shape"],
        "min": quality["min"],
        "max": quality["max"],
        "valid_fraction": quality["valid_fraction"],
        "quarantined": [refusal.summary() for refusal in outcome.refusals],
    }
