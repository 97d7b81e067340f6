"""``eyewall verify`` on toy storms: what it compares, what it refuses, and that it does nothing twice."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eyewall.cli import run_job
from eyewall.contracts.errors import ContractError, InputError, LeakError, NothingNew, StorageError
from eyewall.contracts.jobs import GateJob, VerifyJob
from eyewall.contracts.manifest import Receipt, Reference
from eyewall.records.dataset import read_schema
from eyewall.records.statistics import skew
from eyewall.storage import resolve
from eyewall.storage.store import sha256_of
from eyewall.verification import evaluate, step
from eyewall.verification.report import BASELINES

KM_PER_DEG = 111.19493


@pytest.fixture
def verify(store, toy_tracks):
    """A function that runs the step for the toy storms of 2006–2007 and gives its receipt."""

    def run(**fields):
        values = {"truth": str(toy_tracks), "season_from": 2006, "season_to": 2007, "resamples": 100, "plots": False}
        return run_job(VerifyJob(store=store.url, **(values | fields)))

    return run


def cases_of(store, receipt):
    """The table of cases of an evaluation."""
    return pd.read_csv(store.local(f"{receipt.result.uri}/cases.csv"))


def test_baselines_alone_are_scored_on_the_asked_seasons(store, verify):
    receipt = verify(plots=True)

    summary, cases = receipt.summary, cases_of(store, receipt)
    # 4 storms a season, each with 20 fixes: 15 base times from fix 4 to fix 18, of which 14 have a fix 12 h later
    assert summary["sample"]["seasons"] == [2006, 2007]
    assert summary["sample"]["fit_seasons"] == [2001, 2005]
    assert (summary["leads"]["6"]["n"], summary["leads"]["6"]["storms"]) == (120, 8)
    assert summary["leads"]["12"]["n"] == 112
    assert set(BASELINES) <= set(summary["leads"]["24"])
    assert "model" not in summary["leads"]["24"]
    assert list(summary["leads"]) == ["6", "12", "24", "48", "72"]
    assert set(cases["storm_id"].str[:4]) == {"2006", "2007"}
    assert summary["evaluation"] == receipt.result.uri
    assert store.read_bytes(f"{receipt.result.uri}/skill.png").startswith(b"\x89PNG")


def test_the_table_of_cases_adds_up_to_the_report(store, verify):
    """Second way: means, counts and slices from cases.csv by pandas."""
    receipt = verify()

    cases, report = cases_of(store, receipt), step.read_report(store, receipt.result.uri)
    for hours, scores in report.leads.items():
        rows = cases[cases["lead_h"] == int(hours)]
        assert scores.n == len(rows)
        assert scores.storms == rows["storm_id"].nunique()
        assert scores.cliper.mean_km == pytest.approx(rows["cliper_km"].mean(), abs=2e-3)
        assert scores.cliper.along_km == pytest.approx(rows["cliper_along_km"].mean(), abs=2e-3)
        assert scores.cliper.cross_abs_km == pytest.approx(rows["cliper_cross_km"].abs().mean(), abs=2e-3)
        low, high = scores.cliper.ci95_km
        assert low < scores.cliper.mean_km < high
        for slicing, classes in report.slices.items():
            assert sum(leads[hours].n for leads in classes.values()) == scores.n, "every case is in one class"
            for label, leads in classes.items():
                of_class = rows[rows[slicing] == label]
                assert leads[hours].n == len(of_class)
                if len(of_class):
                    assert leads[hours].cliper.mean_km == pytest.approx(of_class["cliper_km"].mean(), abs=2e-3)


def test_a_forecast_that_stays_put_is_exactly_behind_a_storm_that_moves(store, verify):
    """The way from the base fix to the fix 6 h later is the direction of motion: all along, nothing across."""
    six = cases_of(store, verify()).query("lead_h == 6")

    np.testing.assert_allclose(six["no_motion_along_km"], -six["no_motion_km"], atol=2e-3)
    np.testing.assert_allclose(six["no_motion_cross_km"], 0, atol=2e-3)


def test_a_second_run_is_found_before_any_work(store, verify, monkeypatch):
    first = verify()
    before = {path: store.read_bytes(path) for path in store.list_files("evaluations")}
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: pytest.fail("worked again"))

    again = verify()

    assert again == first
    assert {path: store.read_bytes(path) for path in store.list_files("evaluations")} == before


def test_a_lost_evaluation_is_made_again_byte_for_byte_and_names_no_path(store, verify, tmp_path):
    receipt = verify(plots=True)
    first = {path: store.read_bytes(path) for path in store.list_files(receipt.result.uri)}
    store.remove(receipt.result.uri)

    assert verify(plots=True) == receipt
    assert {path: store.read_bytes(path) for path in store.list_files(receipt.result.uri)} == first
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_a_store_that_fills_up_in_the_middle_keeps_nothing_half_written(store, verify, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("eyewall.verification.plot.draw_skill", full)
        with pytest.raises(StorageError, match="free some space"):
            verify(plots=True)
    assert list(store.local("evaluations").iterdir()) == []

    assert verify(plots=True).summary["leads"]["24"]["n"] == 96, "the next run makes it whole"


def test_a_model_is_scored_on_the_same_cases_and_paired_with_cliper(store, verify, add_model):
    """The toy model goes on as in the last 6 h: it is persistence_6h, reached through TensorFlow."""
    receipt = verify(model_ref=add_model())

    for scores in receipt.summary["leads"].values():
        model, cliper = scores["model"], scores["cliper"]
        assert model["mean_km"] == pytest.approx(scores["persistence_6h"]["mean_km"], abs=0.05)
        difference = scores["model_minus_cliper"]
        assert difference["mean_km"] == pytest.approx(model["mean_km"] - cliper["mean_km"], abs=2e-3)
        low, high = difference["ci95_km"]
        assert low <= difference["mean_km"] <= high
        assert model["skill_pct"] == pytest.approx(100 * (1 - model["mean_km"] / cliper["mean_km"]), rel=1e-2)
    manifest = store.read_manifest(receipt.result.uri)
    reference = {"uri": "models/aaaaaaaaaaaaaaaa", "sha256": store.read_manifest("models/aaaaaaaaaaaaaaaa").sha256()}
    assert manifest.extra["candidate"] == reference
    report = step.read_report(store, receipt.result.uri)
    assert (report.candidate.uri, report.candidate.sha256) == tuple(reference.values())
    assert report.candidate.seen_seasons == (2001, 2005)


def test_frames_reach_the_model_by_storm_and_base_time(store, verify, add_model, toy_records, deg_per_frame):
    """The toy model is `deg_per_frame` off to the north for each frame that it is given."""
    from eyewall.records.dataset import load

    without = cases_of(store, verify(model_ref=add_model(), fit_to=2004))  # as the records train
    receipt = verify(model_ref=add_model(), records_ref=toy_records.path)
    given = cases_of(store, receipt)

    frames = {}
    for features, _, meta in load(toy_records.folder(), "test", batch=16, with_meta=True):
        valid_frames = features["image_valid"].numpy()
        for storm, seconds, valid in zip(
            meta["storm_id"].numpy(), meta["base_time_s"].numpy(), valid_frames, strict=True
        ):
            time = pd.Timestamp(int(seconds), unit="s").strftime("%Y-%m-%dT%H:%M:%SZ")
            frames[storm.decode(), time] = int(np.sum(valid))
    expected = given[["storm_id", "base_time"]].apply(tuple, axis=1).map(frames)
    assert set(expected) == {0, 1, 2}
    np.testing.assert_array_equal(given["has_frame"], expected > 0)
    # with and without frames the forecasts lie so far apart; the errors differ by no more, and equal without frames
    change = (given["model_km"] - without["model_km"]).abs()
    assert change[expected == 0].max() == 0
    assert change[expected > 0].min() >= 0
    assert change.max() <= 2 * deg_per_frame * KM_PER_DEG + 0.01
    assert change[expected == 2].mean() > 1.5 * change[expected == 1].mean() > 5
    np.testing.assert_array_equal(given["cliper_km"], without["cliper_km"])
    assert receipt.summary["sample"]["cases_with_frames"] == sum(count > 0 for count in frames.values())


def test_frames_only_keeps_the_cases_with_a_frame_for_every_method(store, verify, add_model, toy_records):
    fields = {"model_ref": add_model(), "records_ref": toy_records.path}
    everything, framed = cases_of(store, verify(**fields)), cases_of(store, verify(**fields, frames_only=True))

    wanted = everything[everything["has_frame"] == 1].reset_index(drop=True)
    assert 0 < len(wanted) < len(everything)
    pd.testing.assert_frame_equal(framed, wanted)


def test_an_incumbent_is_compared_on_the_same_cases(store, verify, add_model):
    candidate, incumbent = add_model(), add_model("serving/track/1", kind="version", train=(2001, 2003))

    summary = verify(model_ref=candidate, incumbent_ref=incumbent).summary

    scores = summary["leads"]["24"]
    assert scores["incumbent"]["mean_km"] == scores["model"]["mean_km"]  # the same weights
    assert scores["model_minus_incumbent"] == {"mean_km": 0.0, "ci95_km": [0.0, 0.0]}


def test_the_stable_version_of_a_served_model_is_the_incumbent(store, verify, add_model):
    """Through the model repository's own functions: nothing served yet, then one that is."""
    from eyewall.serving import index, repository

    candidate = add_model()
    alone = verify(model_ref=candidate, incumbent_name="track")
    model = resolve(store, candidate)
    number = repository.register(store, "track", model, approved_by=None)
    served = index.read_index(store)
    index.write_index(store, served.with_model("track", repository.relabelled(served.model("track"), number)))

    compared = verify(model_ref=candidate, incumbent_name="track")

    assert step.read_report(store, alone.result.uri).incumbent is None
    incumbent = step.read_report(store, compared.result.uri).incumbent
    assert (incumbent.uri, incumbent.copy_of) == ("serving/track/1", model.reference.sha256)
    assert incumbent.seen_seasons == (2001, 2005), "the card travels with the version"
    decision = run_job(
        GateJob(store=store.url, evaluation_ref=compared.result.uri, leads_h=(6,), max_worse_than_cliper_pct=1e6)
    )
    assert "serves already" in decision.summary["reasons"][-1]


