"""Whose fault is an error: this machine's, or the file's? Only the machine's may end the step, and be tried again.

Readers and decoders raise OSError for a bad file as well as for a full disk. A file that cannot be decoded is bad, says
so in quarantine, and stays bad however often it is tried. Scratch space that is full, or memory that is used up, says
nothing about a file, and must never send a good one to quarantine.
"""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eyewall.contracts.errors import EyewallError, StorageError
from eyewall.storage.store import storage_errors

_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for temporary files, gone afterwards. StorageError when it cannot be made.

    Errors of the body pass as they are: most of them are not about scratch files.
    """
    with storage_errors("scratch files"):
        folder = tempfile.TemporaryDirectory(prefix="eyewall-ingest-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def empty(folder: Path) -> None:
    """Remove what is in a scratch folder. What cannot be removed stays until the folder itself goes."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def machine_fault(error: BaseException) -> EyewallError | None:
    """What to raise when ``error`` is this machine's fault; None when it is that of what was being read."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _DISK and isinstance(error, OSError):
        where = error.filename or tempfile.gettempdir()
        return StorageError(f"cannot write scratch files in {where}: {error.strerror}; free some space or set TMPDIR")
    if isinstance(error, MemoryError) or number in _RESOURCES:
        text = str(error) or "out of memory"
        return EyewallError(f"this machine has not enough memory or open files: {text}; give a smaller --area")
    return None
