"""What a kind of worker must be able to do: the dispatcher decides, a runner acts.

A runner keeps no memory: everything it needs is in the assignment, and what it started is found again by the attempt's
name. So any dispatcher can go on with what another one began.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from eyewall.contracts.layout import digest_of


@dataclass(frozen=True)
class Gpu:
    """One leased GPU; a ``declared`` one is a device that only exists by name."""

    number: int
    uuid: str
    declared: bool
    memory_mb: int = 0


@dataclass(frozen=True)
class Worker:
    """One row of the table worker."""

    name: str
    kind: Literal["process", "docker", "kubernetes"]
    url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """One attempt of one job: all that is needed to start it, find it again and end it."""

    attempt: int
    job: int
    number: int
    token: int
    worker: Worker
    gpus: tuple[Gpu, ...]
    command: tuple[str, ...]
    owner: str
    environment: str
    image: str | None
    folder: str | None
    code: str | None
    data: tuple[str, ...]
    variables: Mapping[str, str]
    max_s: int | None
    #: When it was claimed, by the database's clock: with the name it tells attempts of two databases apart.
    claimed_s: float = 0.0
    #: 0 to 9, as it was when this was asked of the database; the queue has made use of it, a cluster may too.
    priority: int = 5

    @property
    def name(self) -> str:
        """Name of its container, pod or folder: ``eyewall-job-<job>-<number>``; never used twice."""
        return f"eyewall-job-{self.job}-{self.number}"

    @property
    def mark(self) -> str:
        """Hexadecimal; tells it from the attempt of the same name of another database, or of one that is gone."""
        return digest_of({"attempt": self.attempt, "claimed_s": self.claimed_s, "name": self.name})


class Seen(NamedTuple):
    """What a look found. ``absent``: never started, or gone without a trace; ``ended`` comes with its exit code.

    ``ended`` without one: it ended, nobody knows how, and nothing of it runs any more: the attempt is lost.
    """

    state: Literal["absent", "created", "running", "ended"]
    exit_code: int | None = None
    reason: str = ""


class WorkerUnreachable(Exception):
    """The host does not answer: nothing is known of its jobs, so nothing may be concluded."""


class Runner(Protocol):
    """Acts on one worker. Every method may be called again by another dispatcher, at any time, in any state."""

    def look(self, assignment: Assignment) -> Seen:
        """The state of the attempt's process, container or pod. Raises WorkerUnreachable."""

    def create(self, assignment: Assignment) -> None:
        """Make everything ready but let nothing run yet; harmless where that is done.

        Raises WorkerUnreachable, or EyewallError where it can never work (no such code, no such image).
        """

    def start(self, assignment: Assignment) -> None:
        """Let run what `create` made; harmless where it runs or has ended. Raises WorkerUnreachable."""

    def lines(self, assignment: Assignment) -> Iterator[str]:
        """Lines of the output, from the first to the last there will be, as they come; ends with the attempt.

        Bounded, whatever the job prints: long lines are cut, floods are thinned (and that is said in a line).
        Raises WorkerUnreachable.
        """

    def stop(self, assignment: Assignment, grace_s: float) -> None:
        """SIGTERM, ``grace_s`` to comply, SIGKILL; returns when nothing of it runs. Raises WorkerUnreachable."""

    def keep(self, assignment: Assignment) -> None:
        """Bring what the job left in its output folder into the store, ``jobs/<job>/<number>/out/``."""

    def remove(self, assignment: Assignment) -> None:
        """Remove the container or pod, once its end is in the database; harmless where it is gone."""

    def probe(self) -> "list[Found]":
        """The GPUs of the worker, and which of them can be offered. Raises WorkerUnreachable."""

    def answers(self) -> None:
        """Nothing, if the worker answers; cheap. Raises WorkerUnreachable."""

    @property
    def probe_s(self) -> float:
        """How often `probe` is worth what it costs there, s; `answers` is asked more often. 0: each time."""


class Found(NamedTuple):
    """One GPU as a probe of a worker sees it; ``host``: which of the worker's machines it is in, where it has many."""

    number: int
    uuid: str
    model: str
    generation: str
    memory_mb: int
    state: Literal["ok", "failed", "foreign"]
    reason: str
    declared: bool
    host: str = ""