def test_an_incumbent_that_has_seen_the_seasons_is_compared_but_it_is_said(store, verify, add_model):
    """It can only hold a better candidate back: no reason to stop, but one to tell."""
    incumbent = add_model("serving/track/1", kind="version", train=(2001, 2006))

    receipt = verify(model_ref=add_model(), incumbent_ref=incumbent)

    assert "was trained on seasons 2001-2006" in step.read_report(store, receipt.result.uri).incumbent.note


@pytest.mark.parametrize(
    ("seasons", "use"),
    [
        pytest.param({"train": (2001, 2006), "val": (2008, 2008)}, "trained", id="trained_on_2006"),
        pytest.param({"train": (2001, 2004), "val": (2005, 2006)}, "chosen", id="chosen_on_2006"),
        pytest.param({"train": (2001, 2010)}, "trained", id="trained_on_all_around"),
    ],
)
def test_a_candidate_that_has_seen_the_seasons_is_refused(store, verify, add_model, seasons, use):
    with pytest.raises(LeakError, match=f"was {use} on seasons"):
        verify(model_ref=add_model(**seasons))

    assert store.list_files("evaluations") == []


def test_a_decks_name_is_part_of_what_is_verified(store, tmp_path):
    """The same bytes under another ATCF name are another storm: not the evaluation that is there."""
    rows = [
        f"WP, 05, {time:%Y%m%d%H},   , BEST,   0, {120 + 5 * n}N, {1500 - 7 * n}E,  65,  985, TY\n"
        for year in (2001, 2002)
        for n, time in enumerate(pd.date_range(f"{year}-08-01", periods=20, freq="6h"))
    ]
    for name, part in (("bwp052001.dat", rows[:20]), ("bwp052002.dat", rows[20:])):
        (tmp_path / "fit" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "fit" / name).write_text("".join(part))
    found = []
    for name in ("bwp052002.dat", "bwp992002.dat"):
        (tmp_path / name).write_text("".join(rows[20:]))
        job = VerifyJob(
            store=store.url, truth=str(tmp_path / name), fit=str(tmp_path / "fit"), season_from=2002, season_to=2002,
            resamples=100, plots=False,
        )  # fmt: skip
        found.append(run_job(job))

    assert found[0].result.uri != found[1].result.uri
    assert set(cases_of(store, found[0])["storm_id"]) == {"WP052002"}
    assert set(cases_of(store, found[1])["storm_id"]) == {"WP992002"}


