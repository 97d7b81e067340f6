"""The digest of best tracks: of the bytes that are read, and of the names where a name says which storm it is.

An ATCF deck and a Digital Typhoon track do not hold their storm's id, their file's name does: the same bytes under
another name are another storm. IBTrACS and RSMC Tokyo say everything inside, so that a copied file keeps its digest. Of
a folder those files count that `eyewall.besttrack.read` reads, with their names, which give the order too.
"""

import hashlib
from typing import Any, Final

import fsspec

from eyewall.besttrack.read import file_errors, format_of, track_files
from eyewall.contracts.jobs import TracksFormat
from eyewall.contracts.layout import digest_of_files

_NAMED_BY_FILE: Final = ("atcf", "digital_typhoon")


def tracks_sha256(path_or_url: str, fmt: TracksFormat = "auto") -> str:
    """sha256 of what the best tracks at a path or URL depend on. Raises TrackError when they cannot be read."""
    with file_errors(path_or_url):
        filesystem, path = fsspec.core.url_to_fs(path_or_url)
        is_folder = filesystem.isdir(path)
    if is_folder:
        names = track_files(filesystem, path, path_or_url, fmt)
        return digest_of_files((f"/{_base(name)}", _sha256(filesystem, name)) for name in names)
    sha256 = _sha256(filesystem, path)
    found = format_of(filesystem, path) if fmt == "auto" else fmt
    return digest_of_files([(_base(path), sha256)]) if found in _NAMED_BY_FILE else sha256


def _base(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _sha256(filesystem: Any, name: str) -> str:
    with file_errors(name), filesystem.open(name, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
