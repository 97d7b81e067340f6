"""Files of frames as an enemy would write them, and the folder and the stream that they come from."""

import io
import os
import struct
import threading
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eyewall.contracts.errors import InputError
from eyewall.split.edge import frame_file
from eyewall.split.edge.packet import FrameKey
from eyewall.split.edge.source import Folder, Found, Stream

LARGEST = 100_000


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def header(text: str) -> bytes:
    body = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body


ARRAY = np.linspace(0.5, 2.0, 12, dtype=np.float32).reshape(3, 4)


@given(hnp.arrays(st.sampled_from(["<f4", ">f4", "<f8", "u1", ">i2", "?"]), hnp.array_shapes(max_dims=3, max_side=4)))
@settings(max_examples=50)
def test_any_plain_array_comes_back_as_numpy_would_read_it(array):
    for order in (array, np.asfortranarray(array)):
        (back,) = frame_file.parse("a.npy", npy(order), LARGEST).values()
        np.testing.assert_array_equal(back, np.load(io.BytesIO(npy(order))))
        assert back.dtype.isnative


def test_an_archive_gives_arrays_by_name():
    found = frame_file.parse("a.npz", npz(image=ARRAY, age_h=ARRAY[0]), LARGEST)
    np.testing.assert_array_equal(found["image"], ARRAY)
    np.testing.assert_array_equal(found["age_h"], ARRAY[0])


BAD = [
    pytest.param("a.npy", b"", "no .npy header", id="empty"),
    pytest.param("a.npy", npy(ARRAY)[:-1], "has 47", id="a byte short"),
    pytest.param("a.npy", npy(ARRAY) + b"x", "has 49", id="a byte too many"),
    pytest.param("a.npy", npy(np.array([{}], object), allow_pickle=True), "holds object", id="a pickle"),
    pytest.param("a.npy", npy(np.array(["a"])), "holds", id="texts"),
    pytest.param("a.npy", npy(np.array([1j])), "holds complex", id="complex numbers"),
    pytest.param("a.npy", npy(np.zeros((0, 3), np.float32)), "empty", id="nothing in it"),
    pytest.param(
        "a.npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
        "claims",
        id="a size bomb",
    ),
    pytest.param(
        "a.npy",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4), }") + b"abcd" * 4,
        "claims",
        id="minus",
    ),
    pytest.param("a.npy", header("__import__('os').system('true')"), "no .npy header", id="code in the header"),
    pytest.param("a.npy", header("(" * 9000), "no .npy header", id="a header that nests"),
    pytest.param("a.npy", b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535, "no .npy header", id="a long header"),
    pytest.param("a.npz", npz(image=ARRAY)[:-30], "no .npz archive", id="an archive cut short"),
    pytest.param("a.npz", zipped(("image.npy", b"\x00" * 10_000_000)), "unpacks to more", id="a zip bomb"),
    pytest.param("a.npz", zipped(("../../image.npy", npy(ARRAY))), "names are plain", id="a name that climbs"),
    pytest.param("a.npz", zipped(*((f"a{i}.npy", npy(ARRAY)) for i in range(40))), "40 arrays", id="many arrays"),
    pytest.param("a.npz", zipped(), "0 arrays", id="no arrays"),
]


@pytest.mark.parametrize(("name", "data", "reason"), BAD)
def test_a_hostile_file_is_an_input_error_with_the_reason(name, data, reason):
    with pytest.raises(InputError, match=reason):
        frame_file.parse(name, data, LARGEST)


@given(st.binary(max_size=300))
def test_noise_is_an_input_error_and_nothing_else(noise):
    for name, data in (("a.npy", noise), ("a.npy", b"\x93NUMPY\x01\x00" + noise), ("a.npz", b"PK\x03\x04" + noise)):
        with pytest.raises(InputError):
            frame_file.parse(name, data, LARGEST)


def test_what_is_no_plain_file_of_a_decent_size_is_never_read(tmp_path):
    (tmp_path / "large.npy").write_bytes(b"x" * (LARGEST + 1))
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "link.npy").symlink_to(tmp_path / "large.npy")
    (tmp_path / "folder.npy").mkdir()
    for name, reason in (("large", "the limit is"), ("pipe", "no plain file"), ("link", "plain"), ("folder", "plain")):
        with pytest.raises(InputError, match=reason):
            frame_file.read_bytes(tmp_path / f"{name}.npy", LARGEST)
    with pytest.raises(FileNotFoundError):
        frame_file.read_bytes(tmp_path / "gone.npy", LARGEST)


