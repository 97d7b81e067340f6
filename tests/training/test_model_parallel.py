"""Model parallelism: what is shared out, and that the losses stay the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from job_maker import JobMaker
from training_runs import ROOT, finish, losses, size, start

from eyewall.contracts.jobs import TrainJob
from eyewall.training.strategies import is_clustered, model_axis


def job(**values: object) -> TrainJob:
    """A model-parallel job that is not run."""
    return TrainJob.parse({"records_ref": "records/x", "run": "r", "strategy": "model_parallel"} | values)


@pytest.mark.parametrize(
    ("values", "axis", "clustered"),
    [
        pytest.param({"devices": 2}, 2, False, id="within one process"),
        pytest.param({"workers": 3}, 3, True, id="over the processes, where each has one device"),
        pytest.param({"workers": 3, "devices": 2}, 2, True, id="within each of three processes"),
        pytest.param({"workers": 2, "devices": 2, "model_axis": 4}, 4, True, id="over all devices"),
    ],
)
def test_the_model_axis_lies_within_a_replica_unless_it_is_asked_to_span_them(
    values: dict[str, object], axis: int, clustered: bool
) -> None:
    """Links within a machine are the fast ones."""
    assert model_axis(job(**values)) == axis
    assert is_clustered(job(**values)) == clustered


@pytest.mark.parametrize(
    ("name", "shape", "axes"),
    [
        pytest.param("fusion/network/track/body/dense_0/kernel:0", (38, 64), (None, "model"), id="first: columns"),
        pytest.param("fusion/network/track/body/dense_0/bias:0", (64,), ("model",), id="and its bias"),
        pytest.param("fusion/network/track/body/norm_0/gamma:0", (64,), ("model",), id="and its norm"),
        pytest.param("fusion/network/track/body/dense_1/kernel:0", (64, 64), ("model", None), id="second: rows"),
        pytest.param("fusion/network/track/body/dense_1/bias:0", (64,), (None,), id="whose bias is whole"),
        pytest.param("fusion/network/encoder/norm_0/gamma:0", (16,), (None,), id="group norm: whole"),
        pytest.param("fusion/network/encoder/conv_1/kernel:0", (3, 3, 16, 32), (None, None, None, "model"), id="conv"),
        pytest.param("fusion/network/track/body/dense_0/kernel:0", (38, 63), (None, None), id="an odd width: whole"),
        pytest.param("track/network/member_0/fixes/state_reset_1/kernel:0", (64, 64), (None, "model"), id="a gate"),
        pytest.param("track/network/member_0/fixes/input_new_0/bias:0", (64,), ("model",), id="its bias"),
        pytest.param(
            "image/network/encoder/cell/conv_forget/kernel:0", (3, 3, 9, 8), (None,) * 3 + ("model",), id="cell"
        ),
    ],
)
def test_wide_layers_are_shared_out_and_what_two_do_not_divide_is_whole(
    name: str, shape: tuple[int, ...], axes: tuple[str | None, ...]
) -> None:
    """On two devices."""
    from eyewall.training.model_parallel import axes_of

    assert axes_of(name, shape, 2) == axes


PARTS = """
import json, sys
from pathlib import Path
from eyewall.contracts.jobs import TrainJob
from eyewall.training import tensorflow_setup
job, folder = TrainJob.model_validate_json(sys.argv[1]), Path(sys.argv[2])
tensorflow_setup.prepare(job.seed)
from eyewall.training.mesh import join_mesh
devices = join_mesh(job, None)
import numpy as np
import tensorflow as tf
from tensorflow.experimental import dtensor
from eyewall.training import model_parallel
from eyewall.training.learner import make_model
from eyewall.training.loop import ADAMW
from eyewall.training.plan import make_plan
from eyewall.training.sharded_adamw import ShardedAdamW
network = make_model(make_plan(job, folder)).network
before = network.get_weights()
model_parallel.share_out(network, devices)
weights = network.trainable_variables
optimizer = ShardedAdamW(devices, weights, lambda step: 0.1, weight_decay=0.02, **ADAMW)
whole = devices.gather(weights)
assert all(a.tobytes() == b.tobytes() for a, b in zip(before, whole, strict=True))
seen = {}
for variable, value in zip([*weights, *optimizer.variables[1:]], [*whole, *([None] * 999)]):
    parts = [part.numpy() for part in dtensor.unpack(variable.read_value())]
    seen[variable.name] = [list(variable.shape), [list(part.shape) for part in parts]]
    if value is not None and parts[0].shape != value.shape:
        axis = next(i for i in range(value.ndim) if parts[0].shape[i] != value.shape[i])
        assert np.array_equal(np.concatenate(parts, axis), value), variable.name
