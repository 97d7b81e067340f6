"""The train step: records → a SavedModel with its card and history.

    1. the shape of the job, the records and the run's name are checked; a model that is there already is the answer
    2. a strategy of several processes without a TF_CONFIG: `eyewall.training.launcher` starts this very command once
       per replica, with TF_CONFIG set, and supervises them
    3. otherwise this process is the training, or one replica of it: `make_plan`, then one of the three loops
    4. the chief exports and commits the model (`eyewall.training.result`)

Killed at any point, the same command goes on from the last checkpoint of its run.
"""

import time

from eyewall.contracts.cluster import Replica
from eyewall.contracts.errors import TrainingError
from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.layout import digest_of
from eyewall.contracts.manifest import Receipt
from eyewall.storage import Artifact, Store, resolve
from eyewall.training import curve, result, strategies
from eyewall.training.heartbeat import Heartbeat
from eyewall.training.model_inputs import find_model_inputs, read_model_inputs
from eyewall.training.state import Run


def run(job: TrainJob) -> Receipt:
    """Train, or find the model that this job would give. Raises InputError, ContractError, TrainingError."""
    beat = Heartbeat().start()
    began = time.monotonic()
    strategies.check(job)
    replica = strategies.replica_of(job)
    store = Store(job.store)
    records = resolve(store, job.records_ref, "records")
    inputs = find_model_inputs(job, store)
    config = result.model_config(job, records, inputs)
    digest = digest_of(config)
    model = result.find_model(store, digest)
    if model is not None:
        curve.report_again(model.folder())
        return result.receipt_of(model)
    run_folder = Run(store, job.run)
    if replica is None or replica.role == "chief":
        run_folder.claim(digest, config)
    if strategies.is_clustered(job) and replica is None:
        from eyewall.training.launcher import launch

        launch(job)
        model = result.find_model(store, digest)
        if model is None:
            raise TrainingError(f"every replica of run {job.run!r} ended well and left no model: see their messages")
    else:
        model = _train(job, replica, store, records, inputs, digest, beat)
    return result.receipt_of(model, seconds=time.monotonic() - began)


def _train(
    job: TrainJob,
    replica: Replica | None,
    store: Store,
    records: Artifact,
    inputs: dict[str, Artifact],
    digest: str,
    beat: Heartbeat,
) -> Artifact:
    """Be the training, or one replica of it."""
    from eyewall.training import tensorflow_setup

    tensorflow_setup.prepare(job.seed)
    run_folder = Run(store, job.run)
    if job.strategy == "parameter_server":
        from eyewall.training import parameter_server
        from eyewall.training.plan import make_plan

        assert replica is not None
        if replica.role != "chief":
            beat.serve()
            parameter_server.serve(replica)
        plan = make_plan(job, records.folder(), read_model_inputs(inputs))
        state, leads = parameter_server.train(plan, run_folder, beat), True
    elif job.strategy == "model_parallel":
        from eyewall.training import model_parallel
        from eyewall.training.mesh import join_mesh
        from eyewall.training.plan import make_plan

        devices = join_mesh(job, replica)  # before any operation
        plan = make_plan(job, records.folder(), read_model_inputs(inputs))
        state, leads = model_parallel.train(plan, devices, run_folder, beat), replica is None or replica.role == "chief"
    else:
        # The strategy comes first: tf.distribute insists that no operation has run before it.
        strategy, share = strategies.synchronous(job, replica)
        from eyewall.training import loop
        from eyewall.training.plan import make_plan

        plan = make_plan(job, records.folder(), read_model_inputs(inputs))
        state, leads = loop.train(plan, strategy, share, run_folder, beat), share.index == 0
    beat.finish()
    if not leads:
        return _await_model(store, digest, job.heartbeat_timeout_s)
    return result.commit_model(plan, state, store, records, digest, inputs)


def _await_model(store: Store, digest: str, timeout_s: float) -> Artifact:
    """The model that the chief is committing, so that every replica gives the same answer."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        model = result.find_model(store, digest)
        if model is not None:
            return model
        time.sleep(0.2)
    raise TrainingError(f"all steps are done but the chief has not written its model for {timeout_s:g} s: start again")
