"""Image packs: what is in them comes out, and what is damaged is named."""

from pathlib import Path

import numpy as np
import pytest
from tiny_pack import grating, images, jpeg, pack_arrays, write_pack

from eyewall.contracts.errors import InputError
from eyewall.split.networks.image_pack import ImagePack


def test_images_come_out_in_their_order_and_near_their_originals(tmp_path: Path) -> None:
    found = ImagePack(str(write_pack(tmp_path / "pack.npz"))).images("train")

    originals, labels = images(60)
    error = found.pixels.astype(float) - originals
    assert found.pixels.shape == (60, 32, 32, 3)
    np.testing.assert_array_equal(found.labels, labels)
    # Of each image its own original is the nearest of all 60.
    distance = ((found.pixels[:, None].astype(float) - originals[None]) ** 2).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(distance.argmin(axis=1), np.arange(60))
    assert 0 < np.sqrt((error**2).mean()) < 12, "JPEG loses something, and not much"


def test_no_more_images_are_decoded_than_asked_for(tmp_path: Path) -> None:
    pixels, labels = images(5)
    files = [jpeg(p) for p in pixels[:3]] + [b"not", b"jpegs"]
    path = write_pack(tmp_path / "pack.npz", **pack_arrays(files, labels, "train"))

    assert len(ImagePack(str(path)).images("train", most=3)) == 3


def test_the_size_of_each_file_is_known(tmp_path: Path) -> None:
    pixels, labels = images(4)
    files = [jpeg(p) for p in pixels]
    path = write_pack(tmp_path / "pack.npz", **pack_arrays(files, labels, "train"))

    assert ImagePack(str(path)).file_bytes("train").tolist() == [len(f) for f in files]


def test_a_pack_is_known_by_its_content(tmp_path: Path) -> None:
    one = ImagePack(str(write_pack(tmp_path / "one.npz")))
    same = ImagePack(str(write_pack(tmp_path / "same.npz")))
    other = ImagePack(str(write_pack(tmp_path / "other.npz", test=21)))

    assert one.sha256 == same.sha256 != other.sha256


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        pytest.param({"train_labels": np.arange(7)}, "7 labels, 61 offsets", id="too-few-labels"),
        pytest.param({"train_offsets": np.arange(61)}, "disagree", id="offsets-that-end-early"),
        pytest.param({"train_offsets": np.arange(61)[::-1].copy()}, "disagree", id="falling-offsets"),
        pytest.param({"train_jpeg": np.array([{}], object)}, "no image pack", id="pickled-objects"),
        pytest.param(pack_arrays([b"\xff\xd8 no image"], np.array([3]), "train"), "image 0 of train", id="damaged"),
        pytest.param(
            pack_arrays([jpeg(grating(i, np.random.default_rng(i), px)) for i, px in ((1, 32), (2, 24))],
                        np.array([1, 2]), "train"),
            "image 1 of train", id="another-size",
        ),
        pytest.param(pack_arrays([], np.array([], int), "train"), "no train images", id="empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pack_is_said(arrays: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_pack(tmp_path / "pack.npz", **arrays)

    with pytest.raises(InputError, match=message):
        ImagePack(str(path)).images("train")


def test_a_truncated_pack_is_no_pack(tmp_path: Path) -> None:
    path = write_pack(tmp_path / "pack.npz")
    path.write_bytes(path.read_bytes()[:-2000])

    with pytest.raises(InputError, match="no image pack"):
        ImagePack(str(path)).images("train")


@pytest.mark.parametrize("uri", ["absent.npz", "no-such-scheme://pack.npz"])
def test_an_absent_pack_is_said(uri: str) -> None:
    with pytest.raises(InputError, match="cannot read image pack"):
        ImagePack(uri)


@pytest.mark.shared_data
def test_the_real_pack_is_cifar10(shared_data: Path) -> None:
    """5,000 training images of each class, the first a frog; grey levels as the network's constants have them."""
    pack = ImagePack(str(shared_data / "cifar10" / "full_jpeg_pack.npz"))
    _, _, labels = pack._arrays("train")
    found = pack.images("train", most=400)

    assert np.bincount(labels).tolist() == [5000] * 10
    assert found.labels[0] == 6
    assert found.pixels.shape == (400, 32, 32, 3)
    np.testing.assert_allclose(found.pixels.mean(axis=(0, 1, 2)), [125.3, 123.0, 113.9], atol=6)
