"""A listing sorted by what the names say, before any file is opened.

    candidates   the reader knows the name: slots are made of them
    misnamed     plainly meant for the channel that is read, and spoilt: quarantine, check ``name``, from any source
    strangers    anything else: a README, a checksum, another satellite's file, a transfer under way (….part)

What is plainly meant: the marks of the reader's patterns, and their extension. The channel matters, because a bucket
whose names the reader does not know has hundreds of files a slot, and none of them should be fetched for its name.

Below a ``source`` strangers are left alone, and counted, since a folder that is read every hour may hold anything. With
``files`` they go to quarantine too, because somebody named them. An inbox gives up only what has a satellite file's
name: strangers are never taken away, and with ``files``, whose glob may match anything, misnamed files are not either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite.checks import check_readable
from eyewall.satellite.faults import scratch_folder
from eyewall.satellite.formats import Format
from eyewall.satellite.quarantine import Quarantine, Refusal
from eyewall.satellite.slots import Candidate
from eyewall.satellite.sources import Found
from eyewall.storage import Store


@dataclass
class Listing:
    """What a source offers."""

    candidates: list[Candidate] = field(default_factory=list)
    misnamed: list[Found] = field(default_factory=list)
    strangers: list[Found] = field(default_factory=list)


def sort(found: Sequence[Found], form: Format, dataset: str | None) -> Listing:
    """Files by what their names say to the reader; ``dataset`` None is the channel that it would choose."""
    listing = Listing()
    others = []
    for file in found:
        facts = form.facts(file.name)
        if facts is None:
            others.append(file)
        else:
            listing.candidates.append(Candidate(file, facts))
    kinds = _kinds(listing, form, dataset)
    for file in others:
        (listing.misnamed if form.resembles(file.name, kinds) else listing.strangers).append(file)
    return listing


def _kinds(listing: Listing, form: Format, dataset: str | None) -> frozenset[str]:
    """The file kinds of the channel, as far as the files that are there tell."""
    try:
        choice = form.choose([candidate.facts for candidate in listing.candidates], dataset)
    except InputError:  # said again where it matters
        return frozenset()
    return choice.kinds


def refuse(listing: Listing, store: Store, job: IngestJob, form: Format) -> tuple[list[Refusal], dict[str, str]]:
    """Misnamed files, and strangers among ``files``, to quarantine; also name → why, of those that cannot be read."""
    quarantine = Quarantine(store, job.stream, job.reader)
    reason = f"no file name of this reader: {form.expected_names()}"
    refusals: list[Refusal] = []
    unreadable: dict[str, str] = {}
    named = [*listing.misnamed, *(listing.strangers if job.files else ())]
    for file in sorted(named, key=lambda each: (each.name, each.place)):
        try:
            with scratch_folder() as scratch:
                local = file.fetch(scratch)
                check_readable(local)
                take_away = file.remove if job.inbox and not job.files else None
                refusals.append(quarantine.put(local, "name", reason, None, take_away))
        except (InputError, FileNotFoundError) as error:
            unreadable[file.name] = str(error)
    return refusals, unreadable


def base_names(files: Sequence[Found], most: int) -> list[str]:
    """The first few distinct names."""
    return list(dict.fromkeys(Path(file.name).name for file in files))[:most]
