"""The asynchronous training loop: a chief that hands out steps, workers that take them, servers that hold the weights.

Each step is one global batch, computed by one worker on the weights as it finds them; the update may meet weights
that others have changed meanwhile. The chief feeds the batches in the order of the records' stream, so that a resumed
run goes on where it stopped; it therefore needs the bandwidth for all of them, which small samples allow.

Method: Li et al. 2014 (OSDI), by tf.distribute's ClusterCoordinator.
"""

import os
from collections import deque
from typing import Any

import tensorflow as tf

from eyewall.contracts.cluster import Replica
from eyewall.training.heartbeat import Heartbeat
from eyewall.training.learner import make_learner, make_model
from eyewall.training.loop import gradients, make_optimizer, training_batches
from eyewall.training.plan import Plan
from eyewall.training.session import PlainWeights, Session
from eyewall.training.state import Run, TrainingState
from eyewall.training.strategies import Share
from eyewall.training.tensorflow_setup import THREADS_VARIABLE

_STEPS_IN_FLIGHT = 2  #: per worker: one computed, one waiting


def serve(replica: Replica) -> None:
    """Be a worker or a parameter server; never returns. Whoever started the process ends it when the chief is done."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    threads = int(os.environ.get(THREADS_VARIABLE, "0"))
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=max(threads, 2)
    )
    server = tf.distribute.Server(
        resolver.cluster_spec(), job_name=replica.role, task_index=replica.index, protocol="grpc", config=config
    )
    server.join()


def train(plan: Plan, run: Run, beat: Heartbeat) -> TrainingState:
    """The chief's side: all steps that are still to be done. Raises DivergedError when it diverges."""
    job = plan.job
    strategy = tf.distribute.experimental.ParameterServerStrategy(
        tf.distribute.cluster_resolver.TFConfigClusterResolver()
    )
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        model = make_model(plan)
        learner = make_learner(plan, model)
        optimizer = make_optimizer(plan, learner.trainable_variables)
        session = Session(plan, model, PlainWeights(model, learner, optimizer), run, beat, leads=True)
        session.resume()

    def worker_step(features: Any, targets: Any) -> Any:
        loss, slopes = gradients(plan, learner, features, targets)
        optimizer.apply_gradients(zip(slopes, learner.trainable_variables, strict=True))
        return loss

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(features: Any, targets: Any) -> Any:
        return strategy.run(worker_step, args=(features, targets))

    stream = iter(training_batches(plan, Share(), session.state.step))
    while session.state.step < job.steps:
        # Up to the next checkpoint: nothing is in flight while the weights are written down.
        until = min(job.steps, (session.state.step // job.checkpoint_every + 1) * job.checkpoint_every)
        flying: deque[Any] = deque()
        for _ in range(until - session.state.step):
            flying.append(coordinator.schedule(step, args=next(stream)))
            if len(flying) >= _STEPS_IN_FLIGHT * job.workers:
                session.after_step(float(flying.popleft().fetch()))
        while flying:
            session.after_step(float(flying.popleft().fetch()))
        coordinator.join()
        session.checkpoint()
    return session.state
