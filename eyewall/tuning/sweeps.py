"""The rows of searches: make one, find it, stop it, let it go on with a larger budget, say what it has used."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from eyewall.contracts.errors import InputError
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.jobs import queue
from eyewall.tuning.space import Budget, Space


@dataclass(frozen=True)
class Sweep:
    """One row of the table sweep."""

    id: int
    name: str
    owner: str
    spec: dict[str, Any]
    state: str
    reason: str
    created_at: datetime
    ended_at: datetime | None

    @property
    def space(self) -> Space:
        """What was asked for."""
        return Space.parse(self.spec, f"sweep {self.name}")

    @property
    def study(self) -> str:
        """Name of its study in Optuna."""
        return f"{self.id}-{self.name}"

    def key(self, number: int) -> str:
        """Key of the job of trial ``number``: submitting it again gives the job that is there."""
        return f"sweep/{self.id}/{number}"


class Spent(NamedTuple):
    """What a search has used: hours in which any trial was queued or ran, and GPU-hours of all its leases."""

    hours: float
    gpu_hours: float


def create(connection: Connection, space: Space, name: str, owner: str) -> Sweep:
    """Register a search; the same name with the same space gives the one that is there.

    Raises InputError where the name is another search's, or where its jobs could never run: an unknown environment,
    more GPUs than any host has.
    """
    spec = space.model_dump(mode="json", exclude={"name"})
    with connection.transaction(force_rollback=True):  # one trial on probation: nobody ever sees it
        queue.submit(connection, space.submission(name, 0, space.example(), owner=owner, key=f"sweep//{name}"))
    with queue.acting(connection, owner):
        connection.execute(statement("sweeps/create"), {"name": name, "owner": owner, "spec": Jsonb(spec)})
        sweep = find(connection, name)
        if (sweep.spec, sweep.owner) != (spec, owner):
            raise InputError(f"there is another search of the name {name!r}, of {sweep.owner}: choose another --name")
    return sweep


def find(connection: Connection, name: str) -> Sweep:
    """The search of that name. Raises InputError where there is none."""
    with connection.cursor(row_factory=class_row(Sweep)) as cursor:
        sweep = cursor.execute(statement("sweeps/by_name"), {"name": name}).fetchone()
    if sweep is None:
        raise InputError(f"no search {name!r}: see `eyewall sweep list`")
    return sweep


def hand_over(connection: Connection, sweep: Sweep, actor: str, key: str = "") -> None:
    """Leave a search to the dispatchers; ``key``: the task of Airflow that asked for it. Harmless twice."""
    with queue.acting(connection, actor):
        connection.execute(statement("sweeps/hand_over"), {"sweep": sweep.id, "key": key})


def stop_of_key(connection: Connection, key: str, actor: str) -> list[str]:
    """Stop the searches that a task of Airflow asked for and that go on; their names."""
    names = [str(row[0]) for row in connection.execute(statement("sweeps/of_key"), {"key": key}).fetchall()]
    for name in names:
        stop(connection, name, actor)
    return names


def overview(connection: Connection) -> list[dict[str, Any]]:
    """Every search, the newest first, with the counts of its trials and its best value."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement("sweeps/list")).fetchall()


def spent(connection: Connection, sweep: int) -> Spent:
    """What a search has used so far."""
    row = connection.execute(statement("sweeps/spent"), {"sweep": sweep}).fetchone()
    assert row is not None
    return Spent(*row)


def used_up(budget: Budget, spent_so_far: Spent) -> str:
    """Which part of the budget other than its trials is used up, in words; empty: none is."""
    if budget.hours is not None and spent_so_far.hours >= budget.hours:
        return f"{budget.hours:g} hours are used up"
    if budget.gpu_hours is not None and spent_so_far.gpu_hours >= budget.gpu_hours:
        return f"{budget.gpu_hours:g} GPU-hours are used up"
    return ""


def set_state(connection: Connection, sweep: Sweep, state: str, reason: str, *, only_from: tuple[str, ...]) -> bool:
    """Change the state, unless it is not one of ``only_from`` any more; whether it was changed."""
    values = {"sweep": sweep.id, "state": state, "reason": reason, "from_states": list(only_from)}
    return connection.execute(statement("sweeps/set_state"), values).fetchone() is not None


def stop(connection: Connection, name: str, actor: str, *, let_finish: bool = False) -> int:
    """Start no more trials, and end those that wait or run unless they may finish; how many were asked to end.

    Raises InputError for an unknown search. One that has ended stays as it is.
    """
    with queue.acting(connection, actor):
        _lock(connection, name)
        sweep = find(connection, name)
        set_state(connection, sweep, "stopped", f"stopped by {actor}", only_from=("running",))
        jobs = [] if let_finish else connection.execute(statement("sweeps/live_jobs"), {"sweep": sweep.id}).fetchall()
        for (job,) in jobs:
            queue.ask_to_stop(connection, job, "cancelled", actor, f"search {name} was stopped by {actor}")
    return len(jobs)


def resume(connection: Connection, name: str, actor: str, more: dict[str, str]) -> Sweep:
    """Let a search go on, with another budget where ``more`` says so: {"trials": "+20"}, {"hours": "3"}.

    Raises InputError for an unknown search, a budget that is none, or one that leaves nothing to do.
    """
    with queue.acting(connection, actor):
        _lock(connection, name)
        sweep = find(connection, name)
        budget = sweep.spec["budget"] | {part: _new_value(sweep, part, text) for part, text in more.items()}
        spec = sweep.spec | {"budget": budget}
        space = Space.parse(spec, f"sweep {name}")
        trials = len(connection.execute(statement("sweeps/leaderboard"), {"sweep": sweep.id}).fetchall())
        why = used_up(space.budget, spent(connection, sweep.id))
        if trials >= space.max_trials:
            why = f"all of its {space.max_trials} trials were started"
        if why and sweep.state != "running":
            raise InputError(f"search {name!r} has nothing left to do, {why}: give --trials +20, or the like")
        connection.execute(statement("sweeps/set_spec"), {"sweep": sweep.id, "spec": Jsonb(spec)})
        set_state(connection, sweep, "running", "", only_from=("stopped", "finished", "failed"))
        return find(connection, name)


def _new_value(sweep: Sweep, part: str, text: str) -> float | int:
    """``+20`` adds to that part of the budget, ``20`` replaces it."""
    old = sweep.spec["budget"][part]
    if text.startswith("+") and old is None:
        raise InputError(f"search {sweep.name!r} has no budget of {part} to add {text} to: give the whole, without +")
    kind = int if part == "trials" else float
    try:
        return kind(text.removeprefix("+")) + (old if text.startswith("+") else 0)
    except ValueError:
        raise InputError(f"{text!r} is no number of {part}: give +20 or 60") from None


def _lock(connection: Connection, name: str) -> None:
    connection.execute(statement("sweeps/lock_row"), {"name": name})
