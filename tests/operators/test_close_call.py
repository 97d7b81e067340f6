"""A person is asked only where the gate could not decide."""

from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators import hitl

from operators.approval import CloseCall


@pytest.fixture
def close_call():
    return CloseCall(task_id="close_call", gate_task_id="gate", subject="Publish?", defaults="Reject")


def context(decision):
    return {"ti": SimpleNamespace(xcom_pull=lambda task_ids: {"gate": decision}[task_ids])}


@pytest.mark.parametrize("decision", [{"decision": "yes"}, {}, None], ids=["yes", "nothing said", "no XCom"])
def test_a_clear_decision_goes_straight_on(close_call, decision):
    assert close_call.execute(context(decision)) == {"approved_by": None}


def test_a_close_call_waits_for_an_answer(close_call, monkeypatch):
    asked = []
    monkeypatch.setattr(hitl.ApprovalOperator, "execute", lambda self, context: asked.append(self.subject))

    close_call.execute(context({"decision": "ask"}))

    assert asked == ["Publish?"]


@pytest.mark.parametrize(
    ("user", "name"),
    [
        pytest.param({"id": "7", "name": "forecaster"}, "forecaster", id="by name"),
        pytest.param({"id": "7", "name": ""}, "7", id="by id"),
        pytest.param(None, "unknown", id="nobody known"),
    ],
)
def test_who_answered_is_handed_on_to_publish(close_call, monkeypatch, user, name):
    monkeypatch.setattr(
        hitl.ApprovalOperator, "execute_complete", lambda self, context, event: {"responded_by_user": user}
    )

    assert close_call.execute_complete({}, {}) == {"approved_by": name}
