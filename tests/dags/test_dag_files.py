"""DAG files: cheap to import, documented, short, and of the shape that people rely on."""

# NOTE: injected by pytest, defined in conftest: dags
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from airflow_home import ROOT

from eyewall.contracts.split_study import NETWORKS, TAUGHT

FILES = sorted((ROOT / "dags").glob("*.py"))
#: Task → tasks right after it.
STRUCTURE = {
    "ingest": {"ingest": set()},
    "retrain": {
        "records": {"search", "train"},
        "search": {"train"},
        "train": {"verify"},
        "verify": {"gate"},
        "gate": {"close_call"},
        "close_call": {"publish"},
        "publish": set(),
    },
    "forecast": {"forecast": set()},
    "dispatch": {"dispatch": set()},
    "job": {"job": set()},
    "sweep": {"sweep": set()},
    "split_study": {
        **{f"train_{name}": {f"score_{name}"} for name in NETWORKS},
        "train_channels_32": {"score_channels_32", "privacy", *(f"train_{name}" for name in TAUGHT)},
        **{f"score_{name}": {"measure_cifar10"} for name in NETWORKS},
        "privacy": {"measure_cifar10"},
        "measure_cifar10": {"measure_caffenet"},
        "measure_caffenet": {"measure_typhoon", "report"},
        "measure_typhoon": {"report"},
        "report": set(),
    },
}
HEAVY = ("tensorflow", "tf_keras", "keras", "satpy", "pyresample", "xarray", "pandas", "numpy", "h5py", "matplotlib")


def test_every_dag_has_exactly_these_tasks_and_edges(dags):
    found = {
        dag_id: {task.task_id: set(task.downstream_task_ids) for task in dag.tasks} for dag_id, dag in dags.items()
    }

    assert found == STRUCTURE


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_importing_a_dag_file_pulls_in_nothing_heavy_and_no_room_but_contracts(file):
    """In a fresh interpreter, so that nothing another test has imported can hide it."""
    code = (
        "import sys, runpy\n"
        f"runpy.run_path({str(file)!r})\n"
        "rooms = {m.split('.')[1] for m in sys.modules if m.startswith('eyewall.')}\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), sorted(rooms))\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    outcome = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )

    assert outcome.stdout.splitlines()[-1] == "[] ['contracts']"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_a_dag_file_is_about_110_lines_at_most_and_named_after_its_dag(file, dags):
    assert len(file.read_text().splitlines()) <= 125
    assert file.stem in dags


def test_every_dag_shows_its_docstring_is_tagged_and_never_catches_up_by_itself(dags):
    for dag_id, dag in dags.items():
        assert dag.doc_md, f"{dag_id} has no docstring: it is what people read in the UI"
        assert dag.doc_md.lstrip().startswith("###"), dag_id
        assert dag.tags, dag_id
        assert dag.catchup is False, f"{dag_id} would run for all the past when it is switched on"


def test_every_step_is_tried_again_after_a_pause(dags):
    """Ingest for an hour in all, since a slot's files may still arrive; the others twice or three times."""
    expected = {"ingest": (6, 60.0), "dispatch": (2, 10.0), "job": (3, 30.0)}
    for dag in dags.values():
        for task in dag.tasks:
            tries = (task.retries, task.retry_delay.total_seconds())
            assert tries == expected.get(dag.dag_id, (2, 30.0)), f"{dag.dag_id}.{task.task_id}"


def test_every_dag_survives_serialisation_and_keeps_its_timetable(dags):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(again.task_dict) == set(dag.task_dict)
        assert type(again.timetable).__name__ == type(dag.timetable).__name__


def test_a_retrain_unpaused_at_night_trains_nothing_before_the_next_midnight(dags, monkeypatch):
    """Airflow's own "@daily" would until 02:24, and who unpaused it to start a run by hand would wait for that one."""
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables import trigger
    from airflow.timetables.base import TimeRestriction

    timetable = DagSerialization.from_dict(DagSerialization.to_dict(dags["retrain"])).timetable
    monkeypatch.setattr(trigger, "utcnow", lambda: datetime(2026, 11, 22, 0, 30, tzinfo=UTC))

    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )

    assert first.run_after == datetime(2026, 11, 23, tzinfo=UTC)


def test_forecast_follows_the_frames_that_ingest_announces(dags):
    announced = dags["ingest"].get_task("ingest").outlets

    assert [asset.uri for asset in announced] == ["eyewall://store/frames"]
    assert dags["forecast"].timetable.asset_condition == announced[0]


def test_reading_the_dags_twice_gives_the_same_serialised_form(dags):
    """No clock, no randomness: else every parse would make a new DAG version."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.serialization.serialized_objects import DagSerialization

    again = DagBag(ROOT / "dags").dags

    for dag_id, dag in dags.items():
        first, second = (SerializedDagModel.hash(DagSerialization.to_dict(each)) for each in (dag, again[dag_id]))
        assert first == second


def test_a_retrain_trains_without_a_search_but_never_without_records(dags):
    """A search that nobody asked for is skipped; so is one whose records were, and then nothing has succeeded."""
    train = dags["retrain"].get_task("train")

    assert train.trigger_rule == "none_failed_min_one_success"
    assert train.upstream_task_ids == {"records", "search"}
    assert dags["retrain"].get_task("search").trigger_rule == "all_success"
