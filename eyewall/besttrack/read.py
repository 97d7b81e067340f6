"""Best tracks of any supported agency, at a path or URL, as one table (see table.py).

The format is told by the content, not by the name; gzip is seen through. A folder is read file by file in the order of
names; its files have one format, and what is no best track in it (a README) is passed over.
"""

import contextlib
import gzip
import logging
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import fsspec
import pandas as pd

from eyewall.besttrack import atcf, digital_typhoon, ibtracs, jma
from eyewall.besttrack.duplicates import Grade, drop_duplicates
from eyewall.besttrack.rows import MAX_BAD_SHARE, MAX_REJECTED_KEPT, RawRows, finish, one_row_per_time
from eyewall.contracts.errors import TrackError
from eyewall.contracts.jobs import TracksFormat

log = logging.getLogger(__name__)

KnownFormat = Literal["ibtracs", "jma", "atcf", "digital_typhoon"]

_PARQUET: Final = b"PAR1"
_GZIP: Final = b"\x1f\x8b"
_SAMPLE_BYTES: Final = 65536
_PARSERS: Final[dict[str, Callable[[bytes, str], RawRows]]] = {
    "ibtracs": lambda data, source: (
        ibtracs.parse_parquet(data, source) if data.startswith(_PARQUET) else ibtracs.parse_csv(data, source)
    ),
    "jma": jma.parse,
    "atcf": atcf.parse,
    "digital_typhoon": digital_typhoon.parse,
}
# A line that only this format has; among the first 64 KiB, so that one broken line does not hide the format.
_SIGNS: Final[tuple[tuple[KnownFormat, re.Pattern[str]], ...]] = (
    ("ibtracs", re.compile(r'\A\s*"?SID"?\s*,|\A[^\n]*,\s*"?SID"?\s*[,\r\n]', re.IGNORECASE)),
    ("jma", re.compile(r"^66666 +\d{4}\b", re.MULTILINE)),
    ("atcf", re.compile(r"^[A-Z]{2}, *\d{1,2}, *\d{10}, *\d*, *BEST *,", re.MULTILINE)),
    (
        "digital_typhoon",
        re.compile(
            r"^\d{4}\t\d{1,2}\t\d{1,2}\t\d{1,2}\t\d\t-?\d+(\.\d*)?\t.*\t[01]\r?$"
            r"|\Ayear,month,day,hour,grade,lat,lng,pressure,wind,[^\n]*\bintp\b",
            re.MULTILINE,
        ),
    ),
)


def read_tracks(path_or_url: str, fmt: TracksFormat = "auto", *, duplicates: Grade = "certain") -> pd.DataFrame:
    """The best tracks of a file or folder, local or at an fsspec URL, in the shape of table.py.

    ``duplicates`` says which storms with two ids are resolved (see duplicates.py). ``attrs`` of the table tell what was
    left out: "rejected" [(line, reason)] (the first few hundred), "rejected_count", "dropped_storms" {dropped: kept}.
    Raises TrackError when there is no such file, it is no best track, or most of its rows are unusable.
    """
    with file_errors(path_or_url):
        filesystem, path = fsspec.core.url_to_fs(path_or_url)
        is_folder = filesystem.isdir(path)
    if is_folder:
        table = _read_folder(filesystem, path, path_or_url, fmt)
    else:
        table = _read_file(_content(filesystem, path), path_or_url, fmt)
    return drop_duplicates(table, duplicates, path_or_url)


def detect_format(data: bytes) -> KnownFormat | None:
    """The format that the beginning of a file (not gzipped) shows; None when it is no best track."""
    if data.startswith(_PARQUET):
        return "ibtracs"
    sample = data[:_SAMPLE_BYTES].decode("utf-8-sig", errors="replace")
    return next((name for name, sign in _SIGNS if sign.search(sample)), None)


@contextlib.contextmanager
def file_errors(name: str) -> Iterator[None]:
    """What a file system says about ``name``, as one TrackError sentence."""
    try:
        yield
    except FileNotFoundError:
        raise TrackError(f"no best tracks at {name}: give a file or a folder of them") from None
    except (OSError, ImportError, ValueError) as error:
        raise TrackError(f"best tracks {name} cannot be read ({error}): check the path and the rights") from None


