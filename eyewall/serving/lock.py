"""One writer at a time in the model repository: publish and rollback hold this lock from first to last step.

On a local folder it is flock(2), which the kernel takes back when its owner dies, so that nothing stale can stay after
a kill -9 and no process id has to be believed across containers. On an object store, which has no locks, it is an
object created only if absent, with a lease that ends by itself.
"""

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from eyewall.contracts.errors import ServingError
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

LOCK_PATH = "serving/.lock"
_POLL_S = 0.2
_SAY_AFTER_S = 3.0


@contextlib.contextmanager
def repository_lock(store: Store, owner: str, wait_s: float, lease_s: float = 3600.0) -> Iterator[None]:
    """Hold the repository of ``store``. ``owner`` is told to whoever waits.

    Raises ServingError when another writer still holds it after ``wait_s``, StorageError when it cannot be written.
    """
    with _local(store, owner, wait_s) if store.is_local else _remote(store, owner, wait_s, lease_s):
        yield


def _busy(holder: str, wait_s: float) -> ServingError:
    return ServingError(
        f"the model repository is held by {holder or 'another process'} for over {wait_s:g} s: try later"
    )


class _Waiting:
    """Patience with a limit, and one line on stderr once it becomes noticeable."""

    def __init__(self, wait_s: float) -> None:
        self._start, self._wait_s, self._said = time.monotonic(), wait_s, False

    def once_more(self, holder: str) -> None:
        waited = time.monotonic() - self._start
        if waited > self._wait_s:
            raise _busy(holder, self._wait_s)
        if waited > _SAY_AFTER_S and not self._said:
            sys.stderr.write(f"waiting for the model repository, held by {holder or 'another process'}\n")
            self._said = True
        time.sleep(_POLL_S)


def _try_flock(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _local(store: Store, owner: str, wait_s: float) -> Iterator[None]:
    path = Path(store.full(LOCK_PATH))
    waiting = _Waiting(wait_s)
    with storage_errors(f"{LOCK_PATH!r} in store {store.url!r}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+")
    with stream:
        while not _try_flock(stream):
            stream.seek(0)
            waiting.once_more(stream.read(200).strip())
        with storage_errors(f"{LOCK_PATH!r} in store {store.url!r}"):
            stream.truncate(0)
            stream.write(f"{owner} (process {os.getpid()})\n")
            stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


@contextlib.contextmanager
def while_unchanged(store: Store) -> Iterator[bool]:
    """Keep writers of a local repository out for the length of the block, unless one is in: then it yields False.

    For readers that act on what they read, such as a server that follows models.json. Needs no right to write.
    """
    path = store.local(LOCK_PATH)
    if not path.exists():  # nothing was ever written
        yield True
        return
    with path.open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextlib.contextmanager
def _remote(store: Store, owner: str, wait_s: float, lease_s: float) -> Iterator[None]:
    path, waiting = store.full(LOCK_PATH), _Waiting(wait_s)
    while True:
        try:
            store.fs.pipe_file(path, json.dumps([owner, time.time() + lease_s]).encode(), mode="create")
            break
        except FileExistsError:
            holder, ends = json.loads(store.fs.cat_file(path))
            if ends < time.time():
                store.remove(LOCK_PATH)
                continue
            waiting.once_more(holder)
    try:
        yield
    finally:
        store.remove(LOCK_PATH)
