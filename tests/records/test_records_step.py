"""The records step: whole or not at all, the same bytes every time, and a clear sentence for what cannot be used."""

# NOTE: defined in conftest.py: store, put_frame, box_area, painted, job, film
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
import pytest
from toy_season import CASES, FIXES, seasons, storm

from eyewall.besttrack import table as t
from eyewall.besttrack.cases import SampleRules, build_cases
from eyewall.besttrack.testing import straight_track
from eyewall.contracts.errors import ContractError, InputError, LeakError, TrackError
from eyewall.contracts.features import IMAGE_AGE_H, IMAGE_VALID, IMAGES, PAST_LAT_DEG, STORM_ID
from eyewall.records import step
from eyewall.records.dataset import read_schema
from eyewall.records.example import decode
from eyewall.records.schema import SPLITS
from eyewall.records.shards import read_records, shard_paths
from eyewall.storage import Store, resolve


def samples_of(store, path, split):
    folder = store.fetch(path)
    schema = read_schema(folder)
    for shard in shard_paths(folder, split, schema.shards):
        for record in read_records(shard):
            yield decode(record, schema.images)


def nothing_stored(store):
    return not [path for path in store.local(".").rglob("*") if path.is_file() and "frames" not in path.parts]


def test_track_only_records_hold_the_cases_of_the_best_tracks(job, store):
    receipt = step.run(job())
    summary = receipt.summary

    assert summary["samples"] == {"train": 4 * CASES, "val": 2 * CASES, "test": 2 * CASES}
    assert summary["storms"] == {"train": 4, "val": 2, "test": 2}
    assert summary["with_frames"] == {"train": 0, "val": 0, "test": 0}
    assert summary["seasons"] == {"train": [2001, 2002], "val": [2003, 2003], "test": [2004, 2004]}
    assert read_schema(store.fetch(summary["records"])).images.frames == 0
    cases = build_cases(seasons(), SampleRules(), 2004, 2004)
    found = {(s[STORM_ID], s["base_time_s"]): s for s in samples_of(store, summary["records"], "test")}
    for row in range(len(cases)):
        sample = found[cases.storm_id[row], int(cases.base_time[row].astype("datetime64[s]").astype(int))]
        for name, values in (cases.features | cases.targets).items():
            assert np.array_equal(sample[name], values[row]), name


def test_the_default_box_goes_unsaid_so_that_older_records_are_found(job, store):
    """As they were made before there were boxes: neither digest nor schema names it. Another box is named in both."""
    plain, said = step.run(job()), step.run(job(box="100,0,-180,60"))
    other = step.run(job(box="100,0,150,60"))

    assert said == plain
    manifest = resolve(store, plain.result.uri).manifest
    assert "box" not in manifest.config
    assert "box" not in json.loads(store.read_bytes(f"{plain.result.uri}/schema.json"))
    assert read_schema(store.fetch(plain.result.uri)).box == "100,0,180,60"
    assert other.result.uri != plain.result.uri
    assert resolve(store, other.result.uri).manifest.config["box"] == "100,0,150,60"
    assert read_schema(store.fetch(other.result.uri)).box == "100,0,150,60"


def test_a_box_leaves_out_base_times_outside_and_keeps_their_targets(job, store):
    """West of 137 E the first storms of 140 − 0.75·k are in from fix 4 on; only base times are asked where they are."""
    # storm 0: fixes 4 … 11 lie at 137.0 … 131.75; with west = 135 fixes 4, 5, 6 (137.0, 136.25, 135.5) remain
    summary = step.run(job(box="135,0,180,60")).summary

    assert summary["storms"]["train"] == 2
    assert summary["samples"]["train"] == 2 * 3


def test_the_receipt_names_a_whole_artifact_whose_sums_are_right(job, store):
    receipt = step.run(job())
    artifact = resolve(store, receipt.result.uri, kind="records")

    assert artifact.reference == receipt.result
    assert receipt.summary["bytes"] == sum(f.bytes for f in artifact.manifest.files)
    names = {f.path for f in artifact.manifest.files}
    assert names == {f"{s}-0000{i}-of-00002.tfrecord" for s in SPLITS for i in (0, 1)} | {
        "schema.json",
        "statistics.json",
    }
    json.dumps(receipt.summary, allow_nan=False)


