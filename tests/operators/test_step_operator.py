"""The step operator: settings and arguments become a command, an exit code becomes a task state."""

from types import SimpleNamespace
from typing import get_args

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from eyewall.contracts.settings import Settings
from operators import step
from operators.outcome import Outcome
from operators.step import BACKENDS, StepOperator, load_backend, raise_for, receipt_of

SETTINGS = """
store = "{store}"
default_stream = "a"
[streams.a.gate]
min_cases = 7
[streams.b.gate]
min_cases = 9
"""


class FakeBackend:
    """Remembers the job's command line and ends as it is told."""

    def __init__(self, outcome):
        self.outcome, self.args, self.stopped, self.events = outcome, None, False, []

    def run(self, job, context):
        """As a backend's."""
        self.args = job.to_args()
        return self.outcome

    def resume(self, job, context, event):
        """As a backend's."""
        self.events.append(event)
        return self.run(job, context)

    def stop(self):
        """As a backend's."""
        self.stopped = True


@pytest.fixture
def settings_file(tmp_path, monkeypatch):
    for name in ("EYEWALL_STORE", "EYEWALL_BACKEND", "EYEWALL_DEFAULT_STREAM"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "eyewall.toml"
    path.write_text(SETTINGS.format(store=tmp_path / "store"))
    monkeypatch.setenv("EYEWALL_SETTINGS", str(path))
    return path


@pytest.fixture
def backend(monkeypatch):
    fake = FakeBackend(Outcome(0, {"decision": "yes", "reasons": ["a list is not small"], "n": 3}, ""))
    monkeypatch.setattr(step, "load_backend", lambda settings, task: fake)
    return fake


def context(conf=None, map_index=-1):
    return {
        "ti": SimpleNamespace(dag_id="d", run_id="manual__2026-11-21", task_id="gate", map_index=map_index),
        "dag_run": SimpleNamespace(conf=conf),
        "dag": SimpleNamespace(dag_id="d", params={"stream": None, "steps": None}),
    }


def gate(**kwargs):
    return StepOperator(task_id="gate", verb="gate", arguments={"evaluation_ref": "receipts/v.json"}, **kwargs)


def test_it_runs_the_command_line_of_the_job_of_the_default_stream(settings_file, backend, tmp_path):
    gate().execute(context())

    assert backend.args == [
        "gate",
        f"--store={tmp_path / 'store'}",
        "--receipt=receipts/d/manual__2026-11-21/gate.json",
        "--evaluation=receipts/v.json",
        "--min-cases=7",
    ]


def test_after_a_deferral_the_same_job_goes_on_and_its_end_becomes_the_tasks(settings_file, backend):
    assert gate().trigger_reentry(context(), {"status": "done"})["decision"] == "yes"

    assert backend.events == [{"status": "done"}]
    assert backend.args[0] == "gate"
    backend.outcome = Outcome(99, {}, "the answer is no")
    with pytest.raises(AirflowSkipException, match="the answer is no"):
        gate().trigger_reentry(context(), {"status": "done"})


def test_a_named_stream_brings_its_own_settings_and_arguments_beat_them(settings_file, backend):
    task = StepOperator(
        task_id="gate", verb="gate", stream="b", arguments={"evaluation_ref": "e", "close_call_pct": "1.5"}
    )

    task.execute(context())

    assert "--min-cases=9" in backend.args
    assert "--close-call-pct=1.5" in backend.args


@pytest.mark.parametrize("nothing", ["", "None", None], ids=["empty", "a rendered None", "None"])
def test_an_empty_answer_leaves_the_setting_as_it_is(settings_file, backend, nothing):
    task = StepOperator(task_id="gate", verb="gate", arguments={"evaluation_ref": "e", "min_cases": nothing})

    task.execute(context())

    assert "--min-cases=7" in backend.args


def test_xcom_holds_the_receipt_and_the_small_part_of_the_summary(settings_file, backend):
    assert gate().execute(context()) == {
        "receipt": "receipts/d/manual__2026-11-21/gate.json",
        "decision": "yes",
        "n": 3,
    }


def test_mapped_tasks_do_not_share_a_receipt(settings_file, backend):
    assert gate().execute(context(map_index=2))["receipt"] == "receipts/d/manual__2026-11-21/gate__2.json"


def test_unknown_conf_fields_are_refused_before_anything_runs(settings_file, backend):
    with pytest.raises(AirflowFailException, match=r"unknown conf fields \['step'\]: d knows steps, stream"):
        gate().execute(context({"stream": "a", "step": 5}))

    assert backend.args is None


def test_known_conf_fields_and_no_conf_at_all_are_fine(settings_file, backend):
    gate().execute(context({"steps": 5}))
    gate().execute(context(None))

    assert backend.args is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({}, r"--evaluation \(evaluation_ref\) is required", id="a field that is missing"),
        pytest.param({"evaluation_ref": "e", "min_cases": "many"}, "min_cases = 'many'", id="a word for a number"),
        pytest.param({"evaluation_ref": "e", "minimum": "3"}, "minimum = '3'", id="a field that is not there"),
        pytest.param({"evaluation_ref": "e\nrm -rf /"}, "control characters", id="a line break"),
    ],
)
def test_what_the_contract_refuses_fails_for_good_and_runs_nothing(settings_file, backend, arguments, message):
    task = StepOperator(task_id="gate", verb="gate", arguments=arguments)

    with pytest.raises(AirflowFailException, match=message):
        task.execute(context())

    assert backend.args is None


