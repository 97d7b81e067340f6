"""What an ingest came to: the summary, sentences on stderr, and what to raise when there is no frame at all."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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


@dataclass(frozen=True)
class Report:
    """Everything that is to be said of one run: what became of slots, and of files that belong to none."""

    job: IngestJob
    form: Format
    listing: Listing
    misnamed: Sequence[Refusal]
    misnamed_unreadable: dict[str, str]
    outcomes: Sequence[Outcome] = ()

    @cached_property
    def done(self) -> list[Outcome]:
        """Outcomes with a frame, in order of time."""
        return [outcome for outcome in self.outcomes if outcome.manifest is not None]

    @cached_property
    def _waiting(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "waiting"]

    @cached_property
    def _refusals(self) -> list[Refusal]:
        return [*self.misnamed, *(refusal for outcome in self.outcomes for refusal in outcome.refusals)]

    # --- what to raise -----------------------------------------------------------------------------------------------

    def raise_unless_done(self) -> None:
        """Raises when a slot of a source still waits, or when there is no frame; `step` says which error when."""
        if self._waiting and not self.job.files:
            slot, reason = self._waiting[0].slot, self._waiting[0].reason
            raise StillComing(f"{slot}: {reason}; {len(self.done)} other slots are done: try again then")
        if not self.done:
            raise self._nothing()

    def _nothing(self) -> InputError | NothingNew:
        bad = "1 bad file is" if len(self._refusals) == 1 else f"{len(self._refusals)} bad files are"
        kept = f"; {bad} in quarantine/{self.job.stream}" if self._refusals else ""
        if self._waiting:
            return NothingNew(f"{self._waiting[0].slot}: {self._waiting[0].reason}{kept}")
        reasons = [f"{outcome.slot}: {outcome.reason}" for outcome in self.outcomes]
        reasons += [f"{refusal.file}: {refusal.reason}" for refusal in self.misnamed]
        reasons += list(self.misnamed_unreadable.values())
        first = reasons[0] if reasons else self._no_file()
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        wrong_request = bool(self.outcomes) and all(outcome.wrong_request for outcome in self.outcomes)
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
        frames = [_frame_summary(outcome) for outcome in self.done]
        status = [outcome.status for outcome in self.outcomes]
        unreadable = dict(self.misnamed_unreadable)
        for outcome in self.outcomes:
            unreadable |= outcome.unreadable
        return {
            **frames[-1],
            "quarantined": [refusal.summary() for refusal in self._refusals],
            "stream": self.job.stream,
            "slots_ok": status.count("made"),
            "slots_present": status.count("present"),
            "slots_refused": status.count("refused"),
            "slots_waiting": status.count("waiting"),
            "refused": [
                {"slot": str(o.slot), "reason": o.reason} for o in self.outcomes if o.status in ("refused", "waiting")
            ],
            "unreadable": [{"file": name, "reason": reason} for name, reason in unreadable.items()],
            "strangers": len(self.listing.strangers),
            "stranger_names": base_names(self.listing.strangers, _FEW_NAMES),
            **({"left_in_inbox": self._left_in_inbox()} if self.job.inbox else {}),
            "frames": frames,
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
