"""What both training loops do besides stepping: history, progress, validation, checkpoints, resuming."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eyewall.contracts.errors import ContractError, DivergedError
from eyewall.contracts.features import LEADS_H, OUT_DISPLACEMENT_KM, ImageSpec, input_shapes
from eyewall.models.forecaster import Forecaster
from eyewall.training.curve import report_checkpoint
from eyewall.training.heartbeat import Heartbeat
from eyewall.training.plan import Plan, batches, judged, read_cases
from eyewall.training.state import Run, TrainingState
from eyewall.training.validation import Validation

_LINE_EVERY_S = 3.0
NO_IMAGES = ImageSpec(frames=0)
Array = npt.NDArray[Any]


class Weights(Protocol):
    """Where the trained weights and the optimizer's slots live; arrays are whole, in the order of the variables."""

    def read(self) -> tuple[list[Array], list[Array]]:
        """(weights, optimizer). Every replica calls it at the same step: it may be a collective."""

    def write(self, weights: list[Array], optimizer: list[Array]) -> None:
        """The inverse. Raises ValueError when the arrays are of another model."""


@dataclass
class PlainWeights:
    """In variables of this process, mirrored or not."""

    model: Forecaster  #: that is judged
    learner: Forecaster  #: that is trained: the same, or one with the same weights (`eyewall.training.learner`)
    optimizer: Any

    def read(self) -> tuple[list[Array], list[Array]]:
        """(weights, optimizer); the judged model has the weights from then on."""
        weights = self.learner.get_weights()
        self.model.set_weights(weights)
        return weights, [variable.numpy() for variable in self.optimizer.variables]

    def write(self, weights: list[Array], optimizer: list[Array]) -> None:
        """The inverse. Raises ValueError when the arrays are of another model."""
        self.model.set_weights(weights)
        self.learner.set_weights(weights)
        for variable, value in zip(self.optimizer.variables, optimizer, strict=True):
            variable.assign(value)


@dataclass
class Session:
    """One replica's view of a run; ``after_step`` and ``checkpoint`` are called by the loop."""

    plan: Plan
    model: Forecaster  #: for validation
    weights: Weights
    run: Run
    beat: Heartbeat
    leads: bool  #: whether this replica validates, writes checkpoints and speaks: the chief, or the only one
    state: TrainingState = field(default_factory=TrainingState)
    _spoken_at: float = 0.0
    _spoken_step: int = 0

    def __post_init__(self) -> None:
        self._displace = displacement_function(self.plan, self.model)
        self._validation = make_validation(self.plan, self.model.base) if self.leads else None
        if self._validation is not None and not len(self._validation):
            self._say(
                "the records hold no validation sample: nothing can show that a correction helps, the model is CLIPER"
            )

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one. Raises ContractError when it is of another model."""
        found = self.run.load()
        if found is None:
            self.state = TrainingState(best_weights=self.model.get_weights())
            if self._validation is not None:
                self.state.best_skill = self._validation.cliper()
            return
        try:
            self.weights.write(found.weights, found.optimizer)
        except ValueError:
            raise ContractError(
                f"the checkpoints of run {self.run.name!r} are of another version of model {self.plan.job.model!r}:"
                f" give another --run, or remove {self.run.folder}"
            ) from None
        self.state = found
        self._say(f"resuming after step {found.step} of {self.plan.job.steps}")

    def after_step(self, loss: float) -> None:
        """Count a step. Raises DivergedError when its loss is not a number."""
        step = self.state.step + 1
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {step}: lower --learning-rate {self.plan.job.learning_rate:g} and give"
                f" another --run, as the same job would diverge again"
            )
        self.state.step = step
        self.state.losses.append(loss)
        self.beat.progress()
        now = time.monotonic()
        if step in (1, self.plan.job.steps) or now - self._spoken_at > _LINE_EVERY_S:
            rate = (step - self._spoken_step) / (now - self._spoken_at) if self._spoken_at else 0.0
            self._spoken_at, self._spoken_step = now, step
            self._say(f"step {step}/{self.plan.job.steps}  loss {loss:.4f}" + f"  {rate:.1f} steps/s" * (rate > 0))

    def due(self) -> bool:
        """Whether a checkpoint is due after this step."""
        return self.state.step % self.plan.job.checkpoint_every == 0 or self.state.step == self.plan.job.steps

    def checkpoint(self) -> None:
        """Validate, remember the best weights, and write everything down."""
        weights, optimizer = self.weights.read()
        if self._validation is None:
            self.beat.serve()
            return
        state = self.state
        state.weights, state.optimizer = weights, optimizer
        skill = self._validation.judge(predict_validation(self.plan, self._displace, self.beat))
        state.validations.append([float(state.step), skill.score, *map(float, skill.model_km)])
        if skill.score < state.best_skill.score:
            state.best_skill, state.best_step, state.best_weights = skill, state.step, state.weights
        self.run.save(state)
        whose = "CLIPER" if self.model.base is None else "the track model"
        self._say(f"step {state.step}/{self.plan.job.steps}  validation error {skill.score:.4f} of {whose}'s")
        report_checkpoint(state.step, skill.score, state.losses[-1])
        self.beat.progress()

    def _say(self, text: str) -> None:
        if self.leads:
            sys.stderr.write(f"eyewall train: {text}\n")
            sys.stderr.flush()


def displacement_function(plan: Plan, model: Forecaster) -> Callable[[dict[str, Any]], Any]:
    """The model's displacements as one compiled function of features, whatever the number of rows."""
    specs = {name: tf.TensorSpec((None, *shape), tf.float32) for name, shape in input_shapes(plan.images).items()}
    function: Callable[[dict[str, Any]], Any] = tf.function(
        lambda features: model(features)[OUT_DISPLACEMENT_KM], input_signature=[specs], autograph=False
    )
    return function


def predict_validation(
    plan: Plan, displace: Callable[[dict[str, Any]], Any], beat: Heartbeat | None = None
) -> npt.NDArray[np.float32]:
    """Displacements [n, l, 2] km of the cases of `make_validation` by ``displace``, in the order on disk."""
    names = input_shapes(plan.images)
    parts = [np.zeros((0, len(LEADS_H), 2), np.float32)]
    for features, _, _ in batches(plan.folder, "val"):
        rows = judged(plan, features)
        parts.append(displace({name: features[name][rows] for name in names}).numpy())
        if beat is not None:
            beat.progress()
    return np.concatenate(parts)


def make_validation(plan: Plan, base: Forecaster | None = None) -> Validation:
    """The cases of the validation split that count, with the displacements of CLIPER, or of what is corrected."""
    nothing = Validation(None, np.zeros((0, len(LEADS_H), 2)))
    if not plan.schema.counts["val"]:
        return nothing
    rows = np.concatenate([judged(plan, features) for features, _, _ in batches(plan.folder, "val")])
    cases = read_cases(plan.folder, "val").select(rows)
    if not len(cases):
        return nothing
    if base is None:
        start_km = plan.cliper.predict_km(cases.features)
    else:
        features = {name: tf.constant(cases.features[name]) for name in input_shapes(NO_IMAGES)}
        start_km = base(features)[OUT_DISPLACEMENT_KM].numpy().astype(np.float64)
    return Validation(cases, start_km, doubt=plan.job.doubt)