def test_frames_are_joined_where_they_show_the_storm(job, store, film):
    film(2001)
    film(2004)
    summary = step.run(job(stream="toy")).summary

    # the first storm of 2001 and that of 2004 alone were filmed; the second ones live ten days later
    assert summary["with_frames"] == {"train": CASES, "val": 0, "test": CASES}
    assert summary["frames"]["unreadable"] == 0
    filmed = [s for s in samples_of(store, summary["records"], "test") if s[IMAGE_VALID].any()]
    assert {s[STORM_ID] for s in filmed} == {"2004213N12140"}
    for sample in filmed:
        # every 6 h and at most 12 h old: 12, 6 and 0 h
        assert sample[IMAGE_AGE_H].tolist() == [12, 6, 0]
        for image in sample[IMAGES]:
            row, column = np.unravel_index(np.argmin(image[..., 0]), (16, 16))
            assert {int(row), int(column)} <= {7, 8}


def test_a_second_run_finds_the_records_and_does_no_work(job, store, film, monkeypatch):
    film(2001)
    first = step.run(job(stream="toy"))
    monkeypatch.setattr(step, "build", lambda *_, **__: pytest.fail("the work was done again"))

    assert step.run(job(stream="toy")) == first


def test_another_store_and_another_day_give_the_same_bytes(job, store, film, put_frame, tmp_path):
    film(2001)
    other = Store(str(tmp_path / "another" / "place"))
    film(2001, into=other)
    one = step.run(job(stream="toy"))
    moved = job(stream="toy", store=other.url)
    two = step.run(moved)

    assert one == two
    for entry in store.read_manifest(one.result.uri).files:
        ours = store.local(f"{one.result.uri}/{entry.path}").read_bytes()
        assert ours == other.local(f"{two.result.uri}/{entry.path}").read_bytes()
        assert str(tmp_path).encode() not in ours


def test_the_order_of_the_tracks_rows_does_not_matter_to_the_samples(job, store):
    shuffled = seasons().sample(frac=1, random_state=3)
    one, two = step.run(job()), step.run(job(shuffled))

    assert one.result.uri != two.result.uri  # other bytes of the tracks, another name
    for split in SPLITS:
        assert [f.sha256 for f in store.read_manifest(one.result.uri).files if f.path.startswith(split)] == [
            f.sha256 for f in store.read_manifest(two.result.uri).files if f.path.startswith(split)
        ]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"px": 20}, id="px"),
        pytest.param({"min_wind_kt": 40.0}, id="min_wind"),
        pytest.param({"shards": 3}, id="shards"),
        pytest.param({"max_frame_age_h": 6.0}, id="max_age"),
        pytest.param({"train_from": 2002}, id="seasons"),
    ],
)
def test_what_matters_to_the_result_is_in_its_name(job, film, change):
    film(2001)

    assert step.run(job(stream="toy", **change)).result != step.run(job(stream="toy")).result


def test_a_frame_out_of_reach_changes_nothing_and_one_within_does(job, film, put_frame):
    film(2001)
    before = step.run(job(stream="toy")).result
    put_frame("2001-12-24T00:00", 12, 140)
    assert step.run(job(stream="toy")).result == before

    put_frame("2001-08-02T03:00", 12, 140)
    assert step.run(job(stream="toy")).result != before


def test_a_storm_that_crosses_new_year_stays_with_its_season(job, store):
    """It begins on 30 December 2002: its cases of January 2003 are training samples, by its season."""
    late = straight_track("2002364N12140", 2002, "2002-12-30T00:00", fixes=FIXES)
    summary = step.run(job(pd.concat([seasons(), late], ignore_index=True))).summary
    rows = [s for s in samples_of(store, summary["records"], "train") if s[STORM_ID] == "2002364N12140"]

    assert len(rows) == CASES
    assert max(s["base_time_s"] for s in rows) > pd.Timestamp("2003-01-01").timestamp()