def test_clipers_fit_is_that_of_all_cases_also_where_records_hold_few(store, verify, toy_records):
    """With frames only, too: it is the reference, not a part of the model; and the report says how many both had."""
    report = step.read_report(store, verify(records_ref=toy_records.path, frames_only=True).result.uri)
    cut = toy_records.manifest.counts["train"]

    # four seasons of 4 storms, 15 base times each
    assert (report.sample.fit_seasons, report.sample.fit_cases, report.sample.fit_storms) == ((2001, 2004), 240, 16)
    assert cut == 240
    assert report.sample.cases < 120


def test_a_model_with_a_card_says_on_how_many_samples_its_own_cliper_was_fitted(store, verify, add_model, capsys):
    """In the report, and on stderr beside the fit of the table's CLIPER."""
    path = add_model()
    card = store.local(f"{path}/model.json")
    values = json.loads(card.read_bytes())
    values["cliper"] = {"cases": [77, 70, 60, 40, 20], "lead_forms": ["linear"] * 3 + ["persistence_12h"] * 2}
    card.write_text(json.dumps(values))
    manifest = store.local(f"{path}/manifest.json")
    listed = json.loads(manifest.read_bytes())
    for entry in listed["files"]:
        if entry["path"] == "model.json":
            entry["sha256"] = sha256_of(card)
    manifest.write_text(json.dumps(listed))

    report = step.read_report(store, verify(model_ref=path, fit_to=2004).result.uri)

    assert report.candidate.cliper_cases == {"6": 77, "12": 70, "24": 60, "48": 40, "72": 20}
    assert report.candidate.cliper_forms["72"] == "persistence_12h"
    told = " ".join(capsys.readouterr().err.split())
    assert (
        "fitted on 240 cases of 16 storms, seasons 2001-2004 (too few for its quadratic form at 6 h, 12 h, 24 h, 48 h,"
        " 72 h); inside models/aaaaaaaaaaaaaaaa: on 77 training" in told
    )


