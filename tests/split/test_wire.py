"""The wire codes features as the graphs do, to the last bit, and refuses what is not of its contract."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import WireContract
from eyewall.split import wire
from eyewall.split.calibration import calibrate, choose_channels

SHAPE = (2, 3)


def contract(kind: str = "int8", **fields: Any) -> WireContract:
    """A contract of features [2, 3]; int8 with another scale and zero point for each channel."""
    values: dict[str, Any] = {"model": "ab" * 32, "cut": "pool", "wire": kind, "shape": SHAPE}
    if kind == "int8":
        values |= {"scale": (0.1, 0.02, 3.0), "zero_point": (0, -128, 17)}
    return WireContract(**values | fields)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
batches = st.integers(0, 3).flatmap(lambda n: arrays.arrays(np.float32, (n, *SHAPE), elements=floats))
#: A busy machine is no failure of what is tested.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def hard_values() -> np.ndarray:
    """Halves between two steps, ends of the range and beyond, what float16 holds as subnormals, and everyday ones."""
    halves = (np.arange(-300, 300, dtype=np.float32) + np.float32(0.5)) * np.float32(0.1)
    ends = np.float32([65504, 65520, 1e38, -3.4e38, -65519.9, 0.0, -0.0])
    small = np.float32([6e-8, 2.9e-8, 3e-8, 6.1e-5, 1e-30, 1e-40, -5.96e-8])
    everyday = np.random.default_rng(4).normal(0, 20, 6000).astype(np.float32)
    values = np.concatenate([halves, ends, small, everyday])
    return values[: len(values) // 6 * 6].reshape(-1, *SHAPE)


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_numpy_and_tensorflow_code_to_the_same_bits(kind: str) -> None:
    """In a compiled graph, with TensorFlow's rewriting of constants: there and back."""
    import tensorflow as tf

    from eyewall.split import coding

    agreed, values = contract(kind), hard_values()
    encode = tf.function(lambda v: coding.encode(v, agreed))
    decode = tf.function(lambda v: coding.decode(v, agreed))

    message = wire.encode(values, agreed)
    in_graph = encode(tf.constant(values)).numpy()

    assert in_graph.dtype == message.dtype
    assert in_graph.tobytes() == message.tobytes()
    assert decode(tf.constant(message)).numpy().tobytes() == wire.decode(message, agreed).tobytes()


@patient
@given(batches)
def test_int8_is_within_half_a_step_inside_its_range(values: np.ndarray) -> None:
    """And at the nearer end of the range outside it."""
    agreed = contract()
    scale, zero_point = wire.int8_parameters(agreed)
    low, high = (-128 - zero_point) * scale, (127 - zero_point) * scale

    got = wire.decode(wire.encode(values, agreed), agreed)

    # Half a step, and float32's rounding of product, difference and product.
    bound = scale / 2 + 4 * np.finfo(np.float32).eps * np.maximum(np.abs(low), np.abs(high))
    assert (np.abs(got - np.clip(values, low, high)) <= bound).all()


@patient
@given(batches)
def test_float16_is_within_its_rounding(values: np.ndarray) -> None:
    """2⁻¹¹ of the value, or 2⁻²⁵ where float16 is subnormal; what is too large becomes 65504."""
    agreed = contract("float16")
    limited = np.clip(values, -65504, 65504).astype(np.float64)

    got = wire.decode(wire.encode(values, agreed), agreed)

    assert (np.abs(got - limited) <= np.maximum(np.abs(limited) * 2.0**-11, 2.0**-25)).all()


@patient
@given(batches, st.sampled_from(["float32", "float16", "int8"]))
def test_a_decoded_message_codes_to_itself(values: np.ndarray, kind: str) -> None:
    """Whatever goes through the wire once comes out the same ever after, also as bytes."""
    agreed = contract(kind)
    message = wire.encode(values, agreed)

    assert wire.encode(wire.decode(message, agreed), agreed).tobytes() in (message.tobytes(), (message + 0).tobytes())
    data = wire.to_bytes(message)
    assert len(data) == len(values) * agreed.bytes_per_frame
    assert wire.from_bytes(data, agreed, len(values)).tobytes() == message.tobytes()