def test_bad_settings_fail_for_good_with_the_file(settings_file, backend):
    settings_file.write_text("stroe = 'x'\n")

    with pytest.raises(AirflowFailException, match=r"eyewall\.toml: stroe"):
        gate().execute(context())


def test_a_kill_reaches_the_backend(settings_file, backend):
    task = gate()
    task.on_kill()  # before the start: nothing to stop
    task.execute(context())

    task.on_kill()

    assert backend.stopped


@pytest.mark.parametrize(
    ("code", "exception", "message"),
    [
        pytest.param(65, AirflowFailException, r"eyewall gate \(exit 65\): bad", id="bad input is final"),
        pytest.param(99, AirflowSkipException, "^bad$", id="nothing to do is a skip"),
        pytest.param(1, AirflowException, r"\(exit 1\): bad", id="a failure is tried again"),
        pytest.param(74, AirflowException, r"\(exit 74\)", id="a store that is away is tried again"),
        pytest.param(-9, AirflowException, r"\(exit -9\)", id="a killed step is tried again"),
    ],
)
def test_exit_codes_become_task_states(code, exception, message):
    with pytest.raises(exception, match=message) as caught:
        raise_for(Outcome(code, {}, "bad"), "gate")

    assert type(caught.value) is exception


def test_a_backend_that_is_not_there_is_refused_with_its_setting(settings_file, monkeypatch):
    monkeypatch.setenv("EYEWALL_BACKEND", "abacus")

    with pytest.raises(AirflowFailException, match="backend = 'abacus'"):
        gate().execute(context())


def test_each_backend_of_the_settings_has_a_class():
    assert set(BACKENDS) == set(get_args(Settings.model_fields["backend"].annotation))
    assert type(load_backend(Settings(), gate())).__name__ == "ProcessBackend"


def test_a_receipt_template_is_evaluated_by_the_macro_of_the_same_name():
    from operators.macros import MACROS

    assert receipt_of("train") == "{{ receipt_path(dag.dag_id, run_id, 'train') }}"
    assert MACROS["receipt_path"]("retrain", "r", "train") == "receipts/retrain/r/train.json"


def test_settings_bring_the_model_server_to_steps_that_talk_to_it():
    settings = Settings.model_validate({"server": "h:1", "streams": {"a": {"publish": {}}}})

    assert settings.job("publish", "a", decision_ref="d").server == "h:1"
    assert settings.job("publish", "a", decision_ref="d", server="other:2").server == "other:2"


def test_verify_and_forecast_ask_for_the_model_that_the_stream_publishes():
    settings = Settings.model_validate(
        {
            "streams": {
                "a": {"publish": {"name": "atlantic"}, "forecast": {"tracks": "t"}},
                "b": {"forecast": {"tracks": "t"}},
            }
        }
    )
    verify = {"truth": "t", "season_from": 2019, "season_to": 2020}

    assert settings.job("publish", "a", decision_ref="d").name == "atlantic"
    assert settings.job("forecast", "a").name == "atlantic"
    assert settings.job("verify", "a", **verify).incumbent_name == "atlantic"
    assert settings.job("verify", "a", **verify, incumbent_name="other").incumbent_name == "other"
    assert settings.job("forecast", "b").name == "track"
