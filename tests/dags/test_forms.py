"""What the forms (Params, and so the conf of REST and backfills) take, and what they refuse."""

# NOTE: injected by pytest, defined in conftest: dags
import pytest


def validate(dags, dag_id, conf):
    """As Airflow validates the conf of a run or of a backfill."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(dags[dag_id]))
    return dag.params.deep_merge(conf).validate()


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        pytest.param("ingest", {}, id="an empty form"),
        pytest.param("ingest", {"stream": "himawari9", "slot_from": "2026-09-01", "slot_to": "2026-09-02"}, id="days"),
        pytest.param("ingest", {"slot_from": "2026-09-01T06:00:00+00:00"}, id="a time with its zone"),
        pytest.param("retrain", {"model": "track", "strategy": "single", "steps": 100}, id="a choice"),
        pytest.param("retrain", {"train_from": 1951, "train_to": 2010, "val_to": 2014, "test_to": 2018}, id="seasons"),
        pytest.param("forecast", {"storm": "1951051N04151", "base_time": "1951-02-21 06:00"}, id="a storm"),
        pytest.param("retrain", {"sweep": "spaces/track.yaml"}, id="a search before the training"),
        pytest.param(
            "sweep", {"space": "spaces/track.yaml", "hours": 0.5, "set": ["records=records/ab"]}, id="a search"
        ),
    ],
)
def test_reasonable_answers_are_taken(dags, dag_id, conf):
    assert conf.items() <= validate(dags, dag_id, conf).items()


@pytest.mark.parametrize(
    ("dag_id", "conf"),
    [
        pytest.param("ingest", {"stream": "../../etc/passwd"}, id="a path"),
        pytest.param("ingest", {"stream": "/etc"}, id="an absolute path"),
        pytest.param("ingest", {"stream": "a; rm -rf /"}, id="shell text"),
        pytest.param("ingest", {"stream": "$(id)"}, id="a substitution"),
        pytest.param("ingest", {"stream": "{{ conn.x }}"}, id="a template"),
        pytest.param("ingest", {"stream": ["a"]}, id="a list"),
        pytest.param("ingest", {"stream": "a" * 101}, id="too long"),
        pytest.param("ingest", {"slot_from": "yesterday"}, id="a word for a time"),
        pytest.param("ingest", {"slot_from": "2026-09-01; ls"}, id="a time with a tail"),
        pytest.param("retrain", {"name": "../track"}, id="a path for a model"),
        pytest.param("retrain", {"model": "gpt"}, id="an unknown model"),
        pytest.param("retrain", {"steps": "100"}, id="a text for a number"),
        pytest.param("retrain", {"steps": 0}, id="no steps"),
        pytest.param("retrain", {"workers": 10**6}, id="a million workers"),
        pytest.param("retrain", {"train_to": 20}, id="a year of two digits"),
        pytest.param("forecast", {"storm": "../x"}, id="a path for a storm"),
        pytest.param("forecast", {"base_time": "now"}, id="a clock"),
        pytest.param("sweep", {"trials": 0, "space": "x.yaml"}, id="no trials"),
        pytest.param("sweep", {"priority": 10, "space": "x.yaml"}, id="a priority of ten"),
        pytest.param("sweep", {"name": "../x", "space": "x.yaml"}, id="a path for a search"),
        pytest.param("sweep", {"set": ["a=b\nc=d"], "space": "x.yaml"}, id="two lines in one"),
        pytest.param("sweep", {"space": "x\n--run"}, id="a second line for a space"),
    ],
)
def test_hostile_or_senseless_answers_are_refused(dags, dag_id, conf):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match=f"Invalid input for param {next(iter(conf))}"):
        validate(dags, dag_id, conf)
