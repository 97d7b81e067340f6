"""Quarantine: what was refused is kept in the store with a JSON reason, once for each content.

    quarantine/<stream>/<file>__<sha256[:12]>                the bytes as they came
    quarantine/<stream>/<file>__<sha256[:12]>.reason.json    {"file", "sha256", "bytes", "check", "reason", "slot", …}

The reason is written last and is the commit marker. The original stays where it is: a source may be read-only, or
another's. Only from a folder that is declared an inbox is it taken away, once the copy and its reason are there. Where
that is not allowed, the file stays, the refusal says so, and nothing else suffers from it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import quarantine_path, time_key
from eyewall.storage import Store
from eyewall.storage.store import storage_errors


@dataclass(frozen=True)
class Refusal:
    """One refused file: its base name, the check that it failed, why, and where it is kept.

    ``note`` says why it was not taken away from an inbox, when it was not.
    """

    file: str
    check: str
    reason: str
    path: str
    note: str = field(default="", compare=False)

    def summary(self) -> dict[str, str]:
        """As ``--json`` prints it."""
        return {"file": self.file, "reason": self.reason, "check": self.check, "path": self.path}


@dataclass(frozen=True)
class Quarantine:
    """The quarantine of one stream."""

    store: Store
    stream: str
    reader: str

    def put(
        self, path: Path, check: str, reason: str, slot: datetime | None, remove: Callable[[], None] | None = None
    ) -> Refusal:
        """Keep a copy of the file at ``path`` with the reason; the same content again changes nothing.

        ``remove`` takes the original away afterwards; its InputError becomes the refusal's note. Raises InputError for
        a file that cannot be read, StorageError when the store cannot take the copy.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"file {path.name} cannot be read: {error.strerror}; check that it is there") from None
        sha256 = hashlib.sha256(content).hexdigest()
        kept = quarantine_path(self.stream, path.name, sha256)
        with storage_errors(f"{kept!r} in store {self.store.url!r}"):
            present = self.store.exists(f"{kept}.reason.json")
        if not present:
            self.store.write_bytes(kept, content)
            self.store.write_json(
                f"{kept}.reason.json",
                {
                    "schema_version": 1,
                    "file": path.name,
                    "sha256": sha256,
                    "bytes": len(content),
                    "check": check,
                    "reason": reason,
                    "slot": time_key(slot) if slot else None,
                    "reader": self.reader,
                    "stream": self.stream,
                },
            )
        try:
            if remove is not None:
                remove()
        except InputError as error:
            return Refusal(path.name, check, reason, kept, note=str(error))
        return Refusal(path.name, check, reason, kept)
