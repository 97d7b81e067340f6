"""A measurement end to end, small: real server and client process, a proxy as link; found again, and gone on with."""

# NOTE: injected by pytest: store_url, monkeypatch
import json

import numpy as np
import pytest

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.split_jobs import MeasureSplitJob
from eyewall.split.study import measure, measure_step
from eyewall.split.study.parts import PreparedPart
from eyewall.split.study.results import Candidate
from eyewall.storage import Store

pytestmark = pytest.mark.slow


def tiny_part(job, store, bench):
    """A convolution and a dense layer, cut between them."""
    import tf_keras

    from eyewall.split.partition import split

    frames = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8, 1)
    image = tf_keras.Input((8, 8, 1), dtype="uint8", name="image")
    values = tf_keras.layers.Rescaling(1 / 255, name="scaled")(image)
    values = tf_keras.layers.Conv2D(2, 3, strides=2, activation="relu", name="conv")(values)
    values = tf_keras.layers.Dense(3, name="logits")(tf_keras.layers.Flatten(name="flat")(values))
    model = tf_keras.Model(image, values, name="tiny")
    bench.add_whole(model, {"image": frames[:1]}, ("image",))
    bench.add_split(split(model, "conv", wire="int8", calibration=frames))
    bench.finish({"image": frames})
    return PreparedPart("tiny", "8 × 8 × 1 uint8", ("a test",), losses={"cloud": 0.0})


@pytest.fixture
def job(store_url, monkeypatch):
    monkeypatch.setattr(measure_step, "prepare", tiny_part)
    for name in ("_LEAST_S", "_UNSHAPED_LEAST_S"):
        monkeypatch.setattr(measure, name, 0.0)
    return MeasureSplitJob(
        store=store_url, part="caffenet", bandwidths_mbps=(50.0,), rtts_ms=(0.0, 5.0), requests=2, batch=2,
        client_cpu=None, link="proxy",
    )  # fmt: skip


def test_a_measurement_that_was_interrupted_goes_on_with_the_next_link_and_is_then_found(job, monkeypatch):
    real, measured = measure_step.measure_link, []

    def broken(rig, bench, link, *args):
        if len(measured) == 2:
            raise EyewallError("killed here")
        measured.append(link.name)
        return real(rig, bench, link, *args)

    monkeypatch.setattr(measure_step, "measure_link", broken)
    with pytest.raises(EyewallError, match="killed here"):
        measure_step.run(job)
    first = list(measured)
    measured.append("…")

    receipt = measure_step.run(job)

    assert first == ["unshaped, 0 ms", "50 Mbps, 0 ms"]
    assert measured[3:] == ["50 Mbps, 5 ms"]
    found = json.loads(Store(job.store).read_bytes(f"{receipt.summary['measurement']}/measurement.json"))
    assert [c["name"] for c in found["candidates"]] == ["client", "cloud", "conv/2/int8"]
    assert {(c["link"]["rtt_s"], c["way"]) for c in found["cells"]} == {
        (rtt_s, way) for rtt_s in (0.0, 0.005) for way in ("client", "cloud", "conv/2/int8")
    }
    cells = {(c["link"]["rtt_s"], c["way"]): c for c in found["cells"]}
    assert cells[0.005, "cloud"]["total_s"]["low"] >= 0.005, "no answer is faster than the link's round trip"
    assert cells[0.0, "client"]["message_up"] == 0
    # Two frames of 8 · 8 · 1 bytes, of 3 · 3 · 2 features, and the message around them.
    assert cells[0.0, "cloud"]["message_up"] > 128 > cells[0.0, "conv/2/int8"]["message_up"] - 100 > 0
    assert found["link_kind"] == "proxy"

    monkeypatch.setattr(measure_step, "_measure", None)
    assert measure_step.run(job) == receipt


def test_a_part_without_its_input_says_which_option_is_missing(store_url):
    with pytest.raises(InputError, match="part 'cifar10' needs --images"):
        measure_step.run(MeasureSplitJob(store=store_url))
    with pytest.raises(InputError, match="part 'typhoon' needs --model"):
        measure_step.run(MeasureSplitJob(store=store_url, part="typhoon"))


def test_a_way_has_a_name_that_a_folder_and_a_served_model_can_have():
    assert Candidate(name="pool2/8/int8", place="split").key == "pool2-8-int8"
