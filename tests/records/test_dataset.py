"""tf.data over records: the same rows for the same seed, however many workers share them and wherever one resumes."""

import json

import numpy as np
import pytest

from eyewall.contracts.errors import ContractError, InputError, LeakError
from eyewall.contracts.features import IMAGES, ImageSpec, input_shapes, target_shapes
from eyewall.records.dataset import load, read_schema
from eyewall.records.example import decode
from eyewall.records.shards import read_records, shard_paths
from eyewall.records.testing import tiny_records
from eyewall.storage import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 training, 30 validation, 30 test samples in 3 shards a split."""
    return tiny_records(Store(str(tmp_path_factory.mktemp("store"))), shards=3).folder()


def rows(folder, n=None, **options):
    """What tells a row apart, batch by batch: [(storm id, base time), …] each."""
    dataset = load(folder, "train", with_meta=True, **options)
    found = dataset.take(n) if n is not None else dataset
    return [
        list(zip(m["storm_id"].tolist(), m["base_time_s"].tolist(), strict=True)) for *_, m in found.as_numpy_iterator()
    ]


def flat(batches):
    return [row for batch in batches for row in batch]


def test_values_are_those_of_the_files_in_their_order(folder):
    schema = read_schema(folder)
    records = [r for path in shard_paths(folder, "train", 3) for r in read_records(path)]
    dataset = load(folder, "train", batch=None).as_numpy_iterator()
    for record, (features, targets) in zip(records, dataset, strict=True):
        expected = decode(record, schema.images)
        for name, value in (features | targets).items():
            assert value.dtype == np.float32
            assert np.array_equal(value, expected[name]), name


def test_shapes_are_the_contracts_with_a_static_batch(folder):
    features, targets = load(folder, "train", batch=8, seed=1, repeat=True).element_spec
    spec = read_schema(folder).images

    assert {n: tuple(s.shape) for n, s in features.items()} == {n: (8, *s) for n, s in input_shapes(spec).items()}
    assert {n: tuple(s.shape) for n, s in targets.items()} == {n: (8, *s) for n, s in target_shapes().items()}


def test_an_epoch_holds_every_sample_once(folder):
    for options in ({}, {"seed": 4}):
        found = flat(rows(folder, batch=32, **options))
        assert len(found) == len(set(found)) == 120


def test_the_order_hangs_on_the_seed_alone(folder):
    import tensorflow as tf

    first = flat(rows(folder, batch=8, seed=4))
    tf.random.set_seed(99)  # somebody else's seed
    again = flat(rows(folder, batch=8, seed=4))
    tf.random.set_seed(7)

    assert again == first
    assert flat(rows(folder, batch=8, seed=5)) != first
    assert flat(rows(folder, batch=8)) != first


def test_every_epoch_has_an_order_of_its_own(folder):
    stream = flat(rows(folder, 30, batch=8, seed=4, repeat=True))  # 240 rows are two epochs of 120
    one, two = stream[:120], stream[120:]

    assert set(one) == set(two)
    assert one != two


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_workers_together_see_exactly_the_global_batches(folder, workers):
    """Batches of 12 over 120 rows and more than two epochs; worker w has the w-th piece of each."""
    alone = rows(folder, 25, batch=12, seed=3, repeat=True)
    shares = [rows(folder, 25, batch=12, seed=3, repeat=True, shard=(w, workers)) for w in range(workers)]

    assert [flat(pieces) for pieces in zip(*shares, strict=True)] == alone


def test_workers_share_out_a_short_last_batch(folder):
    """120 rows in batches of 50: 50, 50, 20; the second worker's share of the last one (rows 25 to 49) is empty."""
    shares = [rows(folder, batch=50, shard=(w, 2)) for w in (0, 1)]

    assert [[len(batch) for batch in share] for share in shares] == [[25, 25, 20], [25, 25]]
    assert sorted(flat(shares[0] + shares[1])) == sorted(flat(rows(folder, batch=50)))


def test_single_samples_are_shared_out_by_their_number(folder):
    alone = [m["base_time_s"] for *_, m in load(folder, "val", batch=None, with_meta=True).as_numpy_iterator()]
    second = load(folder, "val", batch=None, with_meta=True, shard=(1, 2)).as_numpy_iterator()

    assert [m["base_time_s"] for *_, m in second] == alone[1::2]


