"""The code of a job: a folder, an archive or one file of the store, or a URL elsewhere, read file by file.

Whoever may submit a job names it, so nothing of the dispatcher's own machine may come along: no file:// URL, no link
and no member of an archive that leads out.
"""

import gzip
import io
import lzma
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import fsspec

from eyewall.contracts.errors import ContractError, EyewallError, StorageError
from eyewall.jobs.inside import leads_out
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

MAX_CODE_BYTES, MAX_CODE_FILES = 2 << 30, 100_000
_SCHEMES = {"s3", "gs", "gcs", "az", "abfs", "abfss", "http", "https"}
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_TAR, _ZIP = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), (".zip",)


class CodeFile(NamedTuple):
    """One file: its path below the code folder, whether it is a program, its size in bytes, and its open content."""

    path: str
    executable: bool
    size: int
    content: IO[bytes] | io.BufferedIOBase


def plain_path(name: str) -> str | None:
    """A member's name as a path below some folder; None where it is absolute, leads out or is no plain name."""
    if name.startswith("/") or "\\" in name or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name):
        return None
    parts = PurePosixPath(name).parts
    if ".." in parts or not parts or any(len(part.encode()) > 255 for part in parts):
        return None
    return "/".join(parts)


def code_files(store: Store, url: str) -> Iterator[CodeFile]:
    """Every file of the code at ``url``. The content is open until the next one is asked for.

    Raises ContractError where there is no such code, or where it is hostile or too large.
    """
    count = total = 0
    for file in _files(store, url):
        count, total = count + 1, total + file.size
        if count > MAX_CODE_FILES or total > MAX_CODE_BYTES:
            raise ContractError(
                f"code {url!r} has more than {MAX_CODE_FILES} files or {MAX_CODE_BYTES >> 30} GiB:"
                " give large files as data"
            )
        yield file
    if not count:
        raise ContractError(f"code {url!r} is empty: put files there, or leave it out")


def code_tar(store: Store, url: str | None, folders: tuple[str, ...], owner: tuple[int, int]) -> IO[bytes]:
    """A tar, from its start: empty ``folders``, and the code's files below ``code``; all of them the job's ``owner``.

    The same code gives the same bytes: no times are in it.
    """
    packed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    try:
        with storage_errors("the code of a job", "pack"), tarfile.open(fileobj=packed, mode="w") as tar:
            made: set[str] = set()

            def add_folder(path: str) -> None:
                if path not in made:
                    made.add(path)
                    tar.addfile(_entry(path, 0o755, 0, owner, tarfile.DIRTYPE))

            for folder in folders:
                add_folder(folder)
            for file in code_files(store, url) if url is not None else ():
                path = f"code/{file.path}"
                for parent in reversed(PurePosixPath(path).parents[:-1]):
                    add_folder(str(parent))
                tar.addfile(_entry(path, 0o755 if file.executable else 0o644, file.size, owner), file.content)
        packed.seek(0)
    except BaseException:
        packed.close()
        raise
    return packed


def _entry(path: str, mode: int, size: int, owner: tuple[int, int], kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size = kind, mode, size
    entry.uid, entry.gid = owner
    return entry


def _files(store: Store, url: str) -> Iterator[CodeFile]:
    if "://" not in url and store.is_local:
        path = store.local(url)
        _demand_inside(path, Path(store.root), url)
        if path.is_dir():
            yield from _of_folder(path, url)
            return
    fs, root = _place(store, url)
    try:
        if fs.isdir(root):
            yield from _of_url(fs, root, url)
        elif fs.exists(root):
            with fs.open(root, "rb") as stream:
                yield from _of_file(stream, root, url)
        else:
            raise ContractError(f"code {url!r} is not there: put it in the store {store.url!r} first")
    except EyewallError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise StorageError(f"code {url!r} cannot be read: {error}; check its URL and the credentials") from error


def _place(store: Store, url: str) -> tuple[Any, str]:
    if "://" not in url:
        return store.fs, store.full(url)
    if "::" in url or url.split("://")[0].lower() not in _SCHEMES:
        raise ContractError(
            f"code {url!r}: give a path of the store, or a URL with one of {', '.join(sorted(_SCHEMES))}"
        )
    try:
        fs, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ContractError(f"code {url!r}: {error}") from None
    return fs, str(root)


def _demand_inside(path: Path, root: Path, url: str) -> None:
    if leads_out(path, root):
        raise ContractError(f"code {url!r}: {path.name!r} is a link that leads out of it: put the file itself there")


def _of_folder(top: Path, url: str) -> Iterator[CodeFile]:
    for path in sorted(top.rglob("*")):
        if path.is_symlink():
            _demand_inside(path, top, url)
        if path.is_file():
            inside = path.relative_to(top).as_posix()
            with path.open("rb") as stream:
                facts = path.stat()
                yield CodeFile(_plain(inside, url), bool(facts.st_mode & stat.S_IXUSR), facts.st_size, stream)


def _of_url(fs: Any, root: str, url: str) -> Iterator[CodeFile]:
    for name, facts in sorted(fs.find(root, detail=True).items()):
        with fs.open(name, "rb") as stream:
            yield CodeFile(_plain(name[len(root) :].lstrip("/"), url), False, int(facts["size"]), stream)


def _of_file(stream: IO[bytes], root: str, url: str) -> Iterator[CodeFile]:
    """The members of an archive, or the file itself."""
    if root.endswith(_TAR):
        yield from _of_tar(stream, url)
    elif root.endswith(_ZIP):
        yield from _of_zip(stream, url)
    else:
        stream.seek(0, 2)
        size = stream.tell()
        stream.seek(0)
        yield CodeFile(_plain(root.rsplit("/", 1)[-1], url), False, size, stream)


class _Member(io.BufferedIOBase):
    """The content of an archive's member; that it is damaged may only be seen while it is read."""

    def __init__(self, content: IO[bytes], url: str) -> None:
        self._content, self._url = content, url

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return self._content.read(-1 if size is None else size)
        except _DAMAGED as error:
            raise _damaged(self._url, error) from None
        except OSError as error:
            raise StorageError(f"code {self._url!r} cannot be read: {error}; check its store") from error


def _damaged(url: str, error: Exception) -> ContractError:
    return ContractError(f"code {url!r} is a damaged archive: {error or type(error).__name__}; make it again")


def _of_tar(stream: IO[bytes], url: str) -> Iterator[CodeFile]:
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                if member.isdir():
                    continue
                if not member.isreg():
                    raise ContractError(f"code {url!r}: {member.name!r} is a link or a device: put plain files there")
                content = tar.extractfile(member)
                assert content is not None  # a regular file has one
                executable = bool(member.mode & stat.S_IXUSR)
                yield CodeFile(_plain(member.name, url), executable, member.size, _Member(content, url))
    except _DAMAGED as error:
        raise _damaged(url, error) from None


def _of_zip(stream: IO[bytes], url: str) -> Iterator[CodeFile]:
    try:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                mode = member.external_attr >> 16
                if member.is_dir():
                    continue
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    raise ContractError(f"code {url!r}: {member.filename!r} is a link: put plain files there")
                with archive.open(member) as content:
                    name = _plain(member.filename, url)
                    yield CodeFile(name, bool(mode & stat.S_IXUSR), member.file_size, _Member(content, url))
    except _DAMAGED as error:
        raise _damaged(url, error) from None


def _plain(name: str, url: str) -> str:
    path = plain_path(name)
    if path is None:
        raise ContractError(
            f"code {url!r}: {name!r} is no plain path: leave out a leading /, .. and control characters"
        )
    return path
