"""Head and tail together are the whole model, at every cut; what crosses is what the contract says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_networks import branched, chain, frames

from eyewall.contracts.errors import InputError
from eyewall.contracts.split import Wire
from eyewall.split import wire
from eyewall.split.cuts import cut_points
from eyewall.split.graph import graph_of
from eyewall.split.partition import Parts, split
from eyewall.split.trace import digest

X = frames(6)
CALIBRATION = np.concatenate([X, frames(40, seed=9)])
WIRES: tuple[Wire, ...] = ("float32", "float16", "int8")


def whole(model: Any, x: np.ndarray = X) -> np.ndarray:
    """The uncut model's answers."""
    return np.asarray(model(x, training=False))


def joined(parts: Parts, x: np.ndarray = X) -> np.ndarray:
    """Head, then tail; the model's only output."""
    (answer,) = parts.tail(parts.head(x)).values()
    return answer


@pytest.mark.parametrize("network", [chain, branched], ids=["chain", "branched"])
def test_head_and_tail_are_the_whole_model_at_every_cut(network: Any) -> None:
    """As float32 to its rounding; the digests of the cuts all differ."""
    model, graph = network(), graph_of(network())
    digests = set()
    for point in cut_points(graph):
        parts = split(graph, point.name)
        digests.add(parts.contract.model)

        np.testing.assert_allclose(joined(parts), whole(model), rtol=2e-6, atol=2e-6, err_msg=point.name)
        assert parts.contract.bytes_per_frame == point.bytes_float32 == parts.head(X).nbytes // len(X)
    assert len(digests) == len(cut_points(graph))


def stretch(layers: list[Any]) -> float:
    """By how much the layers can enlarge a difference, in the greatest value: the product of their ∞-norms.

    Of a convolution and a dense layer it is the greatest sum of |weights| of an output; pools, ReLU and Flatten: 1.
    """
    total = 1.0
    for layer in layers:
        if layer.weights:
            kernel = np.abs(layer.get_weights()[0])
            total *= float(kernel.sum(axis=tuple(range(kernel.ndim - 1))).max())
    return total


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_a_smaller_wire_stays_within_its_bound_at_every_cut(kind: Wire) -> None:
    """Half a step (int8) or 2⁻¹¹ (float16) of the largest feature, times what the layers behind can make of it."""
    model, graph = chain(), graph_of(chain())
    names = [layer.name for layer in model.layers]
    for point in cut_points(graph):
        parts = split(graph, point.name, wire=kind, calibration=X, method="range")
        features = split(graph, point.name).head(X)
        behind = model.layers[names.index(point.name) + 1 :]
        off = max(parts.contract.scale) / 2 if kind == "int8" else float(np.abs(features).max()) * 2.0**-11
        difference = np.abs(joined(parts) - whole(model)).max()

        assert difference <= stretch(behind) * off + 1e-5
        assert difference > 0  # the wire was really used
        assert parts.contract.bytes_per_frame == getattr(point, f"bytes_{kind}")


@pytest.mark.parametrize("cut", ["pool1", "conv2", "flat"])
@pytest.mark.parametrize("kind", WIRES)
def test_parts_are_kerass_own_halves_with_numpys_wire_between(cut: str, kind: Wire) -> None:
    """The second method: two Keras models from the layers before and behind, and `wire.encode` and `decode`."""
    import tf_keras

    model = chain()
    layer = model.get_layer(cut)
    first = tf_keras.Model(model.input, layer.output)
    second = tf_keras.Model(layer.output, model.output)
    parts = split(model, cut, wire=kind, calibration=CALIBRATION)

    message = parts.head(X)
    by_numpy = wire.encode(np.asarray(first(X)), parts.contract)

    # A sum in another order may fall on the other side of a half: one step, seldom.
    steps = np.abs(message.astype(np.float64) - by_numpy)
    assert message.dtype == by_numpy.dtype
    assert (steps <= (1 if kind == "int8" else 1e-2)).all()
    assert np.mean(steps > 1e-6) < 0.02
    answer = np.asarray(second(wire.decode(message, parts.contract)))
    np.testing.assert_allclose(parts.tail(message)["score"], answer, rtol=2e-6, atol=2e-6)


def test_channels_that_are_not_sent_are_their_mean() -> None:
    """3 of 8 channels: 6·6·3 values; the answer is the network's with the others' mean over the calibration."""
    import tf_keras

    model = chain()
    parts = split(model, "pool1", channels=3, calibration=CALIBRATION)
    layer = model.get_layer("pool1")
    features = np.array(tf_keras.Model(model.input, layer.output)(X))
    mean = np.asarray(tf_keras.Model(model.input, layer.output)(CALIBRATION)).mean(axis=0)
    missing = [c for c in range(8) if c not in parts.contract.kept]
    features[..., missing] = mean[..., missing]

    assert (parts.contract.shape, len(parts.contract.kept)) == ((6, 6, 3), 3)
    assert parts.contract.bytes_per_frame == 6 * 6 * 3 * 4
    want = np.asarray(tf_keras.Model(layer.output, model.output)(features))
    np.testing.assert_allclose(joined(parts), want, rtol=1e-5, atol=1e-5)


def test_more_channels_come_closer_and_all_of_them_are_the_model() -> None:
    """Errors fall from 2 to 6 channels; 8 of 8 is no bottleneck, and has the plain split's digest."""
    model = chain()
    errors = [
        float(np.abs(joined(split(model, "pool1", channels=c, calibration=CALIBRATION)) - whole(model)).mean())
        for c in (2, 6, 8)
    ]

    assert errors[0] > errors[1] > errors[2]
    assert split(model, "pool1", channels=8).contract == split(model, "pool1").contract