@pytest.mark.parametrize("skip", [0, 1, 9, 10, 14, 40])
def test_a_resumed_run_gets_the_next_batch(folder, skip):
    """12 rows a batch: batch 10 begins the second epoch; 13 rows a batch run across its end."""
    for batch in (12, 13):
        stream = rows(folder, skip + 3, batch=batch, seed=3, repeat=True)
        resumed = rows(folder, 3, batch=batch, seed=3, repeat=True, skip_batches=skip)

        assert resumed == stream[skip:]


def test_a_resumed_worker_keeps_its_share(folder):
    whole = rows(folder, 20, batch=12, seed=3, repeat=True, shard=(1, 2))

    assert rows(folder, 5, batch=12, seed=3, repeat=True, shard=(1, 2), skip_batches=15) == whole[15:]


def test_a_batch_larger_than_the_split_is_filled_from_the_next_epochs(folder):
    (batch,) = rows(folder, 1, batch=300, seed=3, repeat=True)

    assert len(batch) == 300
    assert len(set(batch)) == 120


def test_a_split_larger_than_the_window_is_still_whole_and_resumable(folder, monkeypatch):
    monkeypatch.setattr("eyewall.records.dataset.SHUFFLE_BYTES", 20_000)  # about 15 of 120 records
    whole = rows(folder, 10, batch=12, seed=3, repeat=True)

    assert len(set(flat(whole))) == 120
    assert rows(folder, 2, batch=12, seed=3, repeat=True, skip_batches=8) == whole[8:]


def test_the_pipeline_runs_where_this_python_is_not(folder):
    """A parameter server's worker is handed the graph alone: it must hold no call back into Python."""
    dataset = load(folder, "train", batch=12, seed=3, repeat=True, shard=(1, 2), skip_batches=3)

    assert b"PyFunc" not in dataset._as_serialized_graph().numpy()


def test_track_only_records_have_no_image_inputs(tmp_path):
    folder = tiny_records(
        Store(str(tmp_path)), images=ImageSpec(frames=0), train_to=2001, val_to=2002, test_to=2003
    ).folder()
    features, _ = next(load(folder, "train", batch=4).as_numpy_iterator())

    assert IMAGES not in features
    assert list(features) == list(input_shapes(ImageSpec(frames=0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"batch": 9, "shard": (0, 2)}, "batch of 9 cannot be shared out evenly among 2", id="uneven"),
        pytest.param({"batch": 8, "shard": (2, 2)}, r"shard \(2, 2\)", id="no_such_worker"),
        pytest.param({"batch": 0}, "batch >= 1", id="no_batch"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        load(folder, "train", **options)


def test_an_empty_split_is_read_as_empty_and_never_waits(tmp_path):
    folder = tiny_records(Store(str(tmp_path)), train_to=2001, val_to=2001, test_to=2002).folder()

    assert list(load(folder, "val", batch=4)) == []
    with pytest.raises(InputError, match=r"split 'val' of .* has no sample to repeat"):
        load(folder, "val", batch=4, repeat=True)


def test_a_folder_that_holds_no_records_says_so(tmp_path):
    with pytest.raises(ContractError, match=r"holds no schema\.json"):
        read_schema(tmp_path)


def test_records_whose_seasons_overlap_are_not_read(tmp_path):
    folder = tiny_records(Store(str(tmp_path)), train_to=2001, val_to=2002, test_to=2003).folder()
    schema = json.loads((folder / "schema.json").read_text())
    schema["seasons"]["val"] = [2001, 2002]
    (folder / "schema.json").write_text(json.dumps(schema))

    with pytest.raises(LeakError, match="2001-2001 of train and 2001-2002 of val overlap"):
        load(folder, "train", batch=4)


def test_tiny_records_are_the_same_bytes_every_time(tmp_path):
    one, two = (tiny_records(Store(str(tmp_path / name)), train_to=2002, val_to=2003, test_to=2004) for name in "ab")

    assert one.reference == two.reference
    assert {f.path: f.sha256 for f in one.manifest.files} == {f.path: f.sha256 for f in two.manifest.files}
