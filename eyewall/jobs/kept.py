"""What a job left in its output folder, from a tar that an engine sends, to the store; nothing of it is trusted."""

import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from eyewall.jobs.code_files import plain_path
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

MAX_FILES = 100_000
#: Beside the kept files: what was not kept, and why; only there where something was not.
LEFT_OUT = "LEFT-OUT.txt"
_MAX_NOTES = 1000


class _Stream:
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def take(chunks: Iterable[bytes], folder: Path, limit_bytes: int) -> list[str]:
    """Write the plain files of a tar below ``folder``, without its first path part; what was left out, a line each.

    Links, devices and names that lead out are left out; at the limit of bytes or files, all the rest is.
    Raises tarfile.TarError where the stream breaks off, StorageError where ``folder`` cannot be written.
    """
    notes: list[str] = []
    count = total = 0
    with tarfile.open(fileobj=cast(IO[bytes], _Stream(chunks)), mode="r|") as tar:
        for member in tar:
            path = plain_path(member.name)
            inside = None if path is None else path.partition("/")[2]
            if inside == "" and member.isdir():
                continue  # the folder itself
            if not inside:
                notes.append(f"{member.name!r}: no plain path below the output folder")
            elif member.isdir():
                (folder / inside).mkdir(parents=True, exist_ok=True)
            elif not member.isreg():
                notes.append(f"{member.name!r}: a link or a device, not a file")
            elif count >= MAX_FILES or total + member.size > limit_bytes:
                notes.append(f"{member.name!r} and all after it: more than {MAX_FILES} files or {limit_bytes} bytes")
                break
            else:
                count, total = count + 1, total + member.size
                _write(tar, member, folder / inside)
            if len(notes) >= _MAX_NOTES:
                notes.append("and more")
                break
    return notes


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None  # a regular file has one
    # Only the writing: what breaks while it is read is the engine's.
    with storage_errors(f"{member.name!r} on its way to the store"):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb", buffering=0)  # nothing is left to write when it is closed
    with file:
        while piece := content.read(1 << 20):
            with storage_errors(f"{member.name!r} on its way to the store"):
                left = memoryview(piece)
                while left:
                    left = left[file.write(left) :]
    if member.mode & 0o100:
        target.chmod(0o755)


def keep_folder(store: Store, path: str, folder: Path) -> None:
    """Put every file of ``folder`` into the store below ``path``; each is whole or not there. Safe to repeat."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.put_file(file, f"{path}/{file.relative_to(folder).as_posix()}")
