"""What is done of records that are being built: parts in the store, so that a killed run goes on where it was.

    records/.<digest>.resuming.tmp/00012.tfrecord     samples of one part, in the order in which they were made
    records/.<digest>.resuming.tmp/00012.json         rows, records, sha256, frames used and frames found bad

A part is written beside and renamed, its JSON last: without it the part is not there. Before it is used its content is
compared with its sha256, and one that is truncated or altered is made again. The folder bears the name of the records
that it is for, thus of all that determines them, so that no part of other records is ever taken; and it has a staging
name, which no reader looks at, and which `eyewall store tidy` clears away when a killed run is never started again.

On a local folder one process builds at a time (flock(2), which dies with its owner); another one waits for it. On an
object store two may do the same work, and the same bytes come out.
"""

import contextlib
import fcntl
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.layout import resuming_dir
from eyewall.records.shards import frame_record, read_records
from eyewall.storage import Store
from eyewall.storage.store import sha256_of, storage_errors

#: Raised when the same samples would be written as other bytes.
PART_FORMAT: Final = 1
_POLL_S: Final = 0.5
_SAY_AFTER_S: Final = 3.0


class PartNote(BaseModel):
    """What stands beside a part."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part_format: int = PART_FORMAT
    rows: int = Field(ge=0, description="cases that the part was made from; a sample may be dropped")
    records: int = Field(ge=0)
    sha256: str
    used: dict[str, int] = Field(default_factory=dict, description="frame → samples of the part that took it")
    unreadable: dict[str, str] = Field(default_factory=dict, description="frame → why it could not be read")


@dataclass(frozen=True)
class Parts:
    """The parts of the records at ``path`` in ``store``."""

    store: Store
    path: str

    @property
    def folder(self) -> str:
        """Where they are."""
        return resuming_dir(self.path)

    def note(self, number: int, rows: int) -> PartNote | None:
        """The note of a part that is whole and was made from so many rows; None when it has to be made."""
        names = self._names(number)
        with storage_errors(f"{self.folder!r} in store {self.store.url!r}", "read"):
            if not all(self.store.exists(name) for name in names):
                return None
        try:
            note = PartNote.model_validate_json(self.store.read_bytes(names[1]))
        except ValidationError:
            return None
        if (note.part_format, note.rows) != (PART_FORMAT, rows):
            return None
        if self._sha256(names[0]) != note.sha256:
            sys.stderr.write(f"records: part {number} is damaged: it is made again\n")
            return None
        return note

    def write(self, number: int, rows: int, records: Iterable[bytes], found: "Found") -> PartNote:
        """Write a part from serialised samples; ``found`` is looked at after the last one. Raises StorageError."""
        content, count = self._names(number)[0], 0
        digest = hashlib.sha256()
        with storage_errors(f"{content!r} in store {self.store.url!r}"):
            beside = self._scratch(number)
            try:
                with beside.open("wb") as stream:
                    for record in records:
                        framed = frame_record(record)
                        stream.write(framed)
                        digest.update(framed)
                        count += 1
                    stream.flush()
                    os.fsync(stream.fileno())
                if self.store.is_local:
                    beside.replace(self.store.local(content))
                else:
                    self.store.put_file(beside, content)
            finally:
                beside.unlink(missing_ok=True)
        note = PartNote(
            rows=rows, records=count, sha256=digest.hexdigest(), used=dict(found.used), unreadable=found.unreadable
        )
        self.store.write_bytes(self._names(number)[1], note.model_dump_json().encode())
        return note

    def read(self, number: int, scratch: Path) -> Iterator[bytes]:
        """The serialised samples of a part, checked one by one; ``scratch`` takes a copy from an object store."""
        content = self._names(number)[0]
        if self.store.is_local:
            yield from read_records(self.store.local(content))
            return
        copy = scratch / content.rsplit("/", 1)[-1]
        with storage_errors(f"{content!r} in store {self.store.url!r}", "read"):
            self.store.fs.get_file(self.store.full(content), str(copy))
        yield from read_records(copy)
        copy.unlink()

    def clear(self) -> None:
        """Remove all of them: the records are there, or will never be."""
        self.store.remove(self.folder)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Build alone, where the store is a local folder; waits while another process does."""
        if not self.store.is_local:
            yield
            return
        with storage_errors(f"{self.folder!r} in store {self.store.url!r}"):
            stream = self._locked()
        with stream:
            yield

    def _locked(self) -> "contextlib.AbstractContextManager[object]":
        path, start, said = self.store.local(self.folder) / "lock", time.monotonic(), False
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # it has just been cleared away
                stream = path.open("a+")
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                        return stream
                except BlockingIOError:
                    pass
                stream.close()
            if not said and time.monotonic() - start > _SAY_AFTER_S:
                sys.stderr.write("records: another process builds the same records: waiting for it\n")
                said = True
            time.sleep(_POLL_S)

    def _names(self, number: int) -> tuple[str, str]:
        return f"{self.folder}/{number:05d}.tfrecord", f"{self.folder}/{number:05d}.json"

    def _scratch(self, number: int) -> Path:
        if self.store.is_local:
            folder = self.store.local(self.folder)
            folder.mkdir(parents=True, exist_ok=True)
            return folder / f".{number:05d}.{os.getpid():08d}.tmp"
        import tempfile

        handle, name = tempfile.mkstemp(prefix="eyewall-part-")
        os.close(handle)
        return Path(name)

    def _sha256(self, path: str) -> str:
        if self.store.is_local:
            return sha256_of(self.store.local(path))
        digest = hashlib.sha256()
        with self.store.fs.open(self.store.full(path), "rb") as stream:
            while chunk := stream.read(2**20):
                digest.update(chunk)
        return digest.hexdigest()


@dataclass
class Found:
    """What a part has come to know of the frames: how many of its samples took each, and which are bad."""

    used: Counter[str]
    unreadable: dict[str, str]
