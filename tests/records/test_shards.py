"""Shards are TFRecord files that TensorFlow reads, and damage in them is found and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyewall.contracts.errors import CorruptFile
from eyewall.records.shards import frame_record, read_records, shard_name, shard_of

RECORDS = [b"first", b"", bytes(range(256)) * 40]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(b"".join(frame_record(record) for record in RECORDS))
    return path


def test_tensorflow_reads_what_is_written_here(shard):
    import tensorflow as tf

    assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()) == RECORDS


def test_what_tensorflow_writes_is_read_here_and_has_the_same_bytes(shard, tmp_path):
    import tensorflow as tf

    theirs = tmp_path / "theirs.tfrecord"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for record in RECORDS:
            writer.write(record)

    assert list(read_records(theirs)) == RECORDS
    assert theirs.read_bytes() == shard.read_bytes()


def test_every_flipped_bit_is_found(tmp_path):
    """Whichever bit of a short file flips, reading it ends in CorruptFile."""
    whole = b"".join(frame_record(record) for record in (b"abc", b"defg"))
    path = tmp_path / "x.tfrecord"
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile, match=r"x\.tfrecord"):
            list(read_records(path))


def test_every_truncation_inside_a_record_is_found(tmp_path):
    whole = frame_record(b"abc")  # 8 + 4 + 3 + 4 = 19 bytes
    path = tmp_path / "x.tfrecord"
    for length in range(1, 19):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFile, match=r"ends inside a record at byte 0"):
            list(read_records(path))


@given(storm=st.text(max_size=20), shards=st.integers(1, 4096))
def test_a_storm_has_one_shard(storm, shards):
    assert 0 <= shard_of(storm, shards) < shards
    assert shard_of(storm, shards) == shard_of(storm, shards)


def test_storms_spread_over_the_shards():
    """400 storms over 4 shards: 100 each give or take 4 standard deviations of sqrt(400/4·3/4) = 8.7."""
    counts = [0] * 4
    for number in range(400):
        counts[shard_of(f"2015{number:03d}N10150", 4)] += 1

    assert all(65 <= count <= 135 for count in counts)


def test_names_sort_in_order_of_the_shards():
    assert shard_name("train", 0, 4) == "train-00000-of-00004.tfrecord"
    assert sorted(shard_name("val", i, 12) for i in range(12)) == [shard_name("val", i, 12) for i in range(12)]
