"""The step ``ingest``: files of satellite slots → frames, one for each slot, and bad files in quarantine.

What the exit says. A slot never fails its neighbours: one frame made, or there already, is success. Without any:
- ``--files``: somebody named files and none could be used: InputError (65), after they went to quarantine;
- ``--source`` with an interval: there may simply be nothing, or nothing good, in it: NothingNew (99), since a schedule
  has nothing to mend there; what was bad is recorded in quarantine;
- a slot that waits for more segments (timeliness): NothingNew (99) for ``--files``. From a source it is StillComing
  (75), *after* every other slot is done: the task is tried again until the slot is whole or its limit has passed, or
  nobody would look at it a second time.
A store that cannot be written ends the step at once (74): every slot after would fail as well.
"""

import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from eyewall.contracts.errors import InputError, NothingNew, StillComing
from eyewall.contracts.fields import parse_area
from eyewall.contracts.jobs import IngestJob
from eyewall.contracts.manifest import Receipt, Reference
from eyewall.satellite.formats import Format, format_for
from eyewall.satellite.ingest import Outcome, SlotIngest
from eyewall.satellite.quarantine import Quarantine, Refusal
from eyewall.satellite.slots import Candidate, Slot, group
from eyewall.satellite.sources import Found, find
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

LOG = logging.getLogger(__name__)

_FEW: Final = 8  # slots below which a line of progress is not worth its reading


def run(job: IngestJob) -> Receipt:
    """Ingest every slot that the job names; see the module's docstring for what is raised when there is none."""
    store = Store(job.store)
    form = format_for(job.reader)
    area = parse_area(job.area) if job.area else None
    candidates, strangers = _named(find(job, lambda name: form.facts(name) is not None), form)
    refusals = _refuse_strangers(strangers, store, job, form)
    slots = group(c for c in candidates if _within(job, c.facts.time))
    if not slots:
        raise _nothing(job, [], refusals)
    choice = form.choose([c.facts for slot in slots for c in slot.candidates], job.dataset)
    ingest = SlotIngest(store, job, form, choice, area)
    outcomes = []
    for slot in _with_progress(slots):
        with storage_errors("scratch files"), tempfile.TemporaryDirectory(prefix="eyewall-ingest-") as scratch:
            outcomes.append(ingest.run(slot, Path(scratch), datetime.now(UTC)))
        _log(outcomes[-1])
    done = [outcome for outcome in outcomes if outcome.manifest is not None]
    waiting = [outcome for outcome in outcomes if outcome.status == "waiting"]
    if waiting and not job.files:
        raise StillComing(f"{waiting[0].slot}: {waiting[0].reason}; {len(done)} other slots are done: try again then")
    if not done:
        raise _nothing(job, outcomes, refusals)
    latest = done[-1]
    assert latest.manifest is not None
    return Receipt(
        verb=job.verb,
        result=Reference(uri=latest.path, sha256=latest.manifest.sha256()),
        summary=_summary(job, outcomes, done, refusals),
    )


def _named(found: Sequence[Found], form: Format) -> tuple[list[Candidate], list[Found]]:
    """Files whose name the reader knows, and the others."""
    facts = [(file, form.facts(file.name)) for file in found]
    return [Candidate(file, fact) for file, fact in facts if fact], [file for file, fact in facts if fact is None]


def _within(job: IngestJob, time: datetime) -> bool:
    return (job.slot_from is None or job.slot_from <= time) and (job.slot_to is None or time < job.slot_to)


def _refuse_strangers(strangers: Sequence[Found], store: Store, job: IngestJob, form: Format) -> list[Refusal]:
    """Files that somebody named although no reader would take them: kept with the names that it would take."""
    quarantine = Quarantine(store, job.stream, job.reader)
    reason = f"no file name of this reader: {form.expected_names()}"
    refusals = []
    for file in strangers:
        try:
            refusals.append(quarantine.put(Path(file.place), "name", reason, None, file.remove if job.inbox else None))
        except InputError as error:
            LOG.warning("%s", error)
    return refusals


def _nothing(job: IngestJob, outcomes: Sequence[Outcome], strangers: Sequence[Refusal]) -> InputError | NothingNew:
    """What to raise when there is no frame at all."""
    refusals = [*strangers, *(refusal for outcome in outcomes for refusal in outcome.refusals)]
    kept = f"; {len(refusals)} bad files are in quarantine/{job.stream}" if refusals else ""
    reasons = [f"{outcome.slot}: {outcome.reason}" for outcome in outcomes if outcome.status == "refused"]
    reasons += [f"{refusal.file}: {refusal.reason}" for refusal in strangers]
    waiting = [f"{outcome.slot}: {outcome.reason}" for outcome in outcomes if outcome.status == "waiting"]
    if waiting:
        return NothingNew(f"{waiting[0]}{kept}")
    first = reasons[0] if reasons else "no file lies in the interval"
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    if job.files and reasons:
        return InputError(f"no frame could be made: {first}{more}{kept}")
    return NothingNew(f"nothing to ingest from {job.source or 'the files'}: {first}{more}{kept}")


def _summary(
    job: IngestJob, outcomes: Sequence[Outcome], done: Sequence[Outcome], strangers: Sequence[Refusal]
) -> dict[str, Any]:
    """The latest frame's numbers at the top, each frame's own below, and everything that was refused."""
    frames = [_frame_summary(outcome) for outcome in done]
    refused = [outcome for outcome in outcomes if outcome.status in ("refused", "waiting")]
    every_refusal = [*strangers, *(refusal for outcome in outcomes for refusal in outcome.refusals)]
    return {
        **frames[-1],
        "quarantined": [refusal.summary() for refusal in every_refusal],
        "stream": job.stream,
        "slots_ok": sum(outcome.status == "made" for outcome in outcomes),
        "slots_present": sum(outcome.status == "present" for outcome in outcomes),
        "slots_refused": sum(outcome.status == "refused" for outcome in outcomes),
        "slots_waiting": sum(outcome.status == "waiting" for outcome in outcomes),
        "refused": [{"slot": str(outcome.slot), "reason": outcome.reason} for outcome in refused],
        "frames": frames,
    }


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


def _log(outcome: Outcome) -> None:
    for refusal in outcome.refusals:
        sys.stderr.write(f"ingest: {refusal.file} is in quarantine: {refusal.reason}\n")
    if outcome.manifest is None:
        sys.stderr.write(f"ingest: no frame of {outcome.slot}: {outcome.reason}\n")


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("slots", total=total)
        yield lambda: bar.advance(task)


def _with_progress(slots: Sequence[Slot]) -> Iterator[Slot]:
    """``slots`` one by one: a bar on a terminal, elsewhere a line every tenth when there are many."""
    if sys.stderr.isatty():
        with _bar(len(slots)) as advance:
            for slot in slots:
                yield slot
                advance()
        return
    for number, slot in enumerate(slots, start=1):
        yield slot
        if len(slots) >= _FEW and number * 10 // len(slots) > (number - 1) * 10 // len(slots):
            sys.stderr.write(f"ingest: {number} of {len(slots)} slots\n")