print(json.dumps(seen))
"""


@pytest.mark.slow
def test_each_device_really_holds_its_part_only(make_job: JobMaker) -> None:
    """Read off the devices: halves, which together are the value; the optimizer's slots as well as the weights."""
    asked = make_job(model="fusion", strategy="model_parallel", devices=2)
    command = [sys.executable, "-c", PARTS, asked.model_dump_json(), str(Path(asked.store) / asked.records_ref)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout.splitlines()[-1])

    network = "fusion/network/"
    for slot in ("", "m/", "v/"):
        whole, parts = seen[f"{slot}{network}track/member_3/body/dense_1/kernel:0"]
        assert (whole, parts) == ([64, 64], [[32, 64], [32, 64]])
        assert seen[f"{slot}{network}track/member_3/body/dense_0/kernel:0"][1][0][1] == 32
        assert seen[f"{slot}{network}image/encoder/conv_2/kernel:0"] == [[3, 3, 32, 32], [[3, 3, 32, 16]] * 2]
        assert seen[f"{slot}{network}image/encoder/norm_2/gamma:0"] == [[32], [[32], [32]]]
    sizes = {name: size(whole) for name, (whole, _) in seen.items()}
    held = sum(size(parts[0]) for _, parts in seen.values())
    assert held < 0.55 * sum(sizes.values())  # half of all, and what is whole is small


@pytest.mark.slow
def test_an_ensemble_is_shared_out_member_by_member_with_the_losses_of_one_process(make_job: JobMaker) -> None:
    """The track model of eight members and its network for the spread, on two devices: every loss within 1e-4."""
    from eyewall.training.step import run

    values: dict[str, Any] = {"model": "track", "steps": 6, "checkpoint_every": 3}
    one = make_job(run="one", **values)
    alone = losses(one, run(one).summary)
    two = make_job(run="mesh", strategy="model_parallel", devices=2, **values)

    assert losses(two, finish(start(two))[0]) == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"model": "track", "track_network": "gru", "width": 256, "size": "large"}, id="gru"),
        pytest.param({"model": "track", "track_network": "lstm", "width": 64, "size": "large"}, id="lstm"),
        pytest.param({"model": "track", "track_network": "attention", "width": 64, "size": "large"}, id="attention"),
        pytest.param({"model": "image", "encoder": "convlstm", "channels": (8, 8), "width": 32}, id="convlstm"),
        pytest.param({"model": "image", "channels": (32, 64), "width": 256, "augment": True}, id="wide cnn, augmented"),
    ],
)
def test_recurrent_and_wide_networks_are_shared_out_with_the_losses_of_one_process(
    make_job: JobMaker, values: dict[str, Any]
) -> None:
    """What only model parallelism can hold, in small: every loss within 1e-4 of a single device's."""
    from eyewall.training.step import run

    values = values | {"steps": 4, "checkpoint_every": 2}
    one = make_job(run="one", **values)
    alone = losses(one, run(one).summary)
    two = make_job(run="mesh", strategy="model_parallel", devices=2, **values)

    assert losses(two, finish(start(two))[0]) == pytest.approx(alone, abs=1e-4)
