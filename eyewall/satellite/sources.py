"""Where files come from: globs on this machine, folders, and buckets. A source lists; only what is needed is fetched.

    --files GLOB …                      every match; the interval, if one is given, is looked up in the names
    --source FOLDER                     every file below it whose name the reader knows
    --source s3://noaa-himawari9/AHI-L1b-FLDK      NOAA's layout for AHI: …/YYYY/MM/DD/HHMM/ by ten-minute slot
    --source s3://bucket/%Y/%m/%d/%H    any other layout: strftime fields, for each ten minutes of the interval

Buckets are read anonymously; what is forbidden then is asked for again with the usual AWS variables, if they are set
(EYEWALL_S3_ANONYMOUS=0 uses them from the start, 1 never). EYEWALL_S3_ENDPOINT names an S3-compatible server other than
Amazon's. fsspec's own configuration (FSSPEC_S3_…) works as well.
"""

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import IngestJob

NOAA_HIMAWARI: Final = "%Y/%m/%d/%H%M"
_STEP: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class Found:
    """One file that a source offers: its base name, and its place, local (``fs`` None) or on ``fs``.

    ``signed`` is the same file system with credentials, for what an anonymous reader may list but not read.
    """

    name: str
    place: str
    fs: Any = None
    signed: Any = None

    def fetch(self, folder: Path) -> Path:
        """The file on this machine: where it is, or a copy in ``folder`` (its size checked against the listing)."""
        if self.fs is None:
            return Path(self.place)
        copy = folder / self.name
        with _source_errors(self.place):
            try:
                self.fs.get_file(self.place, str(copy))
            except PermissionError:
                if self.signed is None:
                    raise
                self.signed.get_file(self.place, str(copy))
            size = (self.signed or self.fs).info(self.place).get("size")
        if size is not None and copy.stat().st_size != size:
            raise EyewallError(f"{self.place} came with {copy.stat().st_size} of {size} bytes: try again")
        return copy

    def remove(self) -> None:
        """Take the file away from where it was found."""
        if self.fs is None:
            Path(self.place).unlink(missing_ok=True)
        else:
            self.fs.rm_file(self.place)


def find(job: IngestJob, known_name: Callable[[str], bool], environ: Mapping[str, str] = os.environ) -> list[Found]:
    """The files that the job's source offers, sorted by name; from a ``source``, only those with a known name.

    Raises InputError when there is no such place, EyewallError when a bucket does not answer.
    """
    if job.files and job.source:
        raise InputError("both --files and --source are given: give one of them")
    if job.files:
        found = _globbed(job.files)
    elif job.source is None:
        raise InputError("nothing to read: give --files, or --source with --slot-from and --slot-to")
    else:
        found = [file for file in _listed(job, job.source, environ) if known_name(file.name)]
    return sorted(found, key=lambda file: (file.name, file.place))


def _globbed(patterns: Sequence[str]) -> list[Found]:
    places: dict[Path, Path] = {}  # by what it is in the end: a file that two globs match is one file
    for pattern in patterns:
        for match in glob.glob(str(Path(pattern).expanduser()), recursive=True):
            path = Path(match)
            for file in _files_below(path) if path.is_dir() else [path]:
                places.setdefault(file.resolve(), file)
    if not places:
        raise InputError(f"no file matches {', '.join(map(repr, patterns))}: check the path, and quote the glob")
    return [Found(path.name, str(path)) for path in places.values()]


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root) / name for name in names if not name.startswith("."))


def _listed(job: IngestJob, source: str, environ: Mapping[str, str]) -> list[Found]:
    if "://" not in source or source.startswith("file://"):
        return _listed_locally(job, source.removeprefix("file://"))
    import fsspec

    try:
        fs, root = fsspec.core.url_to_fs(source, **_options(source, environ, signed=False))
        wants_both = isinstance(getattr(fs, "anon", None), bool) and fs.anon and "EYEWALL_S3_ANONYMOUS" not in environ
        has_keys = "AWS_ACCESS_KEY_ID" in environ or "AWS_PROFILE" in environ
        signed, _ = (
            fsspec.core.url_to_fs(source, **_options(source, environ, signed=True))
            if wants_both and has_keys
            else (None, "")
        )
    except (ImportError, ValueError) as error:
        raise InputError(f"source {source!r} is of no known kind: {error}") from None
    layout = root.rstrip("/") if "%" in root else f"{root.rstrip('/')}/{NOAA_HIMAWARI}"
    found = []
    for folder in _folders(job, layout):
        with _source_errors(folder), contextlib.suppress(FileNotFoundError):
            entries = _entries(folder, fs, signed)
            found += [Found(e["name"].rsplit("/", 1)[-1], e["name"], fs, signed) for e in entries]
    if not found:
        root = root.split("%", 1)[0].rstrip("/")
        with _source_errors(root):
            there = fs.exists(root) or (signed is not None and signed.exists(root))
        if not there:
            raise InputError(f"source {source!r} is not there: check the bucket and the prefix")
    return found


def _options(source: str, environ: Mapping[str, str], signed: bool) -> dict[str, Any]:
    """Options of the file system; none for anything but S3."""
    if not source.startswith(("s3://", "s3a://")):
        return {}
    options: dict[str, Any] = {"anon": not signed and environ.get("EYEWALL_S3_ANONYMOUS", "1") != "0"}
    if endpoint := environ.get("EYEWALL_S3_ENDPOINT"):
        options["endpoint_url"] = endpoint
    return options


def _entries(folder: str, fs: Any, signed: Any) -> list[dict[str, Any]]:
    """Files in a folder of a bucket, freshly listed; with credentials where an anonymous reader may not look."""
    try:
        entries = fs.ls(folder, detail=True, refresh=True) if hasattr(fs, "anon") else fs.ls(folder, detail=True)
    except PermissionError:
        if signed is None:
            raise
        entries = signed.ls(folder, detail=True, refresh=True)
    return [entry for entry in entries if entry["type"] == "file"]


def _listed_locally(job: IngestJob, source: str) -> list[Found]:
    folders = list(_folders(job, source)) if "%" in source else [source]
    top = Path(source.split("%", 1)[0])
    if not (top if top.is_dir() or "%" not in source else top.parent).is_dir():
        raise InputError(f"source folder {source!r} is not there: check the path")
    return [Found(path.name, str(path)) for folder in folders for path in _files_below(Path(folder))]


def _folders(job: IngestJob, layout: str) -> list[str]:
    """``layout`` filled in for every ten minutes that the interval touches, each folder once, in order."""
    if job.slot_from is None or job.slot_to is None:
        raise InputError(f"source {job.source!r} is laid out by time: give --slot-from and --slot-to")
    time: datetime = job.slot_from.replace(minute=job.slot_from.minute // 10 * 10, second=0, microsecond=0)
    folders: dict[str, None] = {}
    while time < job.slot_to:
        folders[time.strftime(layout)] = None
        time += _STEP
    return list(folders)


@contextlib.contextmanager
def _source_errors(place: str) -> Iterator[None]:
    """One sentence for a source that refuses or does not answer; FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise EyewallError(f"{place} may not be read: {error}; set the AWS variables for a private bucket") from None
    except Exception as error:
        if isinstance(error, EyewallError):
            raise
        # botocore and aiohttp have dozens of classes for "no answer"; none is a fault of the caller's.
        raise EyewallError(f"{place} does not answer: {type(error).__name__}: {error}; try again later") from error
