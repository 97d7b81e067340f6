"""A tiny network cut in two, its head as SavedModel and TFLite, its tail published in a store; made once a process."""

import functools
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tiny_models import decide, put_model, scratch

from eyewall.contracts.jobs import PublishJob
from eyewall.serving import publish_step
from eyewall.storage import Store

SHAPE = (8, 8, 1)
CUT = "pool"


def frame(number: int) -> np.ndarray:
    """Frame of that number [8, 8, 1] float32; no two are alike, none is constant."""
    return np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)


@functools.cache
def network(seed: int = 3):
    """Conv 3×3×4, pool, dense 3: 8×8×1 → "score" [3]."""
    import tf_keras

    tf_keras.utils.set_random_seed(seed)
    image = tf_keras.Input(SHAPE, name="image")
    x = tf_keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    x = tf_keras.layers.MaxPooling2D(2, name=CUT)(x)
    x = tf_keras.layers.Flatten(name="flat")(x)
    return tf_keras.Model(image, {"score": tf_keras.layers.Dense(3, name="score")(x)})


@functools.cache
def parts(wire: str = "int8", seed: int = 3) -> Path:
    """Folder with head/, tail/ and tflite/ of the network."""
    from eyewall.split.partition import split

    folder = scratch() / "split"
    calibration = np.stack([frame(i) for i in range(64)])
    split(network(seed), CUT, wire=wire, calibration=calibration).export(folder, tflite=True)
    return folder


@functools.cache
def whole(seed: int = 3) -> Path:
    """Folder of the network as one SavedModel, image → score."""
    import tensorflow as tf

    folder = scratch() / "whole"
    model = network(seed)

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="image")])
    def serve(image):
        return model(image)

    module = tf.Module()
    module.model = model
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve.get_concrete_function())
    return folder


def expected(numbers, wire: str = "int8", seed: int = 3) -> np.ndarray:
    """Scores [n, 3] of head and tail called in this process: a second way to every answer of an edge."""
    from eyewall.serving.saved_model import SavedModel
    from eyewall.split.wire import read_contract

    folder = parts(wire, seed)
    image = np.stack([frame(i) for i in numbers])
    features = SavedModel(folder / "head").signature().run({"image": image})["features"]
    digest = np.array([read_contract(folder / "tail").model.encode()], object)
    return SavedModel(folder / "tail").signature().run({"features": features, "contract": digest})["score"]


def publish(store: Store, source: Path, name: str) -> None:
    """Publish a SavedModel as ``name``, by the ordinary step."""
    gain = float(sum(name.encode())) + len(str(source))  # any number that is another for another model
    decision = decide(store, put_model(store, gain, source))
    publish_step.run(PublishJob(store=store.url, decision_ref=decision, name=name))


def tail_store(folder: Path) -> str:
    """A store in ``folder`` that serves the tail as ``tail`` and the whole network as ``whole``."""
    store = Store(str(folder))
    publish(store, parts() / "tail", "tail")
    publish(store, whole(), "whole")
    return str(folder)


def write_frames(folder: Path, numbers) -> None:
    """Frames as ``frame-000007.npy``, each renamed into place."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        beside = folder / f".{number}.tmp"
        with beside.open("wb") as stream:
            np.save(stream, frame(number))
        beside.rename(folder / f"frame-{number:06d}.npy")


def eyewall(*arguments: str, **fields: object) -> subprocess.Popen:
    """The command line as a process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"} | fields.pop("env", {})
    command = [sys.executable, "-m", "eyewall.cli", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **fields
    )


@contextmanager
def server_process(store: str, ready: Path, *arguments: str, port: int = 0, **fields: object):
    """``eyewall serve`` as a process; yields it and its gRPC port."""
    process = eyewall("serve", f"--store={store}", f"--grpc-port={port}", "--rest-port=0", f"--ready-file={ready}",
                      *arguments, **fields)  # fmt: skip
    try:
        until(ready.exists, 200, process)
        yield process, json.loads(ready.read_text())["grpc_port"]
    finally:
        process.kill()
        process.communicate()


def until(condition, seconds: float = 240.0, process: subprocess.Popen | None = None) -> None:
    """Wait for ``condition()``; fails when it does not come, or ``process`` ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def rows(state: Path) -> list[dict]:
    """What the answers of a state folder say."""
    from eyewall.split.edge.answers import Answers

    answers = Answers(state / "answers.db")
    try:
        return list(answers.rows(limit=100_000))
    finally:
        answers.close()
