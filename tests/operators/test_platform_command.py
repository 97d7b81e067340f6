"""Commands of the platform as tasks: their arguments, the database that they are given, and who must not see it."""

# NOTE: injected by pytest, defined in conftest: program
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from operators.platform_command import PlatformCommand

URL = "postgresql://eyewall:secret-word@db.example/eyewall"


def context(**conf):
    """What a task gets to see of its run."""
    return {"dag_run": SimpleNamespace(conf=conf), "dag": SimpleNamespace(params={}, dag_id="d")}


@pytest.mark.parametrize(
    ("options", "args"),
    [
        pytest.param({"max_hours": 2.5}, ["--max-hours=2.5"], id="value"),
        pytest.param({"json": True, "quiet": False}, ["--json"], id="flag"),
        pytest.param({"data": ["a", "b"], "after": ()}, ["--data=a", "--data=b"], id="list"),
        pytest.param({"name": None, "code": "", "env": "None"}, [], id="empty"),
        pytest.param({"idle_s": 0}, ["--idle-s=0"], id="zero_is_a_value"),
        pytest.param({"name": "--priority=9 ; rm"}, ["--name=--priority=9 ; rm"], id="hostile_value"),
    ],
)
def test_options_become_arguments(options, args):
    assert PlatformCommand(task_id="t", command=("sweep", "run"), options=options).args() == ["sweep", "run", *args]


def test_words_come_after_two_dashes_so_that_none_is_taken_for_an_option():
    task = PlatformCommand(task_id="t", command=("job", "submit"), options={"env": "local"}, words=["--help", "a b", 3])

    assert task.args() == ["job", "submit", "--env=local", "--", "--help", "a b", "3"]


def test_options_and_words_are_templates():
    task = PlatformCommand(task_id="t", command=("x",), options={"name": "{{ run_id }}"}, words=["{{ params.a }}"])

    task.render_template_fields({"run_id": "r1", "params": {"a": "{{ not.again }}"}})

    assert task.args() == ["x", "--name=r1", "--", "{{ not.again }}"]  # a user's text is never a template itself


def test_the_child_has_the_database_and_the_log_has_not(program, monkeypatch, capfd):
    monkeypatch.setenv("EYEWALL_DATABASE_URL", URL)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "another-secret")
    program("""
        import json, os
        url, airflows = os.environ["EYEWALL_DATABASE_URL"], [name for name in os.environ if name.startswith("AIRFLOW")]
        print(json.dumps({"right": url.endswith("@db.example/eyewall"), "airflow": bool(airflows)}))
    """)

    summary = PlatformCommand(task_id="t", command=("sweep", "run")).execute(context())

    assert summary == {"right": True, "airflow": False}
    log = "".join(capfd.readouterr())
    assert "eyewall sweep run" in log
    assert "secret-word" not in log


def test_a_connection_of_airflow_names_the_database_too(program, monkeypatch):
    monkeypatch.delenv("EYEWALL_DATABASE_URL", raising=False)
    monkeypatch.setenv(
        "AIRFLOW_CONN_EYEWALL_DATABASE", "postgres://eyewall:pass%20word@db.example:5433/jobs?sslmode=require"
    )
    program("""
        import json, os
        print(json.dumps({"url": os.environ["EYEWALL_DATABASE_URL"]}))
    """)

    summary = PlatformCommand(task_id="t", command=("sweep", "run")).execute(context())

    assert summary["url"] == "postgresql://eyewall:pass%20word@db.example:5433/jobs?sslmode=require"


def test_no_database_at_all_fails_for_good_and_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.delenv("EYEWALL_DATABASE_URL", raising=False)
    monkeypatch.setenv("EYEWALL_VAR", str(tmp_path))

    with pytest.raises(AirflowFailException, match=r"EYEWALL_DATABASE_URL.*connection eyewall_database"):
        PlatformCommand(task_id="t", command=("sweep", "run")).execute(context())


@pytest.mark.parametrize(
    ("code", "state"),
    [(1, AirflowException), (65, AirflowFailException), (74, AirflowException), (99, AirflowSkipException)],
)
def test_exit_codes_become_states_with_the_commands_own_sentence(program, monkeypatch, code, state):
    monkeypatch.setenv("EYEWALL_DATABASE_URL", URL)
    program(f"print('eyewall: no sweep of that name'); raise SystemExit({code})")

    with pytest.raises(state, match="no sweep of that name") as caught:
        PlatformCommand(task_id="t", command=("sweep", "run")).execute(context())

    assert type(caught.value) is state


def test_a_typing_error_in_the_conf_does_not_pass_for_a_choice(monkeypatch):
    monkeypatch.setenv("EYEWALL_DATABASE_URL", URL)

    with pytest.raises(AirflowFailException, match="unknown conf fields"):
        PlatformCommand(task_id="t", command=("sweep", "run")).execute(context(naem="x"))
