"""A search as a task: what reaches the command line; and the training that takes what was found."""

# NOTE: injected by pytest, defined in conftest: program
import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from eyewall.contracts.errors import ContractError
from eyewall.contracts.settings import Settings
from eyewall.storage import Store
from operators.search import Search, TrainOnBest

FOUND = {"learning_rate": 0.004, "batch": 32}


def context(user: str | None = None) -> dict:
    return {
        "dag_run": SimpleNamespace(conf={}, triggering_user_name=user),
        "dag": SimpleNamespace(params={}, dag_id="s"),
    }


def test_a_search_is_created_from_the_store_under_the_name_of_who_asked(program, monkeypatch):
    """The command prints its arguments as its summary; constants come one a line."""
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://nobody@/nowhere")
    program("import json, sys; print(json.dumps({'args': ' '.join(sys.argv[1:])}))")
    task = Search(
        task_id="search",
        space="spaces/track.yaml",
        options={"name": "rates", "trials": "None", "set": "records=records/ab\nmodel=track", "run": True},
    )

    said = task.execute(context("ada"))["args"].split(" ")

    assert said[:2] == ["sweep", "create"]
    assert said[-2:] == ["--", "spaces/track.yaml"]
    assert set(said[2:-2]) == {
        "--name=rates", "--set=records=records/ab", "--set=model=track", "--run", "--in-store", "--json", "--owner=ada",
    }  # fmt: skip


def test_without_a_space_there_is_no_search_and_the_task_is_skipped():
    with pytest.raises(AirflowSkipException, match="no search was asked for"):
        Search(task_id="search", space="").execute(context())


def train_job(store_url: str, search: str = "receipts/r/1/search.json"):
    task = TrainOnBest(
        task_id="train",
        search=search,
        verb="train",
        arguments={"records_ref": "records/ab", "run": "r", "learning_rate": "0.1", "steps": "70", "batch": "None"},
    )
    settings = Settings.model_validate({"store": store_url, "streams": {"demo": {"train": {"batch": 128, "seed": 3}}}})
    return task.job(settings, "receipts/r/1/train.json")


def write_best(store_url: str, params: dict) -> None:
    said = {"sweep": "rates", "trial": 4, "job": 9, "metric": "val_score", "value": 0.9, "params": params}
    Store(store_url).write_json("receipts/r/1/search.json", {"verb": "sweep", "summary": said})


def test_training_takes_what_the_search_found_before_the_form_and_the_settings(store_url):
    write_best(store_url, FOUND)

    job = train_job(store_url)

    assert (job.learning_rate, job.batch) == (0.004, 32)  # searched
    assert (job.steps, job.seed) == (70, 3)  # the form's and the stream's


def test_training_without_a_search_is_as_the_form_and_the_settings_say(store_url):
    job = train_job(store_url)

    assert (job.learning_rate, job.batch, job.steps) == (0.1, 128, 70)


def test_a_search_of_what_is_no_argument_of_the_training_is_refused_by_name(store_url):
    write_best(store_url, {**FOUND, "lr": 0.1})

    with pytest.raises(ContractError, match=r"search 'rates' was of \['lr'\], which eyewall train does not take"):
        train_job(store_url)


def test_the_best_that_a_search_writes_is_what_training_reads(store_url):
    """One format, written by `eyewall sweep run --best` and read here."""
    from eyewall.tuning.results import Results, Spent, Trial, receipt

    best = Trial(4, 9, "succeeded", "", FOUND, 0.9, 900, 0.9)
    sweep = SimpleNamespace(name="rates", spec={"objective": {"metric": "val_score"}})
    written = receipt(Results(sweep, Spent(1, 1), [best], {})).model_dump(mode="json")
    Store(store_url).write_json("receipts/r/1/search.json", json.loads(json.dumps(written)))

    assert train_job(store_url).batch == 32
