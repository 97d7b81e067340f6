"""Runs in a job's pod, before the job: puts its code into its working folder. ``place.py SOURCE TARGET NAME``.

SOURCE is the folder with the parts of one archive (part-000 …), or code as it stands in the store: a folder, an
archive, or a single file, which is called NAME. Nothing but the standard library of any Python 3: it runs in whatever
image the job names.
"""

import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path


def place(source: Path, target: Path, name: str) -> None:
    """Fill the folder ``target``."""
    if not source.is_dir():
        unpack(source, target, name)
        return
    entries = sorted(source.iterdir())
    parts = [entry for entry in entries if entry.name.startswith("part-")]
    if parts:
        with tempfile.NamedTemporaryFile() as whole:
            for part in parts:
                with part.open("rb") as stream:
                    shutil.copyfileobj(stream, whole)
            whole.flush()
            unpack(Path(whole.name), target, name)
        return
    for entry in entries:
        if not entry.name.startswith("."):
            copy(entry, target / entry.name)


def unpack(archive: Path, target: Path, name: str) -> None:
    """A zip or tar archive into ``target``, nothing of it outside; any other file as ``name``."""
    if tarfile.is_tarfile(str(archive)):
        with tarfile.open(str(archive)) as tar:
            if hasattr(tarfile, "data_filter"):
                tar.extractall(str(target), filter="data")
            else:  # a Python before 3.8.17; what would get outside meets a read-only root
                tar.extractall(str(target))  # noqa: S202
    elif zipfile.is_zipfile(str(archive)):
        with zipfile.ZipFile(str(archive)) as zipped:
            zipped.extractall(str(target))  # noqa: S202 - it drops .. and leading / by itself
    else:
        shutil.copy2(str(archive), str(target / name))


def copy(source: Path, target: Path) -> None:
    """A file or folder; a link as a link, so that nothing is read that the job could not read."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(str(source), str(target), symlinks=True, ignore=shutil.ignore_patterns(".*"))
    else:
        shutil.copy2(str(source), str(target), follow_symlinks=False)


if __name__ == "__main__":
    place(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