def test_a_test_split_unlike_the_training_split_is_told_in_the_report_and_on_stderr(store, verify, toy_records, capsys):
    """The toy records' storms of 2006 and 2007 happen to move more slowly: five sentences, one a lead."""
    report = step.read_report(store, verify(records_ref=toy_records.path).result.uri)
    schema = read_schema(toy_records.folder())

    expected = skew(schema.statistics["train"], schema.statistics["test"])
    assert expected
    assert list(report.sample.skew) == expected
    told = capsys.readouterr().err
    assert told.count("warning: the test split of the records is unlike their training split") == 1
    assert all(sentence in told for sentence in expected)
    assert step.read_report(store, verify().result.uri).sample.skew == ()


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        pytest.param({"fit_to": 2006}, LeakError, "overlap the verified seasons", id="fit_to_in_the_verified"),
        pytest.param({"fit_from": 2007, "fit_to": 2009}, LeakError, "overlap", id="fit_from_in_the_verified"),
        pytest.param({"fit_from": 2009, "fit_to": 2010}, InputError, "no storm to fit", id="fit_without_storms"),
        pytest.param({"season_from": 2001, "season_to": 2001}, InputError, "no season to fit on", id="nothing_before"),
        pytest.param({"season_from": 1990, "season_to": 1990, "fit_to": 1980}, InputError, "no season", id="early"),
        pytest.param({"season_from": 2020, "season_to": 2021}, InputError, "seasons 2020-2021", id="no_such_seasons"),
        pytest.param({"season_from": 2007, "season_to": 2006}, InputError, "2007-2006", id="wrong_order"),
        pytest.param({"min_wind_kt": 300.0}, InputError, "at least 300 kt", id="no_storm_that_strong"),
        pytest.param({"truth": "nowhere.csv"}, InputError, "nowhere.csv", id="no_such_truth"),
        pytest.param({"model_ref": "models/none"}, ContractError, "models/none", id="no_such_model"),
        pytest.param({"records_ref": "records/none"}, ContractError, "records/none", id="no_such_records"),
        pytest.param({"frames_only": True}, InputError, "--records", id="frames_only_without_records"),
    ],
)  # fmt: skip
def test_unusable_input_is_refused_and_nothing_is_written(store, verify, fields, error, message):
    with pytest.raises(error, match=message):
        verify(**fields)

    assert store.list_files("evaluations") == []