def test_zero_crosses_exactly() -> None:
    """ReLU's zeros are many, and come out as zeros under any calibration."""
    features = np.random.default_rng(0).normal(3, 5, (50, *SHAPE)).astype(np.float32)
    for method in ("mse", "percentile", "range"):
        scale, zero_point = calibrate(features, method)
        agreed = contract(scale=scale, zero_point=zero_point)

        assert not wire.decode(wire.encode(np.zeros((1, *SHAPE), np.float32), agreed), agreed).any()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        pytest.param(np.zeros((1, 3, 2), np.int8), r"shape \[1, 3, 2\]: cut 'pool' takes \[b, 2, 3\]", id="shape"),
        pytest.param(np.zeros((2, 3), np.int8), r"shape \[2, 3\]: cut 'pool' takes \[b, 2, 3\]", id="no_batch"),
        pytest.param(np.zeros((1, 2, 3), np.uint8), "are uint8: cut 'pool' takes int8", id="dtype"),
        pytest.param(
            np.broadcast_to(np.int8(1), (10**8, 2, 3)), "bytes as float32, above 67108864: send fewer", id="bomb"
        ),
    ],
)
def test_a_message_of_another_kind_is_refused(message: np.ndarray, says: str) -> None:
    """One sentence with what was given and what is taken; a bomb before any memory is spent on it."""
    with pytest.raises(InputError, match=says):
        wire.decode(message, contract())


@pytest.mark.parametrize("length", [0, 5, 7, 13])
def test_a_message_cut_short_is_refused(length: int) -> None:
    """One frame is 6 bytes, two are 12."""
    with pytest.raises(InputError, match=rf"a message of {length} bytes is not 2 frames of 6 bytes \(int8 \[2, 3\]\)"):
        wire.from_bytes(bytes(length), contract(), 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_refused(bad: float) -> None:
    """On the way out, and on the way in as float16."""
    values = np.ones((2, *SHAPE), np.float32)
    values[1, 0, 2] = bad

    with pytest.raises(InputError, match="1 of 12 features of cut 'pool' are not finite"):
        wire.encode(values, contract())
    with pytest.raises(InputError, match="1 of 12 features of cut 'pool' are not finite"):
        wire.decode(values.astype(np.float16), contract("float16"))


def test_head_and_tail_of_different_splits_are_told_apart() -> None:
    """Both digests are in the sentence."""
    wire.check_same(contract(), contract())
    with pytest.raises(ContractError, match=r"head is of model cdcdcdcd.* and the tail of abababab"):
        wire.check_same(contract(model="cd" * 32), contract())
    with pytest.raises(ContractError, match="differ in their wire contracts"):
        wire.check_same(contract(cut="conv"), contract())


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"scale": (0.1, 0.2)}, id="too_few_scales"),
        pytest.param({"scale": (0.1, 0.0, 0.2)}, id="a_scale_of_nothing"),
        pytest.param({"scale": (0.1, float("inf"), 0.2)}, id="an_infinite_scale"),
        pytest.param({"zero_point": (0, 0, 128)}, id="zero_point_beyond_int8"),
        pytest.param({"shape": (2, 0)}, id="no_values"),
        pytest.param({"wire": "float16"}, id="a_scale_without_int8"),
        pytest.param({"wire": "int4"}, id="no_such_wire"),
        pytest.param({"model": "abc"}, id="no_digest"),
        pytest.param({"surprise": 1}, id="unknown_field"),
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    """Before anything is coded by it."""
    with pytest.raises(ValidationError):
        contract(**fields)


