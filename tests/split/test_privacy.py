"""How much comes back from features: measures against their formulas, and a decoder that can and cannot."""

from pathlib import Path

import numpy as np
import pytest
import tf_keras
from PIL import Image
from tiny_pack import images, write_pack

from eyewall.contracts.errors import InputError
from eyewall.contracts.split_jobs import NetworkJob, PrivacyJob
from eyewall.split.networks import privacy_step, train_step
from eyewall.split.networks.privacy import build_decoder, likeness, reconstruct, sheet, train_decoder
from eyewall.storage import Store


def test_psnr_is_its_formula_and_equal_images_are_alike() -> None:
    pixels, _ = images(4)
    moved = pixels.astype(float) + np.where(pixels > 127, -5.0, 5.0)

    # Every pixel is 5 levels off: 10 log10(255²/25) = 34.151 dB.
    assert likeness(pixels, moved).psnr_db == pytest.approx(34.1514, abs=1e-3)
    same = likeness(pixels, pixels)
    assert (same.psnr_db, same.ssim) == (100.0, pytest.approx(1.0, abs=1e-5))


def test_ssim_tells_structure_from_mere_brightness() -> None:
    """Brighter by 20 and noisy by as much are as far by PSNR; only the noise takes the structure away."""
    pixels, _ = images(4)
    calm = pixels.astype(float) * 0.5 + 50
    noise = np.random.default_rng(0).choice([-20.0, 20.0], pixels.shape)

    brighter, noisy = likeness(calm, calm + 20), likeness(calm, calm + noise)

    assert brighter.psnr_db == pytest.approx(noisy.psnr_db, abs=1e-3)
    assert brighter.ssim > 0.9 > noisy.ssim + 0.1


def test_images_of_different_shapes_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        likeness(images(3)[0], images(4)[0])


@pytest.mark.parametrize(
    "features",
    [
        pytest.param((16, 16, 5), id="half-size"),
        pytest.param((8, 8, 3), id="quarter-size"),
        pytest.param((5, 5, 2), id="no-power-of-two"),
        pytest.param((10,), id="logits"),
        pytest.param((32, 32, 3), id="the-image-itself"),
    ],
)
def test_a_decoder_gives_images_whatever_the_features(features: tuple[int, ...]) -> None:
    given = np.random.default_rng(0).normal(size=(2, *features)).astype(np.float32)

    assert reconstruct(build_decoder(features, (32, 32, 3)), given).shape == (2, 32, 32, 3)


def test_features_larger_than_the_image_are_refused() -> None:
    with pytest.raises(InputError, match="more rows or columns"):
        build_decoder((64, 64, 1), (32, 32, 3))


def test_more_comes_back_from_more() -> None:
    """From the image at half size nearly all comes back; from its mean colour hardly more than the mean image has."""
    train, _ = images(96)
    test, _ = images(40, seed=1)

    def half(pixels: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return pixels.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4)).astype(np.float32)

    found = {}
    for name, view in (("half", half), ("colour", lambda p: p.mean(axis=(1, 2)).astype(np.float32))):
        tf_keras.utils.set_random_seed(0)
        decoder = train_decoder(view(train), train, epochs=16)
        found[name] = likeness(test, reconstruct(decoder, view(test)))
    nothing = likeness(test, np.broadcast_to(train.mean(axis=0), test.shape))

    assert found["half"].psnr_db > nothing.psnr_db + 4
    assert found["half"].ssim > 0.7 > found["colour"].ssim
    assert found["colour"].psnr_db < nothing.psnr_db + 2


def test_a_sheet_shows_each_row_in_order() -> None:
    one, two = np.full((2, 4, 4, 3), 10, np.uint8), np.full((2, 4, 4, 3), 200, np.uint8)

    drawn = sheet([one, two], enlarge=2)

    # Each image is 8 px and a line of 2: two in a row, two rows.
    assert drawn.shape == (20, 20, 3)
    assert (drawn[0, 0, 0], drawn[10, 0, 0], drawn[8, 0, 0]) == (10, 200, 255)


def test_the_step_measures_each_cut_and_shows_it(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyewall.split.wire.MAX_BYTES", 20 * 16 * 16 * 32 * 4)  # 20 images of pool1 in a message
    monkeypatch.setattr(privacy_step, "_BATCH", 20)
    pack = write_pack(tmp_path / "pack.npz")
    trained = train_step.run(NetworkJob(store=store_url, images=str(pack), channels=3, epochs=1, batch=20))
    assert trained.result is not None
    job = PrivacyJob(
        store=store_url, network_ref=trained.result.uri, images=str(pack), cuts=("pool1", "pool2"), wire="int8",
        train_images=60, test_images=15, epochs=2,
    )  # fmt: skip

    receipt = privacy_step.run(job)

    assert receipt.result is not None
    # 16·16·32 and 8·8·3 int8 values.
    assert {cut: found["bytes"] for cut, found in receipt.summary["cuts"].items()} == {"pool1": 8192, "pool2": 192}
    assert receipt.summary["test_images"] == 15
    with Image.open(Store(store_url).local(receipt.result.uri) / "reconstructions.png") as picture:
        assert picture.size == (12 * (64 + 2), 3 * (64 + 2)), "12 images; originals and two cuts"
    assert privacy_step.run(job).result == receipt.result


@pytest.mark.parametrize("cut", [pytest.param("pool9", id="unknown"), pytest.param("logits", id="its-end")])
def test_a_cut_that_the_network_has_not_is_said_before_any_work(
    store_url: str, tmp_path: Path, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyewall.split.networks.privacy.train_decoder", None)
    pack = write_pack(tmp_path / "pack.npz")
    trained = train_step.run(NetworkJob(store=store_url, images=str(pack), channels=3, epochs=1, batch=20))
    assert trained.result is not None

    with pytest.raises(InputError, match=f"no cut '{cut}'"):
        privacy_step.run(
            PrivacyJob(store=store_url, network_ref=trained.result.uri, images=str(pack), cuts=("pool1", cut))
        )
