"""The parts that are missing, made one after another or by several processes at once.

Each process has a cache of frames of its own, and takes whole parts; a part is the same whoever made it. Processes are
spawned, not forked: a client of an object store does not survive a fork. They end when their parent does, also when it
was killed, which a pool's processes do not do of themselves: they would wait for work for ever.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Final

from eyewall.contracts.errors import EyewallError
from eyewall.progress import progress
from eyewall.records.build import Part, Work, make_part, parts_of
from eyewall.records.parts import Parts

_PARENT_POLL_S: Final = 1.0
#: What this process was given by `_begin`; a pool hands it over once, not with each part.
_given: list[tuple[Work, Parts]] = []


def make_missing(work: Work, parts: Parts, processes: int = 1) -> int:
    """Make and store every part that is not there; gives their number.

    Raises InputError for a frame of another quantity, StorageError, and EyewallError when a process was killed.
    """
    every = parts_of(work)
    todo = [part for part in every if parts.note(part.number, len(part.rows)) is None]
    if there := len(every) - len(todo):
        sys.stderr.write(f"records: {there} of {len(every)} parts are there from before: going on with the others\n")
    samples = sum(len(part.rows) for part in todo)
    with progress("records", total=samples, unit="samples") as advance:
        made = (
            _one_by_one(work, parts, todo)
            if processes == 1 or len(todo) < 2
            else _at_once(work, parts, todo, min(processes, len(todo)))
        )
        for part in made:
            advance(len(part.rows), f"season {part.season}")
    return len(todo)


def _one_by_one(work: Work, parts: Parts, todo: Sequence[Part]) -> Iterator[Part]:
    for part in todo:
        make_part(work, parts, part)
        yield part


def _at_once(work: Work, parts: Parts, todo: Sequence[Part], processes: int) -> Iterator[Part]:
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin, (work, parts, os.getpid()))
    try:
        running: dict[Future[None], Part] = {}
        waiting = list(reversed(todo))
        while waiting or running:
            while waiting and len(running) < 2 * processes:
                part = waiting.pop()
                running[pool.submit(_make, part)] = part
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                done.result()
                yield running.pop(done)
    except BrokenProcessPool:
        raise EyewallError(
            "a process that cuts out images was killed (too little memory?): run the step again, it goes on from there"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Work, parts: Parts, parent: int) -> None:
    _given.append((work, parts))
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_S)
    os._exit(1)


def _make(part: Part) -> None:
    ((work, parts),) = _given
    make_part(work, parts, part)
