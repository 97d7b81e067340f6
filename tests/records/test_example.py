"""A sample becomes the Example that TensorFlow itself would write, and comes back."""

import numpy as np
import pytest

from eyewall.contracts.errors import CorruptFile
from eyewall.contracts.features import IMAGES, PAST_LAT_DEG, SEASON, STORM_ID, ImageSpec, input_shapes, target_shapes
from eyewall.records.example import decode, dequantise, encode, quantise
from eyewall.records.split import SplitYears
from eyewall.records.testing import toy_samples

SPEC = ImageSpec(frames=2, px=8, km_per_px=100.0)


def samples(spec=SPEC, first_season=1965):
    years = SplitYears(first_season, first_season, first_season, first_season)
    return [sample for _, sample in toy_samples(years, 1, spec, seed=5, fixes=14)]


def test_the_bytes_are_those_of_tensorflows_deterministic_serialiser():
    import tensorflow as tf

    for sample in samples():
        features = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(sample[name])))
            for name in input_shapes(SPEC) | target_shapes()
        }
        frames = [f.tobytes() if f.any() else b"" for f in quantise(sample[IMAGES])]
        features[IMAGES] = tf.train.Feature(bytes_list=tf.train.BytesList(value=frames))
        features[STORM_ID] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[sample[STORM_ID].encode()]))
        for name in (SEASON, "base_time_s"):  # 1965: a negative time, ten bytes long
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[sample[name]]))
        expected = tf.train.Example(features=tf.train.Features(feature=features))

        assert encode(sample, SPEC) == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("frames", [pytest.param(2, id="images"), pytest.param(0, id="track_only")])
def test_what_is_encoded_comes_back(frames):
    spec = SPEC.model_copy(update={"frames": frames})
    for sample in samples(spec):
        back = decode(encode(sample, spec), spec)

        assert back.keys() == sample.keys()
        for name, value in sample.items():
            assert np.array_equal(back[name], value), name
        assert decode(encode(sample, spec), spec, only=[SEASON]) == {SEASON: 1965}


def test_a_frame_that_does_not_exist_takes_no_space():
    with_both, empty = samples()[0], dict(samples()[0])
    with_both = with_both | {IMAGES: np.full((2, 8, 8, 1), 250.5, np.float32)}
    empty[IMAGES] = np.zeros((2, 8, 8, 1), np.float32)

    # two frames of 8 x 8 pixels of 2 bytes are 256 bytes, less a few of the lengths
    assert 256 <= len(encode(with_both, SPEC)) - len(encode(empty, SPEC)) <= 266


def test_quantising_keeps_hundredths_and_never_makes_a_value_missing():
    values = np.array([0, np.nan, 0.001, 1.0, 182.704, 313.806, 700.0], np.float32)

    # 0.001 is kept as the smallest count; 700 K is more than 16 bits hold (655.35) and is clipped
    assert quantise(values).tolist() == [0, 0, 1, 100, 18270, 31381, 65535]
    assert np.abs(dequantise(quantise(values))[3:6] - values[3:6]).max() <= 0.00501


def test_quantising_twice_changes_nothing():
    counts = np.arange(65536, dtype=np.uint16)

    assert np.array_equal(quantise(dequantise(counts)), counts)


def test_nan_and_wrong_shapes_never_enter_a_record():
    sample = samples()[0]

    with pytest.raises(ValueError, match=r"past_lat_deg of 1965T00 is not finite"):
        encode(sample | {PAST_LAT_DEG: np.full(9, np.nan)}, SPEC)
    with pytest.raises(ValueError, match=r"past_lat_deg of 1965T00 has shape \(3,\): expected \(9,\)"):
        encode(sample | {PAST_LAT_DEG: np.arange(3.0)}, SPEC)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda r: r[: len(r) // 2], id="truncated"),
        pytest.param(lambda r: b"\xff" + r[1:], id="other_tag"),
        pytest.param(lambda r: b"not an example", id="text"),
        pytest.param(lambda r: b"", id="empty"),
    ],
)
def test_bytes_that_are_no_record_are_refused_in_a_sentence(damage):
    with pytest.raises(CorruptFile, match="make the records again"):
        decode(damage(encode(samples()[0], SPEC)), SPEC)


def test_a_record_of_another_geometry_is_refused():
    with pytest.raises(CorruptFile, match="does not fit its schema"):
        decode(encode(samples()[0] | {IMAGES: np.full((2, 8, 8, 1), 250.5)}, SPEC), SPEC.model_copy(update={"px": 16}))
