"""The step ``ingest``: files of satellite slots → frames, one for each slot, and bad files in quarantine.

What the exit says. A slot never fails its neighbours: one frame made, or there already, is success. Without any:
- ``--files``: somebody named files and none could be used: InputError (65), after they went to quarantine;
- ``--source``: there may simply be nothing, or nothing good, in its interval: NothingNew (99), since a schedule has
  nothing to mend there; what was bad is recorded in quarantine. Where every slot was refused for what is asked of it
  (an area out of the satellite's sight, no projection.json), somebody has to mend that: InputError (65);
- a slot that waits for more segments (timeliness): NothingNew (99) for ``--files``. From a source it is StillComing
  (75), *after* every other slot is done: the task is tried again until the slot is whole or its limit has passed, or
  nobody would look at it a second time.
A store or scratch space that cannot be written ends the step at once (74): every slot after would fail as well. A file
that cannot be read or decoded never does (`faults`).
"""

from datetime import UTC, datetime

from eyewall.contracts.fields import parse_area
from eyewall.contracts.jobs import IngestJob
from eyewall.contracts.manifest import Receipt, Reference
from eyewall.progress import progress
from eyewall.satellite import names
from eyewall.satellite.faults import empty, scratch_folder
from eyewall.satellite.formats import format_for
from eyewall.satellite.ingest import SlotIngest
from eyewall.satellite.report import Report, say_outcome
from eyewall.satellite.slots import group
from eyewall.satellite.sources import find
from eyewall.storage import Store


def run(job: IngestJob) -> Receipt:
    """Ingest every slot that the job names; see the module's docstring for what is raised when there is none."""
    store = Store(job.store)
    form = format_for(job.reader)
    area = parse_area(job.area) if job.area else None
    listing = names.sort(find(job, may_hold=form.may_hold), form, job.dataset)
    report = Report(job, form, listing, *names.refuse(listing, store, job, form))
    report.say_names()
    slots = group(c for c in listing.candidates if _within(job, c.facts.time))
    report.say_slots(slots)
    if slots:
        choice = form.choose([c.facts for slot in slots for c in slot.candidates], job.dataset)
        ingest = SlotIngest(store, job, form, choice, area)
        with scratch_folder() as scratch, progress("ingest", total=len(slots), unit="slots") as advance:
            for slot in slots:
                outcome = ingest.run(slot, scratch, datetime.now(UTC))
                empty(scratch)
                report.tally.add(outcome)
                say_outcome(outcome)
                advance(1, str(slot))
    report.raise_unless_done()
    latest = report.tally.latest
    assert latest is not None
    assert latest.manifest is not None
    return Receipt(
        verb=job.verb,
        result=Reference(uri=latest.path, sha256=latest.manifest.sha256()),
        summary=report.summary(),
    )


def _within(job: IngestJob, time: datetime) -> bool:
    return (job.slot_from is None or job.slot_from <= time) and (job.slot_to is None or time < job.slot_to)
