"""A search as a task: what reaches the command line; and the training that takes what was found."""

# NOTE: injected by pytest, defined in conftest: program
import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException, TaskDeferred

from eyewall.contracts.errors import ContractError
from eyewall.contracts.settings import Settings
from eyewall.storage import Store
from operators.search import Search, TrainOnBest

FOUND = {"learning_rate": 0.004, "batch": 32}


def context(user: str | None = None, try_number: int = 1, cleared_at: int = 0) -> dict:
    return {
        "dag_run": SimpleNamespace(conf={}, triggering_user_name=user, dag_id="s", run_id="r"),
        "dag": SimpleNamespace(params={}, dag_id="s"),
        "ti": SimpleNamespace(try_number=try_number, max_tries=cleared_at + 3),
    }


@pytest.fixture
def commands(program, monkeypatch, tmp_path):
    """`eyewall` notes its arguments, and says of a search the state that is asked for; call: the notes so far."""
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://nobody@/nowhere")
    notes = tmp_path / "notes"

    def said(state: str, code: int = 0):
        program(
            "import json, sys\n"
            f"open({str(notes)!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
            f"print(json.dumps({{'sweep': 'rates', 'id': 7, 'state': {state!r}}}))\n"
            f"print('no trial succeeded', file=sys.stderr); sys.exit({code})"
        )
        return lambda: [json.loads(line) for line in notes.read_text().splitlines()]

    return said


def search() -> Search:
    return Search(
        task_id="search",
        retries=3,
        space="spaces/track.yaml",
        options={"name": "rates", "trials": "None", "set": "records=records/ab\nmodel=track"},
        best="receipts/s/r/search.json",
    )


def test_a_search_is_created_from_the_store_under_the_name_of_who_asked_and_waited_for_without_a_slot(commands):
    """Constants come one a line."""
    notes = commands("running")

    with pytest.raises(TaskDeferred) as deferred:
        search().execute(context("ada"))

    (said,) = notes()
    assert said[:2] == ["sweep", "create"]
    assert said[-2:] == ["--", "spaces/track.yaml"]
    assert set(said[2:-2]) == {
        "--name=rates", "--set=records=records/ab", "--set=model=track", "--in-store", "--json", "--owner=ada",
        "--key=s/r/search",
    }  # fmt: skip
    assert deferred.value.trigger.serialize()[1] == {"number": 7, "name": "rates"}
    assert deferred.value.method_name == "ended"


@pytest.mark.parametrize(
    ("state", "try_number", "cleared_at", "resumed"),
    [
        pytest.param("stopped", 2, 1, True, id="cleared after somebody stopped it"),
        pytest.param("failed", 2, 1, True, id="cleared after it gave up"),
        pytest.param("stopped", 2, 0, False, id="tried again after somebody stopped it"),
        pytest.param("running", 2, 0, False, id="tried again while it goes on"),
        pytest.param("finished", 2, 1, False, id="cleared after its end"),
        pytest.param("stopped", 1, 0, False, id="another run of its name"),
    ],
)
def test_a_task_that_is_cleared_lets_a_search_that_was_stopped_go_on(commands, state, try_number, cleared_at, resumed):
    notes = commands(state)

    with pytest.raises(TaskDeferred):
        search().execute(context("ada", try_number, cleared_at))

    resume = ["sweep", "resume", "--actor=ada", "--key=s/r/search", "--json", "--", "rates"]
    assert notes()[1:] == ([resume] if resumed else [])


def test_after_its_end_what_is_left_is_settled_and_the_best_written_down(commands):
    notes = commands("finished")

    assert search().ended(context(), {"search": "rates", "state": "finished"})["state"] == "finished"
    assert notes() == [["sweep", "run", "--best=receipts/s/r/search.json", "--json", "--", "rates"]]


@pytest.mark.parametrize("code", [pytest.param(1, id="no success"), pytest.param(65, id="it gave up")])
def test_a_search_without_any_success_is_not_tried_again(commands, code):
    commands("stopped", code)

    with pytest.raises(AirflowFailException, match="no trial succeeded"):
        search().ended(context(), {"search": "rates", "state": "stopped"})


def test_a_database_that_is_away_at_the_end_is_tried_again(commands):
    commands("finished", 74)

    with pytest.raises(AirflowException) as caught:
        search().ended(context(), {"search": "rates", "state": "finished"})
    assert type(caught.value) is AirflowException


def test_without_a_space_there_is_no_search_and_the_task_is_skipped():
    with pytest.raises(AirflowSkipException, match="no search was asked for"):
        Search(task_id="search", space="", best="b").execute(context())


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
