"""One fsspec URL with the few operations that keep it consistent: write beside, rename, manifest last.

On a local folder, a file or an artifact's folder is written under a dotted temporary name in the same folder, flushed
to disk and renamed. On an object store a PUT is atomic already, and an artifact's manifest is written after all its
files; readers take a folder without a manifest for absent in both cases.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from eyewall.contracts.errors import ContractError, EyewallError, StorageError
from eyewall.contracts.manifest import MANIFEST_NAME, FileEntry, Manifest

_REMEDIES = {
    errno.ENOSPC: "free some space or point --store elsewhere",
    errno.EDQUOT: "the quota is used up: free some space or point --store elsewhere",
    errno.EROFS: "the file system is read-only: remount it or point --store elsewhere",
    errno.EACCES: "this user may not write there: fix the permissions or point --store elsewhere",
    errno.EPERM: "this user may not write there: fix the permissions or point --store elsewhere",
}


@contextlib.contextmanager
def storage_errors(what: str, verb: str = "write") -> Iterator[None]:
    """Turn the OSErrors of a full, read-only or absent store into one StorageError: cannot ``verb`` ``what``."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check that the store is there and reachable")
        raise StorageError(f"cannot {verb} {what}: {error.strerror or error}; {remedy}") from error


def sha256_of(path: Path) -> str:
    """sha256 of a local file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder`` to disk, so that a rename afterwards cannot outrun its content."""
    for root, _, names in os.walk(folder):
        for name in [*names, "."]:
            descriptor = os.open(Path(root) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Store:
    """The artifact store at ``url``; every path given to it is relative, with forward slashes, and stays inside."""

    def __init__(self, url: str) -> None:
        """``url``: a folder or any fsspec URL. Raises StorageError when no file system answers for it."""
        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise StorageError(f"no file system for store {url!r}: {error}; give a folder or a known URL") from error
        self.root = str(root).rstrip("/")
        self.url = url
        self.is_local = isinstance(self.fs, LocalFileSystem)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def full(self, path: str) -> str:
        """Path as the file system wants it. Raises ContractError for anything that would leave the store."""
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or not path or any(ord(c) < 32 for c in path):
            raise ContractError(f"path {path!r} would leave the store: give a relative path without '..'")
        return f"{self.root}/{pure}"

    def uri(self, path: str) -> str:
        """The path for another program: absolute where the store is a local folder, with its scheme elsewhere."""
        full = self.full(path)
        return full if self.is_local else str(self.fs.unstrip_protocol(full))

    def local(self, path: str) -> Path:
        """The path on this machine. Raises StorageError where the store is not a local folder."""
        if not self.is_local:
            raise StorageError(f"store {self.url!r} is not a local folder: use fetch() to get a copy")
        return Path(self.full(path))

    @contextlib.contextmanager
    def _reaching(self, path: str) -> Iterator[None]:
        """Errors of an object store's own client, such as missing credentials, are no OSErrors: as StorageError."""
        try:
            yield
        except (OSError, EyewallError):
            raise
        except Exception as error:
            if self.is_local:
                raise
            raise StorageError(
                f"cannot reach {path!r} in store {self.url!r}: {error}; check its URL, credentials and network"
            ) from error

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there. Raises StorageError when an object store cannot be reached."""
        with self._reaching(path):
            return bool(self.fs.exists(self.full(path)))

    def read_bytes(self, path: str) -> bytes:
        """Content of a file. Raises StorageError when it is not there."""
        try:
            with self._reaching(path):
                return bytes(self.fs.cat_file(self.full(path)))
        except OSError as error:
            raise StorageError(f"cannot read {path!r} in store {self.url!r}: {error.strerror or error}") from error

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all, replacing what was there."""
        target = self.full(path)
        with storage_errors(f"{path!r} in store {self.url!r}"):
            if not self.is_local:
                with self._reaching(path):
                    self.fs.pipe_file(target, data)
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            beside = Path(target).with_name(f".{Path(target).name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                with beside.open("wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)

    def put_file(self, file: Path, path: str) -> None:
        """Copy a file of this machine into the store, in pieces; whole or not at all, replacing what was there."""
        target = self.full(path)
        with storage_errors(f"{path!r} in store {self.url!r}"):
            if not self.is_local:
                with self._reaching(path):
                    self.fs.put_file(str(file), target)
                return
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            beside = Path(target).with_name(f".{Path(target).name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                shutil.copyfile(file, beside)
                with beside.open("rb+") as stream:
                    os.fsync(stream.fileno())
                beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)

    def write_json(self, path: str, value: Mapping[str, Any]) -> None:
        """Write canonical JSON (sorted keys, two spaces, final newline)."""
        self.write_bytes(path, (json.dumps(value, sort_keys=True, indent=2, allow_nan=False) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """Content of a JSON file. Raises ContractError when it is not JSON, StorageError when it is not there."""
        data = self.read_bytes(path)
        try:
            return json.loads(data)
        except ValueError as error:
            raise ContractError(f"{path!r} in store {self.url!r} is not JSON: {error}") from None

    def list_files(self, path: str, suffix: str = "") -> list[str]:
        """Sorted store paths of all files below ``path`` that end with ``suffix``; half-written ones are not shown."""
        top = self.full(path)
        try:
            with self._reaching(path):
                found = self.fs.find(top)
        except FileNotFoundError:
            return []
        inside = (str(name)[len(self.root) :].lstrip("/") for name in found)
        return sorted(p for p in inside if p.endswith(suffix) and not any(s.startswith(".") for s in p.split("/")))

    def remove(self, path: str) -> None:
        """Remove a file or folder; nothing happens when it is not there."""
        with storage_errors(f"{path!r} in store {self.url!r}", "remove"), contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.full(path), recursive=True)

    @contextlib.contextmanager
    def staging(self, path: str) -> Iterator[Path]:
        """A local folder in which to build the artifact ``path``; gone afterwards unless `commit` took it."""
        with storage_errors(f"{path!r} in store {self.url!r}"):
            if self.is_local:
                parent = Path(self.full(path)).parent
                parent.mkdir(parents=True, exist_ok=True)
                folder = Path(tempfile.mkdtemp(prefix=f".{Path(path).name}.", suffix=".tmp", dir=parent))
            else:
                folder = Path(tempfile.mkdtemp(prefix="eyewall-"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def commit(self, folder: Path, path: str, manifest: Manifest) -> Manifest:
        """Make the staged ``folder`` the artifact ``path``: its file list and manifest last, in one rename.

        When the artifact is there already, nothing changes and its manifest is returned: a step run twice changes
        nothing, and of two writers the first wins.
        """
        present = self.read_manifest(path)
        if present is not None:
            return present
        files = tuple(
            FileEntry(path=f.relative_to(folder).as_posix(), sha256=sha256_of(f), bytes=f.stat().st_size)
            for f in sorted(folder.rglob("*"))
            if f.is_file() and f.name != MANIFEST_NAME
        )
        whole = manifest.model_copy(update={"files": files})
        with storage_errors(f"{path!r} in store {self.url!r}"):
            if not self.is_local:
                for entry in files:
                    self.fs.put_file(str(folder / entry.path), self.full(f"{path}/{entry.path}"))
                self.fs.pipe_file(self.full(f"{path}/{MANIFEST_NAME}"), whole.to_bytes())
                return whole
            (folder / MANIFEST_NAME).write_bytes(whole.to_bytes())
            folder.chmod(0o755)
            fsync_tree(folder)
            target = Path(self.full(path))
            if target.exists():  # a folder without a manifest: debris of something that is not ours to trust
                target.rename(target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.stale"))
            try:
                folder.rename(target)
            except OSError as error:
                present = self.read_manifest(path)
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY) and present is not None:
                    return present
                raise
        return whole

    def read_manifest(self, path: str) -> Manifest | None:
        """The manifest of the artifact ``path``; None when it is not there (or half-written, which is the same)."""
        full = self.full(f"{path}/{MANIFEST_NAME}")
        with self._reaching(path):
            there = self.fs.exists(full)
        if not there:
            return None
        try:
            return Manifest.model_validate_json(self.read_bytes(f"{path}/{MANIFEST_NAME}"))
        except ValueError as error:
            raise ContractError(f"manifest of {path!r} in store {self.url!r} is not valid: {error}") from None

    def fetch(self, path: str) -> Path:
        """The artifact as a local folder: itself where the store is local, a checked copy otherwise."""
        if self.is_local:
            return Path(self.full(path))
        manifest = self.read_manifest(path)
        if manifest is None:
            raise ContractError(f"no artifact {path!r} in store {self.url!r}: its manifest is missing")
        copy = Path(tempfile.gettempdir()) / "eyewall-cache" / manifest.sha256()
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=copy.parent))
            for entry in manifest.files:
                (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
                self.fs.get_file(self.full(f"{path}/{entry.path}"), str(folder / entry.path))
                if sha256_of(folder / entry.path) != entry.sha256:
                    raise StorageError(f"{path}/{entry.path} in store {self.url!r} differs from its manifest")
            (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
            with contextlib.suppress(OSError):  # another process fetched the same copy meanwhile
                folder.rename(copy)
        return copy