def test_a_storm_listed_again_under_another_season_is_a_leak(job, store, monkeypatch):
    """Read with its duplicates resolved this cannot come; were it to come, nothing is stored."""
    again = storm(2002).assign(storm_id="2003001N12140", season=2003)
    table = pd.concat([seasons(), again], ignore_index=True)
    monkeypatch.setattr(step, "read_tracks", lambda *_: table)

    with pytest.raises(LeakError, match=r"2002213N12140 \(train\) and 2003001N12140 \(val\) are 0 km apart"):
        step.run(job())
    assert nothing_stored(store)


def test_a_leak_that_slips_past_the_first_check_is_found_in_the_files(job, store, monkeypatch):
    again = storm(2002).assign(storm_id="2003001N12140", season=2003)
    monkeypatch.setattr(step, "read_tracks", lambda *_: pd.concat([seasons(), again], ignore_index=True))
    monkeypatch.setattr(step, "check_no_leak", lambda _: None)

    with pytest.raises(LeakError, match="one storm under two ids"):
        step.run(job())
    assert nothing_stored(store)


def test_no_training_storm_is_refused_with_the_numbers(job, store):
    with pytest.raises(InputError, match=r"no training storm: .* 0 cases of seasons 1990-1999 .*; 32 val, 0 test\)"):
        step.run(job(train_from=1990, train_to=1999, val_to=2002, test_to=2002))
    assert nothing_stored(store)


def test_asked_for_seasons_without_a_sample_are_told_also_when_the_records_are_found(job, capsys):
    """A file that ends in 2004 has no test season 2005-2009: no error, training can do without, but not silence."""
    for _ in range(2):
        step.run(job(val_to=2004, test_to=2009))
        assert "warning: no test sample in seasons 2005-2009" in capsys.readouterr().err
    step.run(job(val_to=2003, test_to=2003))
    assert "warning" not in capsys.readouterr().err, "an empty span was not asked for"


def test_no_training_storm_with_a_frame_is_refused_and_nothing_stays(job, store, film):
    film(2004)
    with pytest.raises(InputError, match=r"none of 64 cases .* has a frame of stream 'toy'.* 0 val, 8 test"):
        step.run(job(stream="toy", frames_only=True))
    assert nothing_stored(store)


def test_frames_only_drops_what_has_no_frame(job, film):
    film(2001)
    summary = step.run(job(stream="toy", frames_only=True)).summary

    assert summary["samples"] == summary["with_frames"] == {"train": CASES, "val": 0, "test": 0}


def test_frames_only_without_frames_is_refused(job):
    with pytest.raises(InputError, match="give a --stream"):
        step.run(job(frames_only=True))


def test_an_unknown_stream_is_refused_with_those_there_are(job, store, film):
    film(2001, stream="himawari9")
    with pytest.raises(InputError, match=r"stream 'goes' has no frames .* one of \['himawari9'\]"):
        step.run(job(stream="goes"))
    assert nothing_stored(store)


def test_frames_of_two_quantities_are_refused(job, store, film, put_frame):
    film(2001)
    path = put_frame("2001-08-02T03:00", *storm(2001).iloc[4][[t.LAT_DEG, t.LON_DEG]], quantity="grey_level")

    with pytest.raises(InputError, match=rf"{path} holds grey_level"):
        step.run(job(stream="toy"))
    assert nothing_stored(store)


def test_the_quantity_is_that_of_the_frames(job, store, film):
    film(2001, quantity="grey_level")

    assert read_schema(store.fetch(step.run(job(stream="toy")).summary["records"])).images.quantity == "grey_level"


