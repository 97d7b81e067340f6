"""The REST client, against answers made here."""

import json

import httpx
import pytest

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.platform import rest
from eyewall.platform.rest import Airflow


@pytest.fixture
def airflow(monkeypatch):
    """A client, and the list of (method, path, body) it has sent; answers are put into ``answers``."""
    sent, answers = [], []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        sent.append((request.method, request.url.path, body))
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": f"t{len(sent)}"})
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    client = Airflow("http://airflow", "admin", "secret")
    client._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(rest.time, "sleep", lambda seconds: None)
    return client, sent, answers


def test_it_logs_in_once_and_keeps_the_token(airflow):
    client, sent, answers = airflow
    answers += [httpx.Response(200, json={"a": 1}), httpx.Response(200, json={"a": 2})]

    assert [client.call("GET", "/x"), client.call("GET", "/x")] == [{"a": 1}, {"a": 2}]
    assert [path for _, path, _ in sent] == ["/auth/token", "/api/v2/x", "/api/v2/x"]


def test_a_token_that_has_run_out_is_renewed(airflow):
    client, sent, answers = airflow
    answers += [httpx.Response(200, json=1), httpx.Response(401), httpx.Response(200, json=2)]

    assert [client.call("GET", "/x"), client.call("GET", "/x")] == [1, 2]
    assert [path for _, path, _ in sent].count("/auth/token") == 2


def test_a_wrong_password_is_told_without_the_password(airflow):
    client, _, _ = airflow
    client._http = httpx.Client(
        base_url="http://airflow",
        transport=httpx.MockTransport(lambda request: httpx.Response(401, json={"detail": "Invalid credentials"})),
    )

    with pytest.raises(EyewallError, match=r"refuses user 'admin' \(401\): Invalid credentials") as caught:
        client.call("GET", "/x")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        pytest.param(409, {"detail": "one is running"}, InputError, "409 .*one is running", id="conflict"),
        pytest.param(
            422, {"detail": [{"loc": ["body", "to_date"], "msg": "bad date"}]}, InputError, "body.to_date: bad date",
            id="a list of problems",
        ),
        pytest.param(500, {"detail": "oops\n  twice"}, EyewallError, "500 .*oops twice", id="its own failure"),
    ],
)  # fmt: skip
def test_a_refusal_is_an_error_with_airflows_own_words(airflow, status, body, kind, message):
    client, _, answers = airflow
    answers.append(httpx.Response(status, json=body))

    with pytest.raises(EyewallError, match=message) as caught:
        client.call("POST", "/backfills", {})

    assert type(caught.value) is kind


def test_a_busy_server_and_a_broken_connection_are_tried_again_for_reading(airflow):
    client, _, answers = airflow
    answers += [httpx.Response(503), httpx.ConnectError("gone"), httpx.Response(200, json=3)]

    assert client.call("GET", "/x") == 3


def test_a_change_that_the_database_ended_is_asked_for_again_and_a_new_run_is_not(airflow):
    """Airflow answers 500 to the one of two transactions that its database ends in a deadlock."""
    client, sent, answers = airflow
    answers += [httpx.Response(500, json={"detail": {"reason": "Database error"}}), httpx.Response(200, json={})]
    client.unpause("ingest")
    answers.append(httpx.Response(500, json={"detail": {"reason": "Database error"}}))

    with pytest.raises(EyewallError, match=r"500 to POST .*Database error"):
        client.trigger("retrain", {})

    assert [method for method, path, _ in sent if "/dags/" in path] == ["PATCH", "PATCH", "POST"]


def test_a_broken_connection_is_not_tried_again_for_writing(airflow):
    """The run may have been made before the connection broke."""
    client, sent, answers = airflow
    answers.append(httpx.ReadError("gone"))

    with pytest.raises(EyewallError, match=r"does not answer POST .*gone"):
        client.trigger("retrain", {})

    assert len(sent) == 2