def test_a_verified_storm_that_another_agency_counts_to_an_earlier_season_is_left_out_of_the_fit(
    store, verify, toy_tracks, tmp_path
):
    """Its fixes are 2006's, some 10 km off, filed under 2003 with another number; without it nothing changes."""
    table = pd.read_csv(toy_tracks, dtype=str)
    earlier = table[~table["SID"].str.startswith(("2006", "2007"))]
    twin = table[table["SID"] == "2006T01"].assign(SID="2003X99")
    twin["LAT"] = (twin["LAT"].astype(float) + 0.1).astype(str)
    without, with_twin = tmp_path / "without.csv", tmp_path / "with_twin.csv"
    earlier.to_csv(without, index=False)
    pd.concat([earlier, twin]).to_csv(with_twin, index=False)

    clean, cleaned = verify(fit=str(without)), verify(fit=str(with_twin))

    assert step.read_report(store, cleaned.result.uri).sample.fit_left_out == ("2003X99",)
    assert cleaned.summary["sample"]["fit_storms"] == clean.summary["sample"]["fit_storms"] == 20
    assert cleaned.summary["leads"] == clean.summary["leads"]


def test_records_without_a_frame_for_any_case_are_refused_where_frames_are_wanted(verify, toy_records, toy_tracks):
    with pytest.raises(InputError, match="has a frame"):
        verify(season_from=2005, season_to=2005, records_ref=toy_records.path, frames_only=True)


def test_records_of_another_geometry_than_the_model_takes_are_refused(store, verify, add_model):
    from eyewall.contracts.features import ImageSpec
    from eyewall.records.testing import tiny_records

    coarse = tiny_records(store, images=ImageSpec(frames=2, px=8, km_per_px=160.0), storms_per_season=1)

    with pytest.raises(InputError, match=r"2 x 16 px of 80 km .* the records hold 2 x 8 px of 160 km"):
        verify(model_ref=add_model(), records_ref=coarse.path)


# --- where a model may be -------------------------------------------------------------------------------------------


def test_a_plain_saved_model_anywhere_is_verified_but_never_published(store, verify, saved_model, toy_tracks):
    receipt = verify(model_ref=str(saved_model))

    report = step.read_report(store, receipt.result.uri)
    assert (report.candidate.uri, report.candidate.publishable) == ("saved_model", False)
    assert "seasons it was trained on is unknown" in report.candidate.note
    assert report.leads["24"].model.mean_km == pytest.approx(report.leads["24"].persistence_6h.mean_km, abs=0.05)
    with pytest.raises(NothingNew, match="not a model artifact of this store"):
        run_job(GateJob(store=store.url, evaluation_ref=receipt.result.uri, min_cases=1, min_storms=1))


def test_an_artifact_its_version_folder_and_its_receipt_give_the_same_scores(
    store, verify, add_model, saved_model, tmp_path
):
    path = add_model()
    digest = store.read_manifest(path).sha256()
    store.write_json(
        "receipts/train.json", Receipt(verb="train", result=Reference(uri=path, sha256=digest)).model_dump(mode="json")
    )
    shutil.copytree(store.local(path), tmp_path / "elsewhere" / "models" / "x")
    version = shutil.copytree(saved_model, tmp_path / "serving" / "track" / "7")
    refs = [
        path,
        str(store.local(path)),
        str(store.local(path) / "saved_model"),
        "receipts/train.json",
        str(store.local("receipts/train.json")),
        str(tmp_path / "elsewhere" / "models" / "x"),
        str(version),
    ]

    receipts = [verify(model_ref=ref) for ref in refs]

    assert len({json.dumps(receipt.summary["leads"]) for receipt in receipts}) == 1
    candidates = [step.read_report(store, receipt.result.uri).candidate for receipt in receipts]
    assert [c.uri for c in candidates] == [path] * 5 + ["x", "7"]
    assert {c.sha256 for c in candidates[:6]} == {digest}
    assert len({receipt.result.uri for receipt in receipts[:5]}) == 1, (
        "one model, one evaluation, whatever it is called"
    )


def test_a_model_of_one_name_with_other_content_is_verified_anew(verify, saved_model, tmp_path):
    folder = shutil.copytree(saved_model, tmp_path / "saved_model")
    first = verify(model_ref=str(folder))
    (folder / "assets" / "words.txt").write_text("other")

    assert verify(model_ref=str(folder)).result.uri != first.result.uri


