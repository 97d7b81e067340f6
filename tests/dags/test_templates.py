"""Every templated field of every task, rendered, and the job that comes of it."""

# NOTE: injected by pytest, defined in conftest: dags, render, partition
import pytest

from eyewall.contracts.errors import ContractError
from eyewall.contracts.settings import Settings

RUN = "manual__2026-11-21T04_00_00_00_00-"  # as layout.safe_key has it, before its digest
SETTINGS = Settings.model_validate(
    {
        "server": "127.0.0.1:18500",
        "default_stream": "himawari9",
        "streams": {
            "himawari9": {
                "ingest": {"reader": "ahi_hsd", "source": "s3://bucket/AHI"},
                "records": {"tracks": "t.csv", "train_to": 2014, "val_to": 2016, "test_to": 2018},
                "train": {"model": "fusion", "steps": 400},
                "verify": {"truth": "t.csv", "season_from": 2017, "season_to": 2018},
                "forecast": {"tracks": "t.csv"},
            },
            "other": {"ingest": {"reader": "ahi_hrit", "source": "/data"}},
        },
    }
)


def receipt(task_id: str) -> str:
    from eyewall.contracts.layout import receipt_path

    return receipt_path("retrain", "manual__2026-11-21T04:00:00+00:00", task_id)


def test_ingest_reads_the_slots_of_its_partition(render, partition):
    task = render("ingest", "ingest", partition_date=partition)

    assert task.stream == ""
    assert task.arguments == {"slot_from": "2026-09-03T11:00:00+00:00", "slot_to": "2026-09-03T12:00:00+00:00"}


def test_ingest_reads_what_the_form_says_rather_than_its_partition(render, partition):
    conf = {"stream": "other", "slot_from": "2015-08-01", "slot_to": "2015-08-02T06:00Z"}

    task = render("ingest", "ingest", conf, partition_date=partition)

    assert task.stream == "other"
    assert task.arguments == {"slot_from": "2015-08-01", "slot_to": "2015-08-02T06:00Z"}


def test_an_ingest_run_by_hand_without_times_is_refused_rather_than_reading_everything(render):
    task = render("ingest", "ingest")

    assert task.arguments == {"slot_from": "", "slot_to": ""}
    with pytest.raises(ContractError, match="without slot_from and slot_to: give them in the form"):
        task.job(SETTINGS, "receipts/r.json")


def test_half_a_stretch_by_hand_is_refused_too(render):
    """The other half would be the beginning or the end of the archive."""
    with pytest.raises(ContractError, match="without slot_to"):
        render("ingest", "ingest", {"slot_from": "2015-08-01"}).job(SETTINGS, "receipts/r.json")


def test_an_empty_form_leaves_all_of_retrain_to_the_settings(render):
    records = render("retrain", "records").job(SETTINGS, "receipts/r.json")

    assert (records.tracks, records.train_to, records.stream) == ("t.csv", 2014, "himawari9")
    train = render("retrain", "train").job(SETTINGS, "receipts/r.json")
    assert (train.model, train.strategy, train.steps) == ("fusion", "single", 400)
    assert train.records_ref == receipt("records")
    verify = render("retrain", "verify").job(SETTINGS, "receipts/r.json")
    assert (verify.season_from, verify.season_to, verify.incumbent_name) == (2017, 2018, "track")


def test_the_form_of_retrain_reaches_every_step(render):
    conf = {
        "name": "wide", "model": "track", "strategy": "multi_worker", "workers": 2, "ps": 0, "steps": 7, "batch": 8,
        "seed": 3, "train_from": 1990, "train_to": 2000, "val_to": 2001, "test_to": 2003,
    }  # fmt: skip

    records = render("retrain", "records", conf).arguments
    train = render("retrain", "train", conf).job(SETTINGS, "receipts/r.json")
    verify = render("retrain", "verify", conf).arguments

    assert records == {"train_from": "1990", "train_to": "2000", "val_to": "2001", "test_to": "2003"}
    assert (train.model, train.strategy, train.workers, train.steps, train.batch, train.seed) == (
        "track", "multi_worker", 2, 7, 8, 3,
    )  # fmt: skip
    # Verified are the seasons after validation, and CLIPER is fitted on no more than training saw.
    assert (verify["season_from"], verify["season_to"], verify["fit_to"]) == ("2002", "2003", "2000")
    assert verify["incumbent_name"] == "wide"
    assert render("retrain", "publish", conf).arguments["name"] == "wide"


