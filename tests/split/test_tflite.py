"""The head as a TFLite file gives the SavedModel head's features, on the wire as well."""

from pathlib import Path

import numpy as np
import pytest
from small_networks import branched, chain, frames

from eyewall.contracts.errors import ContractError, InputError
from eyewall.split.partition import split
from eyewall.split.tflite import HEAD_NAME, TFLiteHead, convert, write_head

X = frames(3)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        pytest.param("float32", 1e-5, id="float32"),
        pytest.param("float16", 4e-3, id="float16"),  # 2⁻¹⁰ of the largest feature, about 4
        pytest.param("int8", 1.0, id="int8"),  # one step, where a sum in another order crosses a half
    ],
)
def test_its_features_are_the_heads(kind: str, limit: float, tmp_path: Path) -> None:
    """In the type of the wire, for any batch, with the contract beside the file."""
    parts = split(branched(), "relu", wire=kind, calibration=frames(20, seed=8))
    parts.export(tmp_path / "split", tflite=True)
    lite = TFLiteHead(tmp_path / "split" / "tflite")
    want = parts.head(X)

    got = lite(X)

    assert lite.contract == parts.contract
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    difference = np.abs(got.astype(np.float64) - want)
    assert difference.max() <= limit
    assert kind == "float32" or np.mean(difference > limit / 1000) < 0.02  # most are the same to the last bit
    np.testing.assert_allclose(parts.tail(got)["class"], np.asarray(branched()(X)), atol=0.05)


def test_raw_frames_may_be_bytes(tmp_path: Path) -> None:
    """A network that takes uint8 images, as the study's do, has a head that takes them too; batches may be empty."""
    import tf_keras

    image = tf_keras.Input((6, 6, 1), dtype="uint8", name="image")
    x = tf_keras.layers.Rescaling(1 / 64, name="scaled")(image)
    x = tf_keras.layers.Conv2D(2, 3, name="conv")(x)
    parts = split(tf_keras.Model(image, tf_keras.layers.Flatten(name="flat")(x)), "conv")
    write_head(parts.head, tmp_path / "lite")
    raw = np.arange(72, dtype=np.uint8).reshape(2, 6, 6, 1) * 3
    lite = TFLiteHead(tmp_path / "lite")

    np.testing.assert_allclose(lite(raw), parts.head(raw), rtol=1e-5, atol=1e-5)
    assert lite(raw[:0]).shape == (0, 4, 4, 2)


def test_smaller_weights_make_a_smaller_file_and_features_nearby() -> None:
    """float16 weights halve what the weights take (here a dense layer of 432 · 64 values), int8 ones quarter it."""
    import tf_keras

    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((12, 12, 3), name="image"),
            tf_keras.layers.Flatten(name="flat"),
            tf_keras.layers.Dense(64, name="wide"),
            tf_keras.layers.Dense(2, name="out"),
        ]
    )
    head = split(model, "wide").head
    sizes = [len(convert(head, weights)) for weights in ("float32", "float16", "int8")]

    assert sizes[0] > 432 * 64 * 4
    assert 432 * 64 * 2 < sizes[1] < 0.6 * sizes[0]
    assert sizes[2] < 0.35 * sizes[0]


def test_what_is_no_head_is_refused(tmp_path: Path) -> None:
    """No folder, no file, a damaged file, frames of another shape: one sentence each."""
    write_head(split(chain(), "pool1").head, tmp_path / "lite")

    with pytest.raises(InputError, match=r"input 'image' of the head takes \[b, 12, 12, 3\], given \[3, 12, 12\]"):
        TFLiteHead(tmp_path / "lite")(X[..., 0])
    path = tmp_path / "lite" / HEAD_NAME
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ContractError, match="is not a TFLite head"):
        TFLiteHead(tmp_path / "lite")
    path.unlink()
    with pytest.raises(ContractError, match=r"no head\.tflite in"):
        TFLiteHead(tmp_path / "lite")
    with pytest.raises(ContractError, match=r"no eyewall_wire\.json in"):
        TFLiteHead(tmp_path / "nowhere")