def test_a_receipt_of_another_store_leads_to_its_model(verify, add_model, store, tmp_path):
    path = add_model()
    digest = store.read_manifest(path).sha256()
    other = tmp_path / "other"
    shutil.copytree(store.local(path), other / path)
    receipt = Receipt(verb="train", result=Reference(uri=path, sha256=digest))
    (other / "receipts").mkdir()
    (other / "receipts" / "train.json").write_text(receipt.model_dump_json())

    assert verify(model_ref=str(other / "receipts" / "train.json")).summary["leads"]["24"]["model"]["mean_km"] > 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "saved_model" / "saved_model.pb").unlink(), id="no_saved_model"),
        pytest.param(
            lambda folder: (folder / "saved_model" / "saved_model.pb").write_bytes(b"\x08\x01\x12"), id="truncated"
        ),
        pytest.param(lambda folder: (folder / "model.json").write_text("{}"), id="card_changed"),
    ],
)
def test_a_damaged_model_is_refused(store, verify, add_model, damage):
    path = add_model()
    damage(store.local(path))

    with pytest.raises(ContractError, match="damaged"):
        verify(model_ref=path)

    assert store.list_files("evaluations") == []


@pytest.mark.parametrize(
    "content",
    [pytest.param({}, id="empty_folder"), pytest.param({"saved_model.pb": b"not a graph"}, id="no_graph")],
)
def test_a_folder_that_is_no_model_is_refused(store, verify, tmp_path, content):
    folder = tmp_path / "thing"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)

    with pytest.raises(ContractError):
        verify(model_ref=str(folder))

    assert store.list_files("evaluations") == []


def test_a_model_that_gives_no_position_for_some_cases_has_no_score(store, verify, add_model, monkeypatch):
    """Leaving out the cases that it does not answer would flatter it."""

    def silent_above_20_n(_self):
        def predict(features):
            lat = np.repeat(features["past_lat_deg"][:, -1:], 5, axis=1)
            return {"lat_deg": np.where(lat > 20, np.nan, lat), "lon_deg": lat + 120}

        return predict

    monkeypatch.setattr("eyewall.verification.verified_model.VerifiedModel.load", silent_above_20_n)
    receipt = verify(model_ref=add_model())

    scores = receipt.summary["leads"]["12"]
    silent = cases_of(store, receipt).query("lead_h == 12")["model_km"].isna().sum()
    assert 0 < silent < scores["n"]
    assert scores["model"] == {"mean_km": None, "missing": silent}
    assert "model_minus_cliper" not in scores
    assert scores["cliper"]["mean_km"] > 0
    with pytest.raises(NothingNew, match=f"12 h: the candidate gave no finite position for {silent} cases"):
        run_job(GateJob(store=store.url, evaluation_ref=receipt.result.uri, leads_h=(12,)))


# --- on the command line --------------------------------------------------------------------------------------------


def test_on_the_command_line_the_result_is_one_line_of_json_and_the_table_is_on_stderr(store, toy_tracks):
    job = VerifyJob(
        store=store.url, truth=str(toy_tracks), fit=str(toy_tracks), season_from=2006, season_to=2007, plots=False
    )

    done = subprocess.run(
        [sys.executable, "-m", "eyewall.cli", *job.to_args(), "--json"], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    scores = json.loads(done.stdout)["leads"]["24"]
    assert {"n", "storms", "persistence_6h", "cliper"} <= set(scores)
    assert set(scores["cliper"]) >= {"mean_km", "ci95_km"}
    for text in ("CLIPER", "persistence", "24 h", f"{scores['cliper']['mean_km']:.1f}"):
        assert text in done.stderr


def test_a_store_that_cannot_be_written_is_one_sentence_and_74(toy_tracks, tmp_path):
    blocked = tmp_path / "store"
    blocked.write_text("a file where the store should be")
    job = VerifyJob(store=str(blocked), truth=str(toy_tracks), season_from=2006, season_to=2007, plots=False)

    done = subprocess.run([sys.executable, "-m", "eyewall.cli", *job.to_args()], capture_output=True, text=True)

    assert done.returncode == 74, done.stderr
    assert "Traceback" not in done.stderr
    assert Path(blocked).read_text() == "a file where the store should be"