def test_each_step_of_retrain_names_the_result_of_the_one_before_by_its_receipt(render):
    assert render("retrain", "verify").arguments["model_ref"] == receipt("train")
    assert render("retrain", "verify").arguments["records_ref"] == receipt("records")
    assert render("retrain", "gate").arguments == {"evaluation_ref": receipt("verify")}
    publish = render("retrain", "publish")
    assert publish.arguments == {"decision_ref": receipt("gate"), "name": "None", "approved_by": "forecaster"}
    job = publish.job(SETTINGS, "receipts/r.json")
    assert (job.name, job.server) == ("track", "127.0.0.1:18500")


def test_a_retry_trains_under_the_same_name_and_another_run_under_another(render):
    first = render("retrain", "train").arguments["run"]

    assert first.startswith(f"retrain-{RUN}")
    assert render("retrain", "train").arguments["run"] == first
    assert render("retrain", "train", run_id="manual__2026-11-22T04:00:00+00:00").arguments["run"] != first


def test_the_question_of_a_close_call_names_the_run_and_the_receipt(render):
    task = render("retrain", "close_call")

    assert "manual__2026-11-21T04:00:00+00:00" in task.subject
    assert receipt("gate") in task.body


def test_forecast_takes_its_form(render):
    conf = {"base_time": "2026-09-03T06:00Z", "storm": "2026245N15140", "name": "track"}

    assert render("forecast", "forecast", conf).arguments == conf


def test_a_forecast_that_follows_a_partition_is_for_the_end_of_it(render, partition):
    assert render("forecast", "forecast", partition_date=partition).arguments == {
        "base_time": "2026-09-03T12:00:00+00:00",
        "storm": "None",
        "name": "None",
    }


def test_a_forecast_by_hand_without_a_time_is_for_the_newest_frame(render):
    assert render("forecast", "forecast").job(SETTINGS, "receipts/r.json").base_time is None


def test_no_templated_field_of_any_task_is_left_out_here(dags):
    """A new templated field needs a test of its own above."""
    fields = {(dag.dag_id, task.task_id): tuple(task.template_fields) for dag in dags.values() for task in dag.tasks}

    assert fields.pop(("retrain", "close_call")) == ("subject", "body")
    assert fields.pop(("retrain", "train")) == ("stream", "arguments", "search")
    for searching in (("retrain", "search"), ("sweep", "sweep")):
        assert fields.pop(searching) == ("space", "options", "words", "best")
    assert fields.pop(("dispatch", "dispatch")) == ("options", "words")  # and its options are no templates
    assert fields.pop(("job", "job")) == ("submission",)  # None: the form itself, as tests/operators has it
    assert set(fields.values()) == {("stream", "arguments")}


def test_retrain_without_a_space_names_no_search(render):
    assert render("retrain", "search").space == ""


def test_retrain_searches_on_its_own_records_and_leaves_the_best_where_train_looks(render):
    search = render("retrain", "search", {"sweep": "spaces/track.yaml"})

    assert search.space == "spaces/track.yaml"
    assert search.options["set"] == f"records={receipt('records')}"
    assert search.best == receipt("search") == render("retrain", "train").search
    # A retry finds its own search, and another run makes another.
    assert search.options["name"].startswith(f"retrain-{RUN}")
    assert search.options["name"] == render("retrain", "train").arguments["run"]


def test_the_form_of_a_sweep_reaches_its_commands(render):
    conf = {
        "space": "spaces/track.yaml", "name": "rates", "trials": 40, "hours": 1.5, "parallel": 3, "priority": 0,
        "set": ["records=records/ab", "model=track"],
    }  # fmt: skip

    search = render("sweep", "sweep", conf)

    assert search.space == "spaces/track.yaml"
    assert search.options == {
        "name": "rates", "trials": "40", "hours": "1.5", "gpu_hours": "None", "parallel": "3", "priority": "0",
        "set": "records=records/ab\nmodel=track",
    }  # fmt: skip
    assert search.best.startswith(f"receipts/sweep/{RUN}")
    assert search.best.endswith("/sweep.json")
    assert render("sweep", "sweep", {"space": "x.yaml"}).options["name"].startswith(f"sweep-{RUN}")


STUDY = {"images": "packs/cifar10.npz", "client_cpu": 0.25, "requests": 5, "link": "proxy"}


