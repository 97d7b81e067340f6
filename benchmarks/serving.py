"""Latency of a forecast: the embedded server over gRPC and REST against calling the SavedModel in the same process.

    python benchmarks/serving.py [--model models/1f…] [--store var/store] [--rounds 7] [--calls 200]

Without ``--model`` a toy model with the serving signature of this project is made: it costs next to nothing to
compute, so that what is measured is the way there and back. Ways take turns within one run; a figure is the median
over the rounds, with the lowest and the highest, and the ratio is that of the medians. The server is a process of its
own (``eyewall serve``); clients and server share the machine.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from eyewall.contracts.features import ImageSpec, input_shapes
from eyewall.contracts.gate import GateDecision, GatePolicy
from eyewall.contracts.jobs import PublishJob
from eyewall.contracts.manifest import Manifest
from eyewall.serving import publish_step
from eyewall.serving.client import Client
from eyewall.serving.saved_model import SavedModel
from eyewall.serving.warmup import example_inputs
from eyewall.storage import Store, resolve

NAME = "bench"


def toy_model(folder: Path, images: ImageSpec) -> None:
    """A SavedModel with the contract's inputs and outputs and hardly any arithmetic."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec((None, *shape), tf.float32, name=name) for name, shape in input_shapes(images).items()}

    @tf.function(input_signature=[specs])
    def serve(features):
        lat = features["past_lat_deg"][:, -5:]
        if images.frames:
            lat += 0.0 * tf.reduce_mean(features["images"], axis=[1, 2, 3, 4])[:, None]
        return {
            "lat_deg": lat,
            "lon_deg": features["past_lon_deg"][:, -5:],
            "displacement_km": tf.stack([lat, lat], -1),
        }

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve.get_concrete_function())


def publish(store: Store, model: str) -> None:
    """Publish a model artifact without asking any gate."""
    decision = GateDecision(
        verdict="yes", reasons=("a benchmark",), candidate=model,
        candidate_sha256=resolve(store, model, "model").reference.sha256, evaluation="-", policy=GatePolicy(),
    )  # fmt: skip
    with store.staging("decisions/bench") as folder:
        (folder / "decision.json").write_text(decision.model_dump_json())
        store.commit(folder, "decisions/bench", Manifest(kind="decision", code_version="bench"))
    publish_step.run(PublishJob(store=store.url, decision_ref="decisions/bench", name=NAME))


def percentiles_ms(call: Callable[[], object], calls: int) -> tuple[float, float]:
    """p50 and p95 of ``calls`` calls, one after the other, in milliseconds."""
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    p50, p95 = np.percentile(times, [50, 95])
    return float(p50), float(p95)


def ways(store: Store, ports: dict[str, int], batch: int) -> dict[str, Callable[[], object]]:
    """The three ways to the same answer, each checked against the first."""
    signature = SavedModel(store.local(f"serving/{NAME}/1")).signature()
    inputs = {name: np.repeat(value, batch, axis=0) for name, value in example_inputs(signature).items()}
    client = Client(f"127.0.0.1:{ports['grpc_port']}")
    connection = http.client.HTTPConnection("127.0.0.1", ports["rest_port"])

    def rest() -> dict[str, object]:
        body = json.dumps({"inputs": {name: value.tolist() for name, value in inputs.items()}})
        connection.request("POST", f"/v1/models/{NAME}/labels/stable:predict", body)
        return json.load(connection.getresponse())["outputs"]

    def grpc() -> dict[str, np.ndarray]:
        return client.predict(inputs, NAME, label="stable").outputs

    want = signature.run(inputs)["lat_deg"]
    np.testing.assert_allclose(grpc()["lat_deg"], want, rtol=1e-4)
    np.testing.assert_allclose(rest()["lat_deg"], want, rtol=1e-4)
    return {"direct": lambda: signature.run(inputs), "gRPC": grpc, "REST": rest}


def measure(store: Store, ports: dict[str, int], batch: int, rounds: int, calls: int) -> None:
    """Print one block of figures."""
    called = ways(store, ports, batch)
    figures: dict[str, list[tuple[float, float]]] = {way: [] for way in called}
    for way in called.values():
        percentiles_ms(way, 20)
    for _ in range(rounds):
        for way, call in called.items():
            # JSON of images takes long: a fifth of the calls says as much
            figures[way].append(percentiles_ms(call, calls if way != "REST" else max(20, calls // 5)))
    base = statistics.median(p50 for p50, _ in figures["direct"])
    for way, values in figures.items():
        p50s, p95s = zip(*values, strict=True)
        middle = statistics.median(p50s)
        print(
            f"  batch {batch:>3}  {way:<7} p50 {middle:8.3f} ms ({min(p50s):.3f}-{max(p50s):.3f})"
            f"  p95 {statistics.median(p95s):8.3f} ms  {middle / base:6.1f} x direct"
        )


def main() -> None:
    """Publish, serve, measure, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="var/store")
    parser.add_argument("--model", help="a model artifact of that store; default: toy models")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    specs = {"track only": ImageSpec(frames=0), "3 images of 64 x 64": ImageSpec()}
    for title, spec in specs.items() if options.model is None else [(options.model, ImageSpec())]:
        with tempfile.TemporaryDirectory(prefix="eyewall-bench-") as folder:
            store = Store(folder)
            with store.staging("models/bench") as staged:
                if options.model is None:
                    toy_model(staged / "saved_model", spec)
                else:
                    source = Store(options.store).fetch(options.model)
                    subprocess.run(["cp", "-r", f"{source}/saved_model", staged], check=True)
                store.commit(staged, "models/bench", Manifest(kind="model", code_version="bench"))
            publish(store, "models/bench")
            print(f"{title}, {os.cpu_count()} cores, {options.rounds} rounds")
            serve_and_measure(store, Path(folder), options)


def serve_and_measure(store: Store, folder: Path, options: argparse.Namespace) -> None:
    """Start the server, wait for its ready file, measure, and end it."""
    ready = folder / "ready.json"
    arguments = [f"--store={folder}", "--grpc-port=0", "--rest-port=0", f"--ready-file={ready}"]
    with subprocess.Popen(
        [sys.executable, "-m", "eyewall.cli", "serve", *arguments], stderr=subprocess.DEVNULL
    ) as server:
        try:
            while not ready.exists():
                if server.poll() is not None:
                    raise SystemExit("the server did not start: run eyewall serve to see why")
                time.sleep(0.1)
            ports = json.loads(ready.read_text())
            for batch in (1, 32):
                measure(store, ports, batch, options.rounds, options.calls)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
