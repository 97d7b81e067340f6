"""Tiny SavedModels: ``y = gain * (x + u)`` with x, u [b, 3], and a slow one; made once and copied after that."""

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eyewall.contracts.gate import GateDecision, GatePolicy
from eyewall.contracts.jobs import PublishJob
from eyewall.contracts.manifest import Manifest, Receipt
from eyewall.serving import publish_step
from eyewall.serving.index import ServedModel, read_index
from eyewall.storage import Store

NAME = "track"
#: Two rows of each input, never all zeros or ones.
X = np.array([[0.5, -1.25, 2.0], [3.0, 4.5, -0.75]], dtype=np.float32)
U = np.array([[1.0, 2.0, 3.0], [0.25, -0.5, 8.0]], dtype=np.float32)
INPUTS = {"x": X, "u": U}


def scratch() -> Path:
    """A folder that goes when the process ends; not when it is killed, which is why the killed ones make none."""
    folder = tempfile.mkdtemp(prefix="eyewall-test-models-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def saved_model(gain: float) -> Path:
    """Folder of the SavedModel with this gain."""
    import tensorflow as tf

    class Gain(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = tf.Variable(gain, dtype=tf.float32)

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, name="x"),
                tf.TensorSpec([None, 3], tf.float32, name="u"),
            ]
        )
        def __call__(self, x, u):
            y = self.gain * (x + u)
            return {"y": y, "total": tf.reduce_sum(y, axis=1)}

    folder = scratch() / "saved_model"
    module = Gain()
    tf.saved_model.save(module, str(folder), signatures=module.__call__.get_concrete_function())
    return folder


@functools.cache
def slow_saved_model() -> Path:
    """Folder of a SavedModel with x [b, 1]: as many rounds of a matrix product as x[0, 0] says; y [b, 1] is the sum."""
    import tensorflow as tf

    class Rounds(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def __call__(self, x):
            square = tf.fill((400, 400), 1.0 / 400)
            rounds = tf.cast(x[0, 0], tf.int32)
            _, last = tf.while_loop(lambda i, _: i < rounds, lambda i, m: (i + 1, m @ square), (0, square))
            return {"y": x * 0.0 + tf.reduce_sum(last)}  # rows of 1/400 stay so: the sum is 400

    folder = scratch() / "saved_model"
    module = Rounds()
    tf.saved_model.save(module, str(folder), signatures=module.__call__.get_concrete_function())
    return folder


def put_model(store: Store, gain: float, source: Path | None = None) -> str:
    """Store the model with this gain (or the SavedModel in ``source``) as an artifact and return its path."""
    path = f"models/gain{gain}"
    if store.read_manifest(path) is None:
        with store.staging(path) as folder:
            shutil.copytree(source or saved_model(gain), folder / "saved_model")
            (folder / "model.json").write_text(f'{{"gain": {gain}}}\n')
            store.commit(folder, path, Manifest(kind="model", code_version="test", config={"gain": gain}))
    return path


def decide(store: Store, model: str, verdict: str = "yes") -> str:
    """Store a decision about a model and return its path."""
    manifest = store.read_manifest(model)
    assert manifest is not None
    path = f"decisions/{verdict}-{model.replace('/', '-')}"
    decision = GateDecision(
        verdict=verdict,
        reasons=("4 % better at 24 h",),
        candidate=model,
        candidate_sha256=manifest.sha256(),
        evaluation="evaluations/e",
        policy=GatePolicy(),
    )
    with store.staging(path) as folder:
        (folder / "decision.json").write_text(decision.model_dump_json())
        store.commit(folder, path, Manifest(kind="decision", code_version="test"))
    return path


@dataclass
class Repository:
    """A store with its short-cuts."""

    url: str

    @property
    def store(self) -> Store:
        """The store, opened anew."""
        return Store(self.url)

    def model(self, gain: float) -> str:
        """Path of a model artifact whose answer is ``gain`` times its input."""
        return put_model(self.store, gain)

    def decision(self, gain: float, verdict: str = "yes") -> str:
        """Path of a decision about that model."""
        return decide(self.store, self.model(gain), verdict)

    def publish(self, gain: float, **fields: object) -> Receipt:
        """Publish that model."""
        values = {"store": self.url, "decision_ref": self.decision(gain), "timeout_s": 30.0} | fields
        return publish_step.run(PublishJob.parse(values))

    @property
    def served(self) -> ServedModel:
        """What models.json says of the model."""
        return read_index(self.store).model(NAME)

    def files(self) -> set[str]:
        """Everything below serving/, dotted names too."""
        top = Path(self.url) / "serving"
        return {p.relative_to(top).as_posix() for p in top.rglob("*")}