@pytest.mark.parametrize("where", [pytest.param(0.5, id="in_the_middle"), pytest.param(0.0, id="first_byte")])
def test_a_flipped_bit_in_a_stored_frame_leaves_that_frame_out(job, store, film, where, caplog):
    film(2001)
    path = store.list_files("frames/toy", ".nc")[5]  # 30 h after the storm's start
    content = bytearray(store.read_bytes(path))
    content[int(where * len(content))] ^= 16
    store.write_bytes(path, bytes(content))
    receipt = step.run(job(stream="toy"))

    assert receipt.summary["frames"]["unreadable"] == 1
    assert receipt.summary["with_frames"]["train"] == CASES
    listed = pd.read_csv(store.local(receipt.result.uri) / "frames.csv").set_index("path")
    assert listed.loc[path, "state"] == "unreadable"
    # the case at 36 h takes those of 24 and 36 h instead of 24, 30, 36
    assert listed["samples"].sum() == 3 * CASES - 3
    assert "differs from its manifest" in caplog.text


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        pytest.param({"tracks": "/nowhere/at/all.csv"}, TrackError, "/nowhere/at/all.csv", id="no_tracks"),
        pytest.param({"val_to": 2001}, InputError, "not in order", id="seasons_out_of_order"),
    ],
)
def test_unusable_inputs_are_refused(job, store, fields, error, message):
    with pytest.raises(error, match=message) as caught:
        step.run(job(**fields))

    assert caught.value.exit_code == 65
    assert nothing_stored(store)


@pytest.mark.parametrize("field", [{"px": 2}, {"shards": 0}, {"stream": "../../etc"}, {"frames": -1}], ids=str)
def test_hostile_fields_never_become_a_job(job, field):
    with pytest.raises(ContractError):
        job(**field)


def test_statistics_are_of_each_split(job, store):
    schema = read_schema(store.fetch(step.run(job()).summary["records"]))
    lat = np.concatenate(
        [s[PAST_LAT_DEG][s["past_fix_valid"] > 0] for s in samples_of(store, step.run(job()).result.uri, "val")]
    )

    assert schema.statistics["val"][PAST_LAT_DEG].mean == pytest.approx(lat.astype(np.float64).mean())
    assert schema.statistics["train"][PAST_LAT_DEG].count == 2 * schema.statistics["val"][PAST_LAT_DEG].count


def test_killed_in_the_middle_nothing_is_there_and_the_next_run_makes_it_whole(job, store, tmp_path):
    """SIGKILL while the shards are being written (the writer is slowed down, so that it is hit for sure)."""
    made = job()
    slow = (
        "import sys, time\n"
        "from eyewall.contracts.jobs import RecordsJob\n"
        "from eyewall.records import step, writer\n"
        "take = writer.RecordsWriter.take\n"
        "def slowly(self, split, record):\n"
        "    print('writing', flush=True); time.sleep(0.5)\n"
        "    return take(self, split, record)\n"
        "writer.RecordsWriter.take = slowly\n"
        "step.run(RecordsJob.model_validate_json(sys.argv[1]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slow, made.model_dump_json()], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    assert store.list_files("records") == []
    receipt = step.run(made)
    assert resolve(store, receipt.result.uri).reference == receipt.result


def test_the_command_line_says_it_in_one_sentence_and_ends_with_65(job, store):
    made = job(train_from=1900, train_to=1901, val_to=1902, test_to=1903)
    done = subprocess.run(
        [sys.executable, "-m", "eyewall.cli", *made.to_args()], capture_output=True, text=True, check=False
    )

    assert done.returncode == 65
    assert done.stderr.startswith("eyewall: no training storm")
    assert done.stderr.count("\n") == 1
    assert "tensorflow" not in done.stderr.lower()


def test_a_store_that_fills_up_ends_with_74_and_nothing_half_written(job, store):
    """A limit on the size of files stands in for a full disk: the write fails in the middle of a shard."""
    made = job(shards=1)

    def no_file_over_8_kib():
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    done = subprocess.run(
        [sys.executable, "-B", "-m", "eyewall.cli", *made.to_args()],
        capture_output=True, text=True, check=False, preexec_fn=no_file_over_8_kib,
    )  # fmt: skip

    assert done.returncode == 74
    assert done.stderr.startswith("eyewall: cannot write 'records/")
    assert nothing_stored(store)


def test_a_store_that_is_no_folder_gives_the_same_artifact(job, store, film, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where copies of remote artifacts are kept
    film(2001)
    elsewhere = Store("memory://records-step")
    try:
        film(2001, into=elsewhere)
        remote = step.run(job(stream="toy", store=elsewhere.url))

        assert remote == step.run(job(stream="toy"))
        assert read_schema(elsewhere.fetch(remote.result.uri)) == read_schema(store.fetch(remote.result.uri))
    finally:
        elsewhere.remove("records")
        elsewhere.remove("frames")
