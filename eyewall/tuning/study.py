"""Optuna at work for one search: its study in the schema ``optuna`` of the project's database, sampler and pruner.

What Optuna is asked depends on the seed, the trial's number and the trials before it alone, never on how often the
program was started: the random generator is made anew for each trial, from seed and number.
"""

from collections.abc import Callable
from typing import Any

import optuna
import psycopg
from optuna.trial import TrialState

from eyewall.db.statements import statement
from eyewall.tuning import APPLICATION
from eyewall.tuning.space import Objective, Space

#: Advisory lock of whoever makes Optuna's tables: any number that no other program in the database uses.
_LOCK = 0x6F70_7475_6E61


class EachPointOnce(optuna.samplers.GridSampler):
    """Optuna's grid; the search itself knows when it is at its end, and need not be stopped from in here."""

    def after_trial(self, *_: Any, **__: Any) -> None:
        """Nothing: the original calls ``study.stop()``, which is refused outside of ``study.optimize``."""


def make_sampler(space: Space, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for trial ``number``."""
    if space.sampler.kind == "grid":
        return EachPointOnce({name: each.grid() for name, each in space.parameters.items()}, seed=space.seed)
    # Mixed by primes, so that trial 1 of seed 0 is not trial 0 of seed 1.
    seed = (space.seed * 1_000_003 + number * 2_654_435_761) % 2**32
    if space.sampler.kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=space.sampler.startup_trials)


def make_pruner(space: Space) -> optuna.pruners.BasePruner:
    """The pruner that the space asks for."""
    asked = space.pruner
    if asked.kind == "asha":
        return optuna.pruners.SuccessiveHalvingPruner(asked.min_resource, asked.reduction_factor)
    if asked.kind == "hyperband":
        assert asked.max_resource is not None
        return optuna.pruners.HyperbandPruner(asked.min_resource, asked.max_resource, asked.reduction_factor)
    if asked.kind == "median":
        return optuna.pruners.MedianPruner(asked.startup_trials, asked.warmup_steps)
    return optuna.pruners.NopPruner()


def suggest(space: Space, trial: optuna.Trial) -> dict[str, Any]:
    """The point of a trial; what was chosen before, by a controller that was killed, stays."""
    point: dict[str, Any] = {}
    for name, each in space.parameters.items():
        if each.type == "categorical":
            point[name] = trial.suggest_categorical(name, each.choices)
            continue
        assert each.low is not None
        assert each.high is not None
        if each.type == "int":
            step = int(each.step or 1)
            point[name] = trial.suggest_int(name, int(each.low), int(each.high), step=step, log=each.log)
        else:
            point[name] = trial.suggest_float(name, each.low, each.high, step=each.step, log=each.log)
    return point


def value_of(objective: Objective, curve: list[float]) -> float | None:
    """The value of a trial with these reports, in the order of their steps; None without any number among them."""
    if objective.value == "last":
        return curve[-1] if curve and curve[-1] == curve[-1] else None
    numbers = [value for value in curve if value == value]
    best: Callable[[list[float]], float] = min if objective.direction == "minimize" else max
    return best(numbers) if numbers else None


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Optuna's storage in the schema ``optuna`` of the database at ``url``; schema and tables are made if need be."""

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(url, connect_timeout=10, application_name=APPLICATION)
        connection.execute(statement("sweeps/use_optuna_schema"))
        connection.commit()
        return connection

    with psycopg.connect(url, connect_timeout=10) as connection:  # many may start at once: one of them makes the tables
        connection.execute(statement("sweeps/lock_optuna_schema"), {"key": _LOCK})
        connection.execute(statement("sweeps/create_optuna_schema"))
        connection.commit()
        connection.execute(statement("sweeps/lock_optuna_schema"), {"key": _LOCK})
        options = {"creator": connect, "pool_size": 2, "pool_pre_ping": True}
        return optuna.storages.RDBStorage("postgresql+psycopg://", engine_kwargs=options)


class Study:
    """The trials of one search as Optuna knows them."""

    def __init__(self, storage: optuna.storages.BaseStorage, name: str, space: Space) -> None:
        """The study ``name``, made if need be."""
        self._storage = storage
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # each trial is told of in the search's own words
        self._study = optuna.create_study(
            storage=storage,
            study_name=name,
            direction=space.objective.direction,
            sampler=make_sampler(space, 0),
            pruner=make_pruner(space),
            load_if_exists=True,
        )
        self._space = space
        self._trials: dict[int, optuna.Trial] = {}  #: as far as they are running

    def close(self) -> None:
        """Close the connections to the database."""
        if isinstance(self._storage, optuna.storages.RDBStorage):
            self._storage.engine.dispose()

    def count(self) -> int:
        """Trials so far, whatever became of them."""
        return len(self._study.get_trials(deepcopy=False))

    def running(self) -> dict[int, int]:
        """Number → last step that was reported (-1: none) of each trial that has no end yet."""
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return {each.number: -1 if each.last_step is None else each.last_step for each in trials}

    def ask(self) -> tuple[int, dict[str, Any]]:
        """(number, point) of a new trial."""
        self._study.sampler = make_sampler(self._space, self.count())
        trial = self._study.ask()
        self._trials[trial.number] = trial
        return trial.number, suggest(self._space, trial)

    def ask_again(self, number: int) -> dict[str, Any]:
        """The point of a trial that was asked for, perhaps not to its end."""
        self._study.sampler = make_sampler(self._space, number)
        return suggest(self._space, self._trial(number))

    def report(self, number: int, step: int, value: float) -> None:
        """Pass a report on."""
        self._trial(number).report(value, step)

    def should_prune(self, number: int) -> bool:
        """Whether the trial is to be given up after its newest report."""
        return self._trial(number).should_prune()

    def tell(self, number: int, value: float | None, pruned: bool = False) -> None:
        """The end of a trial: its value, or that it was given up, or (no value) that it failed. Harmless twice."""
        state = TrialState.PRUNED if pruned else TrialState.FAIL if value is None else TrialState.COMPLETE
        self._study.tell(number, value if state == TrialState.COMPLETE else None, state=state, skip_if_finished=True)
        self._trials.pop(number, None)

    def _trial(self, number: int) -> optuna.Trial:
        if number not in self._trials:
            storage = self._study._storage  # Optuna has no public way to go on with a trial of another process
            self.count()  # its cache refuses to write about a trial that it has not read
            trial_id = storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
            self._trials[number] = optuna.Trial(self._study, trial_id)
        return self._trials[number]
