"""The end of what an attempt printed, as the store has it: only ever the one file of that attempt."""

from dataclasses import dataclass

from eyewall.contracts.settings import Settings
from eyewall.jobs.output import log_path
from eyewall.storage import Store

#: What a page shows; all of it is `eyewall job logs`.
TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Tail:
    """The last whole lines of an output of ``size`` bytes; ``cut`` where it does not begin at the beginning."""

    text: str
    size: int
    cut: bool


def tail(job: int, number: int, store_url: str | None = None) -> Tail:
    """The end of the output; an empty one where nothing was printed yet. Raises StorageError without a store."""
    store = Store(store_url or Settings.load().store)
    path = store.full(log_path(job, number))  # of two numbers, nothing else can be made
    try:
        if not store.exists(log_path(job, number)):
            return Tail("", 0, cut=False)
        size = int(store.fs.size(path) or 0)
        found = bytes(store.fs.cat_file(path, start=max(0, size - TAIL_BYTES), end=size))
    except FileNotFoundError:  # it was rewritten in between
        return Tail("", 0, cut=False)
    cut = size > TAIL_BYTES
    if cut:
        found = found.partition(b"\n")[2] or found
    return Tail(found.decode("utf-8", "replace"), size, cut)