def study_receipt(task_id: str) -> str:
    return receipt(task_id).replace("retrain", "split_study")


def test_the_study_trains_what_the_contract_names_and_bottlenecks_learn_from_the_widest(render):
    wide = render("split_study", "train_channels_32", STUDY).job(SETTINGS, "receipts/r.json")
    squeezed = render("split_study", "train_bottleneck_176", STUDY).job(SETTINGS, "receipts/r.json")

    assert (wide.images, wide.channels, wide.bottleneck, wide.teacher_ref) == ("packs/cifar10.npz", 32, None, None)
    assert (squeezed.bottleneck, squeezed.wire, squeezed.epochs) == (176, "int8", 6)
    assert squeezed.teacher_ref == study_receipt("train_channels_32")
    taught = render("split_study", "train_taught_8", STUDY).job(SETTINGS, "receipts/r.json")
    assert (taught.channels, taught.augment, taught.epochs, taught.teacher_ref) == (8, "flip", 48, squeezed.teacher_ref)
    scored = render("split_study", "score_channels_8", STUDY).job(SETTINGS, "receipts/r.json")
    assert (scored.network_ref, scored.images) == (study_receipt("train_channels_8"), "packs/cifar10.npz")


@pytest.mark.parametrize("name", ["channels_8", "taught_8", "bottleneck_176"])
def test_the_forms_epochs_are_those_of_every_training_of_the_study(render, name):
    assert render("split_study", f"train_{name}", {**STUDY, "epochs": 2}).job(SETTINGS, "receipts/r.json").epochs == 2


def test_the_form_of_the_study_reaches_its_measurements(render):
    for part, batch in (("cifar10", 32), ("caffenet", 1)):
        job = render("split_study", f"measure_{part}", STUDY).job(SETTINGS, "receipts/r.json")
        assert (job.part, job.batch, job.client_cpu, job.requests, job.link) == (part, batch, 0.25, 5, "proxy")
    conf = {**STUDY, "model": "models/a", "records": "records/b"}
    typhoon = render("split_study", "measure_typhoon", conf).job(SETTINGS, "receipts/r.json")
    assert (typhoon.model_ref, typhoon.records_ref) == ("models/a", "records/b")
    privacy = render("split_study", "privacy", STUDY).job(SETTINGS, "receipts/r.json")
    assert privacy.cuts == ("pool1", "pool2", "pool3")


def test_the_third_part_is_skipped_where_the_form_names_no_model(render):
    from airflow.sdk.exceptions import AirflowSkipException

    with pytest.raises(AirflowSkipException, match="the form names no model_ref and no records_ref"):
        render("split_study", "measure_typhoon", STUDY).execute({})


@pytest.mark.parametrize("third", [True, False], ids=["three parts", "two parts"])
def test_the_report_is_of_the_parts_that_were_asked_for(render, third):
    conf = {**STUDY, "model": "models/a", "records": "records/b"} if third else STUDY
    job = render("split_study", "report", conf).job(SETTINGS, "receipts/r.json")

    parts = ("cifar10", "caffenet", "typhoon") if third else ("cifar10", "caffenet")
    assert job.measurement_refs == tuple(study_receipt(f"measure_{part}") for part in parts)
    assert study_receipt("score_channels_1") in job.score_refs
    assert job.score_refs[-1] == study_receipt("privacy")


def test_the_split_study_needs_no_stream(render, dags):
    """An installation whose settings name none: every task of it has its job."""
    conf = {**STUDY, "model": "models/a", "records": "records/b"}
    jobs = [
        render("split_study", task, conf).job(Settings(store="s"), "receipts/r.json")
        for task in dags["split_study"].task_ids
    ]

    assert {job.verb for job in jobs} == {
        "train-network", "score-network", "measure-privacy", "measure-split", "split-study"
    }  # fmt: skip


@pytest.mark.parametrize("verb_task", [("ingest", "ingest"), ("retrain", "records"), ("forecast", "forecast")])
def test_an_unknown_stream_is_refused_with_those_there_are(render, verb_task):
    task = render(*verb_task, {"stream": "nowhere", "slot_from": "2015-08-01", "slot_to": "2015-08-02"})

    with pytest.raises(
        ContractError, match=r"no stream 'nowhere' in the settings: streams are \['himawari9', 'other'\]"
    ):
        task.job(SETTINGS, "receipts/r.json")
