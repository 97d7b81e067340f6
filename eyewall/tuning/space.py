"""A search space: what is tried, how it is chosen, when a trial is given up, and when the search is at its end.

One YAML file, checked as a whole before anything is started; what is wrong with it is one sentence that names the
place. The job is a template: fields of a `Submission` whose texts may hold ``{name}`` of a parameter, of a constant, or
one of ``{sweep}`` (the search's name), ``{trial}`` (its number) and ``{store}`` (the artifact store's URL).
"""

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import Name
from eyewall.contracts.submission import Submission
from eyewall.tuning.parameter import MAX_GRID_POINTS, Parameter, Strict, Value
from eyewall.tuning.template import fill, placeholders
from eyewall.tuning.yaml_file import load_yaml

#: Fields of a submission that the search itself gives.
_NOT_OF_A_TEMPLATE = ("owner", "key", "priority")
BUILT_IN: Final = ("sweep", "trial", "store")
MAX_TRIALS: Final = 1_000_000
_Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
#: Parts of pydantic's places that are names of types in a union, not of keys.
_TYPE_NAMES = frozenset({"bool", "int", "float", "str", "[key]"})


def _as_kind(value: Any) -> Any:
    """``tpe`` is short for ``{kind: tpe}``."""
    return {"kind": value} if isinstance(value, str) else value


class Sampler(Strict):
    """How the next point is chosen."""

    kind: Literal["grid", "random", "tpe"] = "tpe"
    startup_trials: int = Field(10, ge=1, description="of TPE: random ones at first")


class Pruner(Strict):
    """When a trial is given up. Resource and steps are the step numbers that trials report."""

    kind: Literal["none", "asha", "hyperband", "median"] = "none"
    min_resource: int = Field(1, ge=1, description="asha, hyperband: first step at which a trial may be given up")
    reduction_factor: int = Field(3, ge=2, description="asha, hyperband: one in so many goes on")
    max_resource: int | None = Field(None, ge=1, description="hyperband: step at which a trial is at its end")
    startup_trials: int = Field(5, ge=0, description="median: so many ends before the first trial is given up")
    warmup_steps: int = Field(0, ge=0, description="median: no trial is given up before this step")

    @model_validator(mode="after")
    def _hyperband_knows_the_end(self) -> Self:
        if self.kind == "hyperband" and (self.max_resource is None or self.max_resource <= self.min_resource):
            raise ValueError("hyperband needs max_resource, the last step of a trial, above min_resource")
        return self


class Objective(Strict):
    """What makes one trial better than another."""

    metric: str = Field(min_length=1, max_length=200, description="as the job reports it")
    direction: Literal["minimize", "maximize"] = "minimize"
    value: Literal["last", "best"] = Field("last", description="which of a trial's reports is its value")


class Budget(Strict):
    """When no further trial is started; the first that is used up counts."""

    trials: int | None = Field(None, ge=1, le=MAX_TRIALS)
    hours: float | None = Field(None, gt=0, description="during which any trial was queued or ran")
    gpu_hours: float | None = Field(None, gt=0, description="of all GPUs that trials had, together")