def test_bodies_are_as_airflow_wants_them(airflow):
    client, sent, answers = airflow
    answers += [
        httpx.Response(200, json={"id": 4}),
        httpx.Response(200, json={"dag_run_id": "manual__1"}),
        httpx.Response(200, json={}),
    ]

    backfill = client.backfill("ingest", "2026-09-01T00:00:00Z", "2026-09-03T00:00:00Z")
    run = client.trigger("retrain", {"steps": 5})
    client.unpause("ingest")

    assert (backfill, run) == (4, "manual__1")
    assert sent[1:] == [
        (
            "POST",
            "/api/v2/backfills",
            {
                "dag_id": "ingest",
                "from_date": "2026-09-01T00:00:00Z",
                "to_date": "2026-09-03T00:00:00Z",
                "max_active_runs": 4,
            },
        ),
        ("POST", "/api/v2/dags/retrain/dagRuns", {"logical_date": None, "conf": {"steps": 5}}),
        ("PATCH", "/api/v2/dags/ingest", {"is_paused": False}),
    ]


def test_all_pages_of_runs_are_read(airflow):
    client, _, answers = airflow
    answers += [
        httpx.Response(200, json={"dag_runs": [{"n": n} for n in range(100)], "total_entries": 101}),
        httpx.Response(200, json={"dag_runs": [{"n": 100}], "total_entries": 101}),
    ]

    assert [run["n"] for run in client.runs("ingest")] == list(range(101))


def test_a_log_is_its_messages_and_what_went_wrong(airflow):
    client, _, answers = airflow
    error = {"exc_type": "AirflowFailException", "exc_value": "unknown conf fields ['step']", "frames": []}
    content = [{"event": "start"}, {"event": "Task failed with exception", "error_detail": [error]}, "plain"]
    answers.append(httpx.Response(200, json={"content": content}))

    assert client.log("retrain", "r", "records") == [
        "start", "Task failed with exception", "AirflowFailException: unknown conf fields ['step']", "plain",
    ]  # fmt: skip


def test_a_backfill_is_closed_once_and_a_race_with_airflow_itself_is_no_error(airflow):
    client, sent, answers = airflow
    answers += [httpx.Response(200, json={"completed_at": "2026-11-21T00:00:00Z"})]
    client.close_backfill(3)
    answers += [httpx.Response(200, json={"completed_at": None}), httpx.Response(409, json={"detail": "completed"})]
    client.close_backfill(4)

    assert [path for method, path, _ in sent if method == "PUT"] == ["/api/v2/backfills/4/cancel"]


def test_a_dag_file_that_cannot_be_imported_is_an_error_and_not_a_long_wait(airflow):
    client, _, answers = airflow
    answers += [
        httpx.Response(200, json={"dags": []}),
        httpx.Response(
            200, json={"import_errors": [{"filename": "ingest.py", "stack_trace": "No module named 'x'\n"}]}
        ),
    ]

    with pytest.raises(EyewallError, match=r"cannot import ingest\.py: No module named 'x'"):
        client.knows("ingest")


def test_nobody_there_is_no_health_and_no_error():
    with Airflow("http://127.0.0.1:9", "admin", "x") as client:
        assert client.health() == {}


def test_a_pool_is_made_where_it_is_missing_and_made_as_large_as_wanted_where_it_is_not(airflow):
    client, sent, answers = airflow
    none, one = ({"pools": pools} for pools in ([], [{"name": "jobs", "slots": 128}]))
    for found in (none, one):
        answers += [httpx.Response(200, json=found), httpx.Response(200, json={})]
        client.pool("jobs", 8, "the queue's")

    calls = [(method, path, body) for method, path, body in sent if method in ("POST", "PATCH") and "auth" not in path]
    assert [(method, path, body["slots"]) for method, path, body in calls] == [
        ("POST", "/api/v2/pools", 8),
        ("PATCH", "/api/v2/pools/jobs", 8),
    ]
