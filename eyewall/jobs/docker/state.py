"""From what an engine says of a container to what became of the attempt.

An exit code is the program's own only where nobody else ended it. A container that somebody killed, an engine or a
host that went down, tells nothing about the job: it ended without an exit code, and is tried again.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from eyewall.jobs.runner import Seen

#: 128 + SIGKILL, 128 + SIGTERM: somebody's doing. What the platform itself stops, it knows of.
_KILLED = {137: "SIGKILL", 143: "SIGTERM"}
#: The engine's word for "unknown", where its host lost its power; also what a program may end with, sys.exit(-1).
_UNKNOWN = 255
#: How long an engine may take from finding that to having its network up.
_STARTING = timedelta(minutes=2)
#: The engine's and its init's own codes where a command could not be executed, or was not found.
_NO_COMMAND = (126, 127)


def seen_of(container: Mapping[str, Any], memory: str | None, engine_started: Callable[[], str]) -> Seen:
    """State, exit code and reason.

    ``memory`` is the worker's limit for each GPU, for the sentence; ``engine_started`` tells when the engine came up
    last, in its own words, and is asked only where that makes the difference.
    """
    state = container["State"]
    status, code, error = str(state["Status"]), int(state.get("ExitCode") or 0), _line(state.get("Error"))
    if status == "created":
        return _not_started(code, error)
    if status in ("running", "paused", "restarting"):
        return Seen("running")
    if status != "exited":
        return Seen("ended", None, f"its container is {status}: somebody else removes it")
    if state.get("OOMKilled") and code != 0:
        limit = f"its limit of {memory} for each GPU" if memory else "the host has"
        return Seen("ended", code, f"killed by the kernel: it needs more memory than {limit}")
    if code in _KILLED:
        return Seen("ended", None, f"somebody ended its container with {_KILLED[code]}, or its engine went down")
    if code in _NO_COMMAND and not error:
        program = (container["Config"].get("Entrypoint") or ["?"])[0]
        return Seen("ended", code, f"{program!r} cannot be run, or it ended with exit code {code} itself: see its log")
    if code == _UNKNOWN and _found_dead(str(state.get("FinishedAt")), engine_started()):
        return Seen("ended", None, "its host went down")
    return Seen("ended", code, error)


def _not_started(code: int, error: str) -> Seen:
    if not error:
        return Seen("created")
    if code in _NO_COMMAND:
        return Seen("ended", code, f"its command cannot be run: {error}")
    return Seen("ended", None, f"the engine cannot start its container: {error}")


def _found_dead(finished: str, engine_started: str) -> bool:
    """Whether the end of a container is the moment at which a starting engine found it dead."""
    if not engine_started:
        return True  # it cannot be told: to try again does less harm than to give up
    return timedelta(0) <= time_of(engine_started) - time_of(finished) < _STARTING


def time_of(stamp: str) -> datetime:
    """The engine's time stamp, such as 2026-11-21T10:00:00.123456789Z, to the second."""
    return datetime.fromisoformat(f"{stamp[:19]}+00:00")


def _line(text: str | None) -> str:
    return " ".join((text or "").split())[:500]