class Space(Strict):
    """A whole search; see the module."""

    name: Name | None = None
    job: dict[str, Any] = Field(description="fields of a job, with placeholders")
    parameters: dict[_Identifier, Parameter] = Field(min_length=1, max_length=100)
    constants: dict[_Identifier, Value] = Field(default_factory=dict)
    objective: Objective
    sampler: Annotated[Sampler, BeforeValidator(_as_kind)] = Sampler()
    pruner: Annotated[Pruner, BeforeValidator(_as_kind)] = Pruner()
    budget: Budget = Budget()
    parallel: int = Field(4, ge=1, le=10_000, description="trials at the same time")
    priority: int = Field(
        2, ge=0, le=9, description="of the trials in the queue; below a job's 5, so that they give way"
    )
    max_failures: int = Field(10, ge=1, description="so many failed trials in a row, and the search gives up")
    seed: int = Field(0, ge=0, le=2**31 - 1)

    @field_validator("job", mode="before")
    @classmethod
    def _command_in_words(cls, job: Any) -> Any:
        """A command in one line is split before its placeholders are filled, so that no value can become two words."""
        if isinstance(job, dict) and isinstance(job.get("command"), str):
            try:
                return {**job, "command": shlex.split(job["command"])}
            except ValueError as error:
                raise ValueError(f"command {job['command']!r} cannot be split into words: {error}") from None
        return job

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        given = [field for field in _NOT_OF_A_TEMPLATE if field in self.job]
        if given:
            raise ValueError(f"job.{given[0]}: the search itself gives {', '.join(_NOT_OF_A_TEMPLATE)} of its jobs")
        twice = (set(self.parameters) & set(self.constants)) | (set(self.parameters) & set(BUILT_IN))
        if twice:
            raise ValueError(f"parameters.{min(twice)}: the name is taken by a constant or by {', '.join(BUILT_IN)}")
        used = placeholders(self.job)
        known = {*self.parameters, *self.constants, *BUILT_IN}
        for name in sorted(set(used) - known):
            raise ValueError(
                f"{used[name]}: {{{name}}} is neither a parameter nor a constant; known are {', '.join(sorted(known))}"
            )
        for name in self.parameters:
            if name not in used:
                raise ValueError(
                    f"parameters.{name}: the job does not use {{{name}}}, so every trial would be the same"
                )
        self._check_ends()
        # A job that can never be one is refused now, not at the first trial.
        try:
            self.submission("sweep", 0, self.example(), owner="owner", key="key")
        except ContractError as error:
            raise ValueError(f"job.{error}") from None
        return self

    def _check_ends(self) -> None:
        if self.sampler.kind != "grid":
            if self.budget == Budget():
                raise ValueError("budget: give trials, hours or gpu_hours, or the search would never end")
            for name, parameter in self.parameters.items():
                if parameter.points is not None:
                    raise ValueError(f"parameters.{name}.points: only a grid has points, this sampler draws freely")
            return
        for name, parameter in self.parameters.items():
            try:
                parameter.grid()
            except ValueError as error:
                raise ValueError(f"parameters.{name}: {error}") from None
        if self.grid_points > MAX_GRID_POINTS:
            raise ValueError(f"parameters: the grid has {self.grid_points} points, at most {MAX_GRID_POINTS} are tried")

    @property
    def grid_points(self) -> int:
        """Points of the grid."""
        return math.prod(len(parameter.grid()) for parameter in self.parameters.values())

    @property
    def max_trials(self) -> int:
        """Trials there can be at most."""
        limit = self.budget.trials or MAX_TRIALS
        return min(limit, self.grid_points) if self.sampler.kind == "grid" else limit

    def example(self) -> dict[str, Any]:
        """Some point of the space."""
        return {name: parameter.example() for name, parameter in self.parameters.items()}

    def submission(self, sweep: str, trial: int, params: Mapping[str, Any], *, owner: str, key: str) -> Submission:
        """The job of one trial. Raises ContractError where the values make no job."""
        values = {"sweep": sweep, "trial": trial, "store": "", **self.constants, **params}
        named = {"name": f"{sweep[:80]}-{trial}"} if "name" not in self.job else {}
        filled: dict[str, Any] = fill(self.job, values)
        return Submission.parse({**filled, **named, "owner": owner, "key": key, "priority": self.priority})

    @classmethod
    def parse(cls, values: Any, source: str = "search space") -> Self:
        """A space of outside values. Raises ContractError: one sentence with the place and the offending value."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ContractError(f"{source}: {_sentence(error)}") from None

    @classmethod
    def read(cls, data: bytes, source: str, **overrides: Any) -> Self:
        """A space of a YAML file's content, with other values for some of its keys; those of tables are merged.

        Raises ContractError.
        """
        values = load_yaml(data, source)
        if not isinstance(values, dict):
            raise ContractError(f"{source}: a search space is a table of job, parameters, objective …")
        for key, value in overrides.items():
            if isinstance(value, dict) and isinstance(values.get(key, {}), dict):
                values[key] = {**values.get(key, {}), **value}
            else:
                values[key] = value
        return cls.parse(values, source)


def _sentence(error: ValidationError) -> str:
    """The first of pydantic's errors as a sentence."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if str(part) not in _TYPE_NAMES)
    if first["type"] == "extra_forbidden":
        return f"{place}: there is no such key; see docs/architecture/08-jobs.md, Searches"
    if first["type"] == "missing":
        return f"{place} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":  # our own: it names the value, and the place where that is not the whole file
        return f"{place}: {message}" if place else message
    return f"{place or 'search space'} = {str(first.get('input'))[:100]!r}: {message}"


def read_file(path: Path, **overrides: Any) -> Space:
    """A space of a local file. Raises ContractError."""
    try:
        return Space.read(path.read_bytes(), str(path), **overrides)
    except OSError as error:
        raise ContractError(f"search space {path} cannot be read: {error.strerror}; check its path") from None