def test_a_contract_survives_its_file(tmp_path: Any) -> None:
    """To the last digit of its scales, in a SavedModel or beside a TFLite file; a damaged one is named."""
    agreed = contract(scale=tuple(float(np.float32(s)) for s in (0.1, 1 / 3, 3e-9)))
    (tmp_path / "eyewall_wire.json").write_bytes(agreed.to_bytes())

    assert wire.read_contract(tmp_path) == agreed
    (tmp_path / "eyewall_wire.json").write_bytes(agreed.to_bytes()[:-20])
    with pytest.raises(ContractError, match=r"eyewall_wire.json is not a wire contract"):
        wire.read_contract(tmp_path)
    with pytest.raises(ContractError, match=r"no eyewall_wire\.json in"):
        wire.read_contract(tmp_path / "nowhere")


def test_calibration_by_error_beats_the_full_range_where_there_are_outliers() -> None:
    """And is never worse; by channel beats all in one where channels differ in size.

    One value in 200 000 is 18 standard deviations off: to give up 0.3 of the range costs 0.3² / 200 000 of its square,
    and saves 0.51 of what the steps of the full range lose, some 1 / (12 · 200²) of it.
    """
    rng = np.random.default_rng(1)
    features = (rng.normal(size=(100_000, *SHAPE)) * (1, 5, 0.01)).astype(np.float32)
    features[7, 1, 1] = 90.0

    def error(method: Any, per_channel: bool = True) -> np.ndarray:
        scale, zero_point = calibrate(features, method, per_channel)
        agreed = contract(scale=scale, zero_point=zero_point)
        lost = wire.decode(wire.encode(features, agreed), agreed) - features
        return np.mean(np.square(lost, dtype=np.float64), axis=(0, 1))

    assert (error("mse") <= error("range") * (1 + 1e-6)).all()
    assert error("mse")[1] < 0.8 * error("range")[1]
    assert error("mse")[2] < 0.01 * error("mse", per_channel=False)[2]


def test_a_channel_that_is_always_zero_has_a_scale_of_one() -> None:
    """And crosses as zero."""
    features = np.random.default_rng(1).normal(size=(9, *SHAPE)).astype(np.float32)
    features[..., 1] = 0
    scale, zero_point = calibrate(features, "range")

    assert (scale[1], zero_point[1]) == (1.0, 0)


def test_the_range_of_a_channel_by_hand() -> None:
    """0 to 5.1: 255 steps of 0.02 from zero point -128; -1 to 1: steps of 2/255 around -0.5, rounded to 0 or -1."""
    features = np.array([[0.0, -1.0], [5.1, 1.0]], np.float32)
    scale, zero_point = calibrate(features, "range")

    assert scale == pytest.approx((0.02, 2 / 255))
    assert zero_point[0] == -128
    assert zero_point[1] in (-1, 0)


def test_calibration_needs_features_that_are_numbers() -> None:
    """No frames, and a NaN."""
    with pytest.raises(InputError, match="calibrate nothing"):
        calibrate(np.zeros((0, 2, 3), np.float32))
    with pytest.raises(InputError, match="not all finite"):
        calibrate(np.array([[np.nan, 1.0]], np.float32))


def test_the_channels_that_vary_most_are_kept_in_their_order() -> None:
    """A channel that is large but constant is not worth sending: the tail knows its mean."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(60, 4, 4, 4)).astype(np.float32) * (2.0, 0.1, 0.5, 3.0) + (0.0, 90.0, 0.0, 1.0)

    assert choose_channels(features, 2) == (0, 3)
    assert choose_channels(features, 3) == (0, 2, 3)
    with pytest.raises(InputError, match="5 channels cannot be kept of 4: give 1–4"):
        choose_channels(features, 5)


def test_the_wire_needs_no_tensorflow() -> None:
    """An edge device has none: importing and using it brings neither TensorFlow nor Keras."""
    import subprocess
    import sys

    program = (
        "import sys, numpy as np; from eyewall.split import wire; from eyewall.contracts.split import WireContract\n"
        "c = WireContract(model='ab' * 32, cut='x', wire='int8', shape=(2,), scale=(0.5,), zero_point=(3,))\n"
        "assert wire.decode(wire.encode(np.float32([[1, 2]]), c), c).tolist() == [[1.0, 2.0]]\n"
        "sys.exit(any(m.startswith(('tensorflow', 'tf_keras', 'pandas')) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