def test_a_frames_id_is_plain_ascii_whatever_its_file_is_called():
    """It goes into a header of a request and into the name of a file."""
    for name in ("frame 1.npy", "../../etc/passwd.npy", "台風.npy", "a\nb: c.npy", "x" * 300 + ".npy"):
        made = frame_file.frame_id(name, b"content")
        assert made.isascii()
        assert made.isprintable()
        assert not {"/", " ", ","} & set(made)
        assert len(made) < 120
        assert made != frame_file.frame_id(name, b"other content")


def folder(path, done=(), **options) -> Folder:
    options = {"settle_s": 0.0, "poll_s": 0.01, "largest": LARGEST, "watch": False} | options
    return Folder(path, lambda i: i in done, lambda *_: False, **options)


def test_files_come_by_name_each_once_and_hidden_ones_and_strangers_never(tmp_path):
    for name in ("b.npy", "a.npy", ".c.npy", "d.txt"):
        (tmp_path / name).write_bytes(npy(ARRAY))
    found = [one.key.name for one in folder(tmp_path).frames(threading.Event()) if one]
    assert found == ["a.npy", "b.npy"]
    done = {frame_file.frame_id("a.npy", npy(ARRAY))}
    assert [one.key.name for one in folder(tmp_path, done).frames(threading.Event()) if one] == ["b.npy"]


def test_a_file_that_is_still_written_is_left_until_it_settles(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy(ARRAY)[:50])
    source = folder(tmp_path, settle_s=0.3, watch=True)
    stop = threading.Event()
    frames = source.frames(stop)
    assert next(frames) is None
    path.write_bytes(npy(ARRAY))
    deadline = time.monotonic() + 10
    while (found := next(frames)) is None:
        assert time.monotonic() < deadline
    np.testing.assert_array_equal(found.arrays[""], ARRAY)
    stop.set()


def test_an_answered_file_is_removed_unless_it_is_another_one_by_now(tmp_path):
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).write_bytes(npy(ARRAY))
    source = folder(tmp_path, remove=True)
    a, b = (one.key for one in source.frames(threading.Event()) if one)
    (tmp_path / "b.npy").write_bytes(npy(ARRAY[:2]))
    source.finished(a)
    source.finished(b)
    assert [path.name for path in tmp_path.iterdir()] == ["b.npy"]


def test_a_folder_that_is_not_there_is_an_error_and_one_that_goes_for_a_while_is_not(tmp_path, caplog):
    with pytest.raises(InputError, match="no folder"):
        folder(tmp_path / "none")
    place = tmp_path / "frames"
    place.mkdir()
    stop = threading.Event()
    frames = folder(place, watch=True).frames(stop)
    assert next(frames) is None
    place.rename(tmp_path / "away")
    assert next(frames) is None
    assert "cannot be read" in caplog.text
    (tmp_path / "away").rename(place)
    (place / "a.npy").write_bytes(npy(ARRAY))
    assert next(found for found in frames if found).key.name == "a.npy"
    stop.set()


def test_arrays_follow_each_other_in_a_stream_and_a_broken_one_ends_it():
    good = [npy(ARRAY), npy(ARRAY[:2]), npy(ARRAY * 3)]
    found = list(Stream(io.BytesIO(b"".join(good))).frames(threading.Event()))
    assert [one.arrays[""].shape for one in found] == [(3, 4), (2, 4), (3, 4)]
    assert len({one.key.id for one in found}) == 3
    for bad in (b"garbage!" + good[0], good[0][:-3], header("{'descr': '<f4', 'shape': (9,) }"), b"\x93NUM"):
        first, last = Stream(io.BytesIO(good[0] + bad)).frames(threading.Event())
        assert first.arrays is not None
        assert last.arrays is None
        assert "what follows cannot be found" in last.reason


def test_keys_of_found_frames_have_no_number_yet():
    assert Found(FrameKey("a", -1), {}).key.number == -1