def test_the_digest_is_of_what_is_computed_and_agreed() -> None:
    """A copy of the model has the same; another weight, cut, wire, calibration or number of channels another."""
    import tf_keras

    model = chain()
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    assert digest(graph_of(copy)) == digest(graph_of(model))

    digests = [
        split(model, "pool1").contract.model,
        split(model, "conv2").contract.model,
        split(model, "pool1", wire="float16").contract.model,
        split(model, "pool1", wire="int8", calibration=X).contract.model,
        split(model, "pool1", wire="int8", calibration=CALIBRATION).contract.model,
        split(model, "pool1", channels=4, calibration=X).contract.model,
    ]
    weights = copy.get_weights()
    weights[-1][0] = np.nextafter(weights[-1][0], np.float32(1))  # one bit of the tail's last bias
    copy.set_weights(weights)
    assert len({*digests, split(copy, "pool1").contract.model}) == 7
    assert split(model, "pool1").contract.model == digests[0]


def test_the_parts_are_whole_on_disk_and_a_second_export_changes_nothing(tmp_path: Path) -> None:
    """Contract in both, nothing else beside; another split is not written over it."""
    parts = split(chain(), "pool1", wire="int8", calibration=X)
    parts.export(tmp_path / "split")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "split").rglob("*")}
    parts.export(tmp_path / "split")

    assert [p.name for p in tmp_path.iterdir()] == ["split"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "split").rglob("*")} == before
    assert wire.read_contract(tmp_path / "split/head") == wire.read_contract(tmp_path / "split/tail") == parts.contract
    with pytest.raises(InputError, match="is there already and holds something else"):
        split(chain(), "conv2").export(tmp_path / "split")


def test_a_saved_head_and_tail_answer_as_the_model_does(tmp_path: Path) -> None:
    """Loaded as any SavedModel, through their signatures; each holds its own weights only."""
    import tensorflow as tf

    split(chain(), "pool1").export(tmp_path / "split")
    head, tail = (tf.saved_model.load(str(tmp_path / "split" / part)) for part in ("head", "tail"))
    contract = wire.read_contract(tmp_path / "split/tail")
    message = head.signatures["serving_default"](image=tf.constant(X))["features"]
    answer = tail.signatures["serving_default"](features=message, contract=tf.constant([contract.model]))

    np.testing.assert_allclose(answer["score"].numpy(), whole(chain()), rtol=2e-6, atol=2e-6)
    assert [tuple(w.shape) for w in head.weights] == [(3, 3, 3, 8), (8,)]
    assert sum(int(np.prod(w.shape)) for w in (*head.weights, *tail.weights)) == chain().count_params()


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the tail is written."""
    from eyewall.contracts.errors import StorageError
    from eyewall.split import partition

    def full(module: Any, folder: Path, contract: Any) -> None:
        if folder.name == "tail":
            raise OSError(28, "No space left on device")
        folder.mkdir()

    monkeypatch.setattr(partition, "_save", full)
    with pytest.raises(StorageError, match="No space left on device"):
        split(chain(), "pool1").export(tmp_path / "split")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        pytest.param({"cut": "pool7"}, "no cut 'pool7' in this model: there is conv1", id="cut"),
        pytest.param({"wire": "int4"}, "no wire type 'int4': give float32, float16, int8", id="wire"),
        pytest.param({"wire": "int8"}, "no calibration frames", id="no_calibration"),
        pytest.param({"channels": 9}, "9 channels cannot be kept of 8 at cut 'pool1'", id="channels"),
        pytest.param({"channels": 2}, "no calibration frames", id="channels_without_calibration"),
        pytest.param(
            {"wire": "int8", "calibration": X[:, :5]}, "calibration of 'image' has shape", id="calibration_shape"
        ),
        pytest.param({"wire": "int8", "calibration": {"picture": X}}, r"lacks \['image'\]", id="calibration_name"),
        pytest.param({"wire": "int8", "calibration": X[:0]}, "no calibration frames", id="calibration_empty"),
    ],
)
def test_what_cannot_be_done_is_refused(choices: dict[str, Any], says: str) -> None:
    """With what to give instead."""
    with pytest.raises(InputError, match=says):
        split(chain(), **({"cut": "pool1"} | choices))


@pytest.mark.slow
def test_the_command_makes_the_same_bytes_again(tmp_path: Path) -> None:
    """Two processes, two stores: the same artifact under the same name; and `cuts` lists what `make` takes."""
    chain().save(tmp_path / "chain.h5")
    np.savez(tmp_path / "frames.npz", image=CALIBRATION)
    options = ["--cut=pool1", "--wire=int8", f"--calibration={tmp_path}/frames.npz", f"--out={tmp_path}/out", "--json"]
    trees = []
    for name in ("one", "two"):
        command = ["-m", "eyewall.cli", "split", "make", f"{tmp_path}/chain.h5", *options, f"--store={tmp_path}/{name}"]
        run = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        top = tmp_path / name
        trees.append({p.relative_to(top): p.read_bytes() for p in top.rglob("*") if p.is_file()})
        options[3] = f"--out={tmp_path}/again"

    assert trees[0] == trees[1]
    assert wire.read_contract(tmp_path / "out/head") == wire.read_contract(tmp_path / "again/tail")
    assert '"bytes_per_frame": 288' in run.stdout  # 6·6·8