def _content(filesystem: Any, name: str) -> bytes:
    with file_errors(name):
        content: bytes = filesystem.cat_file(name)
    return content


def _read_file(data: bytes, name: str, fmt: TracksFormat) -> pd.DataFrame:
    data = _gunzip(data, name)
    if not data.strip():
        raise TrackError(f"{name} is empty: give a best-track file")
    found = detect_format(data) if fmt == "auto" else fmt
    if found is None:
        first = data[:40].decode("ascii", errors="replace")
        raise TrackError(
            f"{name} begins with {first!r}, which is no best track: IBTrACS (CSV, Parquet), RSMC Tokyo text, "
            "ATCF b-decks and Digital Typhoon's TSV and CSV are known"
        )
    table = finish(_PARSERS[found](data, name), name)
    table.attrs["format"] = found
    return table


def _gunzip(data: bytes, name: str) -> bytes:
    if not data.startswith(_GZIP):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise TrackError(f"{name} is a broken gzip file ({error}): download it again") from None


def _read_folder(filesystem: Any, path: str, folder: str, fmt: TracksFormat) -> pd.DataFrame:
    """Every best track of a folder as one table; a file that cannot be used is refused as a row would be."""
    tables: dict[str, pd.DataFrame] = {}
    bad: list[tuple[int, str]] = []
    for name in track_files(filesystem, path, folder, fmt):
        try:
            tables[name] = _read_file(_content(filesystem, name), name, fmt)
        except TrackError as error:
            log.warning("%s", error)
            bad.append((1, str(error)))
    if not tables or len(bad) > MAX_BAD_SHARE * (len(bad) + len(tables)):
        reason = (
            f"{len(bad)} files are unusable, the first: {bad[0][1]}" if bad else "give a folder of best-track files"
        )
        raise TrackError(f"folder {folder} holds {len(tables)} usable best tracks; {reason}")
    formats = {table.attrs["format"]: name.rsplit("/", 1)[-1] for name, table in tables.items()}
    if len(formats) > 1:
        raise TrackError(f"folder {folder} mixes formats ({formats}), whose storms overlap: give one of them")
    return _joined(list(tables.values()), bad, folder)


def track_files(filesystem: Any, path: str, folder: str, fmt: TracksFormat) -> list[str]:
    """The files of a folder that are read, in their order: not its sub-folders, hidden files, or what is no best track.

    That is told by its head alone: a folder may hold gigabytes of something else. ``folder`` is what errors call it.
    """
    with file_errors(folder):
        names = sorted(str(entry["name"]) for entry in filesystem.ls(path, detail=True) if entry["type"] == "file")
    found = []
    for name in names:
        if name.rsplit("/", 1)[-1].startswith(".") or (fmt == "auto" and format_of(filesystem, name) == "none"):
            log.info("%s is no best track and is passed over", name)
        else:
            found.append(name)
    return found


def format_of(filesystem: Any, name: str) -> KnownFormat | Literal["none", "broken"]:
    """The format of a file, gzip or not, by its head; "none" of them, or "broken" where gzip does not open it."""
    with file_errors(name):
        head: bytes = filesystem.cat_file(name, start=0, end=_SAMPLE_BYTES)
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _SAMPLE_BYTES)
        except zlib.error:
            return "broken"
    return detect_format(head) or "none"


def _joined(tables: list[pd.DataFrame], bad: list[tuple[int, str]], folder: str) -> pd.DataFrame:
    rejected = bad + [entry for table in tables for entry in table.attrs["rejected"]]
    count = len(bad) + sum(table.attrs["rejected_count"] for table in tables)
    found = tables[0].attrs["format"]
    joined = one_row_per_time(pd.concat(tables, ignore_index=True), folder)
    joined.attrs = {"format": found, "rejected": rejected[:MAX_REJECTED_KEPT], "rejected_count": count}
    return joined
