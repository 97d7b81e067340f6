"""The synchronous training loop: single, mirrored and multi-worker, one optimizer step of a global batch at a time.

Step n takes global batch n of the records' shuffled stream, whoever computes which share of it, so that neither the
number of workers nor an interruption changes what is trained on. Gradients and losses of the shares are summed.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from eyewall.contracts.features import LEADS_H, TARGET_VALID, input_shapes
from eyewall.models.forecaster import Forecaster
from eyewall.models.track import Learned
from eyewall.records.dataset import load
from eyewall.training.augment import CHANCE, draw
from eyewall.training.heartbeat import Heartbeat
from eyewall.training.learner import make_learner, make_model, prepare_batch
from eyewall.training.loss import difficulty_loss_sum, loss_sum
from eyewall.training.plan import Plan
from eyewall.training.session import PlainWeights, Session
from eyewall.training.state import Run, TrainingState
from eyewall.training.strategies import Share

#: Of AdamW, in any of the loops; the weight decay is the job's.
ADAMW = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
_WARM_UP_STEPS = 50


class WarmCosine(tf_keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Linear warm-up, then half a cosine down to zero at the last step."""

    def __init__(self, peak: float, steps: int) -> None:
        super().__init__()
        self.peak, self.steps = peak, steps

    def __call__(self, step: Any) -> Any:
        """The rate of the step after so many."""
        done = tf.cast(step, tf.float32)
        warm = min(_WARM_UP_STEPS, max(self.steps // 5, 1))
        cosine = 0.5 * (1 + tf.cos(math.pi * tf.minimum(done / self.steps, 1.0)))
        return self.peak * tf.minimum((done + 1) / warm, 1.0) * cosine


def make_optimizer(plan: Plan, weights: list[Any]) -> Any:
    """AdamW (Loshchilov and Hutter 2019) with its slots created; scales and offsets are not decayed."""
    optimizer = tf_keras.optimizers.AdamW(
        WarmCosine(plan.job.learning_rate, plan.job.steps),
        jit_compile=False,
        weight_decay=plan.job.weight_decay,
        **ADAMW,
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in weights if len(v.shape) < 2])
    optimizer.build(weights)
    return optimizer


def batch_loss(plan: Plan, model: Forecaster, start_km: Any, answer: Any, target_km: Any, valid: Any) -> Any:
    """These rows' part of the global batch's loss: of a network's ``answer``; arrays as in `eyewall.training.loss`.

    Each member of an ensemble is judged by itself: judged by their mean they would be one network eight times as wide.
    """
    scale, weight = np.array(plan.scale_km, np.float32), np.array(plan.lead_weight, np.float32)
    learned = Learned.of(answer)
    losses = [
        loss_sum(model.corrected_km(start_km, correction), target_km, valid, scale, weight)
        for correction in learned.corrections
    ]
    total = tf.add_n(losses) / float(len(losses))
    if learned.log_difficulty is not None:
        mean_km = model.corrected_km(start_km, learned.correction)
        total += difficulty_loss_sum(learned.log_difficulty, mean_km, target_km, valid, scale, weight)
    total /= plan.job.batch * len(LEADS_H)
    penalised = getattr(model.network, "image", model.network)
    if hasattr(penalised, "penalty"):  # each row its part, so that shares add up
        total += penalised.penalty() * tf.cast(tf.shape(valid)[0], tf.float32) / plan.job.batch
    return total


def gradients(plan: Plan, model: Forecaster, features: Any, targets: Any) -> tuple[Any, Any]:
    """This share's part of the global batch's loss, and its gradients."""
    start_km, target_km, inputs = prepare_batch(plan, model, features, targets)
    with tf.GradientTape() as tape:
        answer = model.network(*inputs)
        loss = batch_loss(plan, model, start_km, answer, target_km, targets[TARGET_VALID])
    return loss, tape.gradient(loss, model.trainable_variables)


def train(plan: Plan, strategy: Any, share: Share, run: Run, beat: Heartbeat) -> TrainingState:
    """All steps that are still to be done; the state after the last one. Raises DivergedError when it diverges."""
    job = plan.job
    with strategy.scope():
        model = make_model(plan)
        learner = make_learner(plan, model)
        optimizer = make_optimizer(plan, learner.trainable_variables)
        session = Session(plan, model, PlainWeights(model, learner, optimizer), run, beat, leads=share.index == 0)
        session.resume()

    def replica_step(features: Any, targets: Any) -> Any:
        loss, slopes = gradients(plan, learner, features, targets)
        loss, slopes = _sum_over_replicas(loss, slopes)
        optimizer.apply_gradients(
            zip(slopes, learner.trainable_variables, strict=True), skip_gradients_aggregation=True
        )
        return loss

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(features: Any, targets: Any) -> Any:
        return strategy.experimental_local_results(strategy.run(replica_step, args=(features, targets)))[0]

    stream = iter(
        strategy.distribute_datasets_from_function(lambda _: training_batches(plan, share, session.state.step))
    )
    while session.state.step < job.steps:
        features, targets = next(stream)
        session.after_step(float(step(features, targets)))
        if session.due():
            session.checkpoint()
    return session.state


def _sum_over_replicas(loss: Any, slopes: list[Any]) -> tuple[Any, list[Any]]:
    """The global batch's loss and gradients, from each replica's part.

    One collective of one long vector: the time of a collective between processes is latency, not bytes.
    """
    shapes = [slope.shape for slope in slopes]
    flat = tf.concat([*(tf.reshape(slope, [-1]) for slope in slopes), loss[None]], axis=0)
    total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
    *parts, loss = tf.split(total, [*(shape.num_elements() for shape in shapes), 1])
    return loss[0], [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]


def training_batches(plan: Plan, share: Share, done: int) -> Any:
    """Batches of one device, from global batch ``done`` on; devices of a process take turns."""
    job = plan.job
    names = input_shapes(plan.images)
    shared = load(
        plan.folder, "train", batch=job.batch, seed=job.seed, repeat=True,
        shard=(share.index, share.count), skip_batches=done,
    )  # fmt: skip
    wanted = shared.map(lambda features, targets: ({k: features[k] for k in names}, targets))
    if job.augment:
        rows = job.batch // share.count
        own = slice(share.index * rows, (share.index + 1) * rows)
        wanted = wanted.enumerate(start=done).map(
            lambda step, batch: (batch[0] | {CHANCE: draw(job.seed, step, job.batch)[own]}, batch[1])
        )
    if share.devices > 1:
        wanted = wanted.unbatch().batch(job.batch // share.count // share.devices, drop_remainder=True)
    # Were the end of the stream in doubt, tf.distribute would ask all workers at each step whether they have a batch.
    return wanted.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
