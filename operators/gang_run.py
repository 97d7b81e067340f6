"""What a task does for its gang, each time it has the word: begin, and go on after each event of the trigger.

A task holds a worker slot only for the seconds in which it creates or removes something; all waiting is deferred to
`operators.gang_trigger`. Nothing is remembered in between but two numbers, in the deferral: how often the gang has
looked for room, and how many lives it has lost. If the process is killed its next try finds the rest on the cluster.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from operators import gang_lease, gang_steps
from operators.api_calls import ApiRefused, Calls
from operators.gang_members import RESTARTS_ANNOTATION, Gang
from operators.gang_placement import Need
from operators.gang_steps import PodMaker, Seen
from operators.gang_verdict import judge
from operators.object_names import JOB_ANNOTATION

#: Lives that a gang may lose before the task fails, to be tried again by Airflow.
MAX_RESTARTS = 3
_LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True)
class Wait:
    """Defer: ``watching`` over a gang that is there, or ``waiting`` until there is none left and room for it."""

    state: Literal["watching", "waiting"]
    tries: int = 0
    restarts: int = 0
    sentence: str = ""


def backoff_s(gang: str, tries: int) -> float:
    """Seconds before the gang looks for room again: doubling to a minute, half of it drawn by the gang's name."""
    if tries <= 0:
        return 0.0
    whole = min(2.0 ** min(tries, 10), _LONGEST_BACKOFF_S)
    draw = int.from_bytes(hashlib.sha256(f"{gang} {tries}".encode()).digest()[:4], "big") / 2**32
    return whole * (0.5 + 0.5 * draw)


def begin(gang: Gang, make: PodMaker, need: Need) -> Calls[Wait]:
    """A task's first word, or that of its next try: find, complete or remove what is there, else make it."""
    seen = yield from gang_steps.look(gang)
    restarts = _restarts(gang, seen)
    if seen.going(gang):
        yield from gang_steps.remove(gang)
        return Wait("waiting", 0, restarts, "an earlier gang of this task is being removed")
    if not seen.pods:
        return (yield from settle(gang, make, need, Wait("waiting")))
    if _asked(seen.chief(gang)) != _asked(make(gang.replicas()[0], 0)):
        yield from gang_steps.remove(gang)
        return Wait("waiting", 0, 0, "an earlier try's gang has another command or image: it is being removed")
    if (yield from gang_steps.is_complete(gang, seen)):
        return Wait("watching", 0, restarts, "the gang of an earlier try is there")
    if any(pod.get("status", {}).get("phase") in ("Failed", "Succeeded") for pod in seen.pods) and (
        judge(gang, seen.pods, seen.now).state != "done"
    ):
        yield from gang_steps.remove(gang)
        return Wait("waiting", 0, restarts, "half a gang of an earlier try is being removed")
    return (yield from _create(gang, make, Wait("waiting", 0, restarts)))


def _asked(chief: Mapping[str, Any] | None) -> str | None:
    return None if chief is None else (chief["metadata"].get("annotations") or {}).get(JOB_ANNOTATION)


def _restarts(gang: Gang, seen: Seen) -> int:
    chief = seen.chief(gang)
    return 0 if chief is None else int((chief["metadata"].get("annotations") or {}).get(RESTARTS_ANNOTATION, 0))


def settle(gang: Gang, make: PodMaker, need: Need, before: Wait) -> Calls[Wait]:
    """Create the whole gang if it finds room now; otherwise back into the queue, with nothing left behind."""
    if gang.queue is None:
        holder = yield from gang_lease.acquire(gang)
        if holder is not None:
            return Wait("waiting", before.tries + 1, before.restarts, f"{holder} is being placed")
        placement = yield from gang_steps.find_room(gang, need)
        if placement is not None and not placement.complete:
            yield from gang_lease.release(gang)
            return Wait("waiting", before.tries + 1, before.restarts, placement.sentence)
    return (yield from _create(gang, make, before))


def _create(gang: Gang, make: PodMaker, before: Wait) -> Calls[Wait]:
    try:
        if (yield from gang_steps.create(gang, make, before.restarts)):
            return Wait("watching", before.tries, before.restarts, "created")
        sentence = "pods of an earlier life are still being removed"
    except ApiRefused as refusal:
        yield from gang_steps.remove(gang)
        # A quota frees up; a namespace that was made this moment gets its service account within seconds.
        if refusal.status != 403 or not any(words in str(refusal) for words in ("exceeded quota", "service account")):
            raise
        sentence = str(refusal)
    else:
        yield from gang_steps.remove(gang)
    return Wait("waiting", before.tries + 1, before.restarts, sentence)


def again(gang: Gang, event: dict[str, Any]) -> Calls[Wait | None]:
    """After a loss, or when not all could be placed: take everything back, and queue. None: too many lives are lost."""
    tries, restarts = int(event["tries"]), int(event["restarts"])
    if event["status"] == "unplaced":
        yield from gang_steps.remove(gang)
        return Wait("waiting", tries + 1, restarts, event["sentence"])
    if restarts >= MAX_RESTARTS:
        return None
    yield from gang_steps.remove(gang)
    return Wait("waiting", 0, restarts + 1, event["sentence"])
