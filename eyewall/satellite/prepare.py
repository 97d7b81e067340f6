"""A slot's files on this machine, and what each of them is worth: fetched and checked, several at a time.

Downloads wait for the network, and bzip2 takes longer than anything that follows; both leave the interpreter free, so
threads help: two cores unpack two segments in the time of one.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from eyewall.contracts.errors import CorruptFile, InputError
from eyewall.satellite import checks
from eyewall.satellite.faults import machine_fault
from eyewall.satellite.formats import Format
from eyewall.satellite.slots import Candidate
from eyewall.storage.store import sha256_of, storage_errors

_THREADS: Final = min(4, os.cpu_count() or 1)
_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Fetched:
    """A file on this machine: ``folder`` is scratch of its own, there for what has to be copied or unpacked."""

    candidate: Candidate
    path: Path
    folder: Path
    sha256: str

    @property
    def name(self) -> str:
        """Its base name, as the source has it."""
        return self.candidate.found.name


@dataclass(frozen=True)
class Verdict:
    """Of a file that passed: ``plain`` is its content decompressed. Otherwise: the check that it failed, and why."""

    plain: Path | None = None
    failed: str = ""
    reason: str = ""


def fetch(needed: Sequence[Candidate], scratch: Path) -> tuple[list[Fetched], dict[str, str]]:
    """Every candidate that can be had, in order, and the others: name → why it cannot be read.

    A file that is gone or locked since it was listed is missing, not bad: nothing of it could be kept. Raises
    EyewallError when a source does not answer, StorageError when scratch is full.
    """
    missing: dict[str, str] = {}

    def one(numbered: tuple[int, Candidate]) -> Fetched | None:
        number, candidate = numbered
        folder = scratch / f"{number:03d}"
        if candidate.found.fs is not None or checks.is_compressed(Path(candidate.found.name)):
            with storage_errors(f"scratch files in {scratch}"):
                folder.mkdir()
        try:
            local = candidate.found.fetch(folder)
            checks.check_readable(local)
            return Fetched(candidate, local, folder, sha256_of(local))
        except InputError as error:
            missing[candidate.found.name] = str(error)
        except OSError as error:
            if fault := machine_fault(error):
                raise fault from error
            missing[candidate.found.name] = f"the file cannot be read: {error.strerror or error}"
        return None

    fetched = [each for each in _in_threads(one, list(enumerate(needed))) if each is not None]
    return fetched, dict(sorted(missing.items()))


def _in_threads(work: Callable[[_Item], _Done], items: Sequence[_Item]) -> list[_Done]:
    """``work`` on every item, in order; one file alone is not worth a thread."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(work, items))


def examine(form: Format, fetched: Sequence[Fetched]) -> list[Verdict]:
    """The checks of `checks` and of the format on every file by itself, in order."""
    return _in_threads(lambda each: _examine(form, each), fetched)


def _examine(form: Format, each: Fetched) -> Verdict:
    plain, check = each.path, "size"
    try:
        checks.check_size(each.path)
        if checks.is_compressed(each.path):
            check = "compression"
            plain = checks.unpack(each.path, each.folder)
        check = "format"
        form.check(plain, each.candidate.facts)
    except CorruptFile as error:
        return Verdict(failed=check, reason=str(error))
    except (OSError, MemoryError) as error:
        if fault := machine_fault(error):
            raise fault from error
        return Verdict(failed=check, reason=f"the file cannot be read: {getattr(error, 'strerror', None) or error}")
    # A reader may know the compressed name only.
    return Verdict(plain if form.facts(plain.name) is not None else each.path)
