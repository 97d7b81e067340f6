"""Where files come from: globs on this machine, folders, and buckets. A source lists; only what is needed is fetched.

    --files GLOB …                      every match; the interval, if one is given, is looked up in the names
    --source FOLDER                     every file below it; the interval, if one is given, is looked up in the names
    --source FOLDER/%Y/%m/%d            strftime fields: only the folders of the interval (`layouts`)
    --source s3://noaa-himawari9/AHI-L1b-FLDK      a bucket without fields has NOAA's layout for AHI, …/%Y/%m/%d/%H%M
    --source s3://bucket/%Y/%m/%d/%H    a bucket with any other layout

Buckets are read anonymously; what is forbidden then is asked for again with the usual AWS variables, if they are set
(EYEWALL_S3_ANONYMOUS=0 uses them from the start, 1 never). EYEWALL_S3_ENDPOINT names an S3-compatible server other than
Amazon's. fsspec's own configuration (FSSPEC_S3_…) works as well.
"""

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import IngestJob
from eyewall.satellite.faults import machine_fault
from eyewall.satellite.layouts import fixed_part, folders, is_layout

NOAA_HIMAWARI: Final = "%Y/%m/%d/%H%M"
_LISTINGS_AT_ONCE: Final = 8
_ALWAYS: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
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
        """Take the file away from where it was found. Raises InputError when that is not allowed, or fails."""
        try:
            if self.fs is None:
                Path(self.place).unlink(missing_ok=True)
            else:
                (self.signed or self.fs).rm_file(self.place)
        except Exception as error:  # a bucket's client has dozens of classes for "no"
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.place} cannot be taken away: {reason}; allow it, or leave --inbox out") from error


#: Whether a folder of this name may hold files of an interval (start, end); see `formats.Format.may_hold`.
MayHold = Callable[[str, datetime, datetime], bool]


def find(job: IngestJob, environ: Mapping[str, str] = os.environ, may_hold: MayHold | None = None) -> list[Found]:
    """The files that the job's source offers, sorted by name, whatever they are called.

    Of a source on this machine, folders that the reader knows to be of other times (``may_hold``) are not looked into.
    Raises InputError when there is no such place, EyewallError when a bucket does not answer.
    """
    if job.files and job.source:
        raise InputError("both --files and --source are given: give one of them")
    if job.slot_from is not None and job.slot_to is not None and job.slot_from >= job.slot_to:
        raise InputError(
            f"the interval from {job.slot_from:%Y-%m-%dT%H:%M} to {job.slot_to:%Y-%m-%dT%H:%M} is empty: "
            "--slot-to is exclusive and must be later than --slot-from"
        )
    if job.files:
        found = _globbed(job.files)
    elif job.source is None:
        raise InputError("nothing to read: give --files, or --source with --slot-from and --slot-to")
    elif "://" not in job.source or job.source.startswith("file://"):
        found = _listed_locally(job, job.source.removeprefix("file://"), may_hold)
    else:
        found = _listed(job, job.source, environ)
    return sorted(found, key=lambda file: (file.name, file.place))


def default_layout(source: str) -> str:
    """The layout that is taken for ``source``, when it is a bucket that names none; empty otherwise."""
    return NOAA_HIMAWARI if "://" in source and not source.startswith("file://") and not is_layout(source) else ""


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


def _files_below(folder: Path, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Path]:
    """Every file in ``folder`` and in the folders below it whose names are ``wanted``, but for hidden ones."""

    def locked(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):  # gone since its parent was listed
            raise InputError(f"folder {error.filename} cannot be listed: {error.strerror}; check its permissions")

    for root, inner, names in os.walk(folder, onerror=locked):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and wanted(name))
        yield from (Path(root) / name for name in names if not name.startswith("."))


def _listed(job: IngestJob, source: str, environ: Mapping[str, str]) -> list[Found]:
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
    layout = root.rstrip("/") if is_layout(root) else f"{root.rstrip('/')}/{NOAA_HIMAWARI}"

    def files_in(folder: str) -> list[Found]:
        entries = _entries(folder, fs, signed)
        return [Found(_base(e), e["name"], fs, signed) for e in entries if e["type"] == "file"]

    def names_in(folder: str) -> set[str]:
        return {_base(entry) for entry in _entries(folder, fs, signed)}

    with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as pool:  # a day of a bucket is 144 requests
        found = [file for files in pool.map(files_in, _folders(job, layout, names_in)) for file in files]
    if not found:
        root = fixed_part(layout) or root
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
    """What is in a folder of a bucket, freshly listed; with credentials where an anonymous reader may not look."""
    with _source_errors(folder), contextlib.suppress(FileNotFoundError):
        try:
            return list(fs.ls(folder, detail=True, **({"refresh": True} if hasattr(fs, "anon") else {})))
        except PermissionError:
            if signed is None:
                raise
            return list(signed.ls(folder, detail=True, refresh=True))
    return []


def _base(entry: Mapping[str, Any]) -> str:
    return str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]


def _listed_locally(job: IngestJob, source: str, may_hold: MayHold | None) -> list[Found]:
    start, end = job.slot_from or _ALWAYS[0], job.slot_to or _ALWAYS[1]

    def wanted(name: str) -> bool:
        return may_hold is None or may_hold(name, start, end)

    def names_in(folder: str) -> set[str]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return {path.name for path in Path(folder).iterdir()}
        return set()

    top = Path(source)
    laid_out = is_layout(source) and not top.is_dir()  # a folder may be called 100%done
    if laid_out:
        _interval(job)
        top = Path(fixed_part(source) or ("/" if source.startswith("/") else "."))
    if top.is_file():
        raise InputError(f"source {source!r} is a file: name files with --files, or the folder that they are in")
    if not top.is_dir():
        raise InputError(f"source folder {str(top)!r} is not there: check the path")
    places = _folders(job, source.rstrip("/"), names_in) if laid_out else [source]
    return [Found(path.name, str(path)) for place in places for path in _files_below(Path(place), wanted)]


def _folders(job: IngestJob, layout: str, names_in: Callable[[str], set[str]]) -> list[str]:
    return folders(layout, *_interval(job), names_in)


def _interval(job: IngestJob) -> tuple[datetime, datetime]:
    if job.slot_from is None or job.slot_to is None:
        raise InputError(f"source {job.source!r} is laid out by time: give --slot-from and --slot-to")
    return job.slot_from, job.slot_to


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
        if fault := machine_fault(error):
            raise fault from error
        # botocore and aiohttp have dozens of classes for "no answer"; none is a fault of the caller's.
        raise EyewallError(f"{place} does not answer: {type(error).__name__}: {error}; try again later") from error
