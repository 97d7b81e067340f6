"""The page "Jobs": who may ask and act, what is answered from real rows, and that no text becomes markup."""

# NOTE: injected by pytest, defined in conftest: url, connection
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jobs_rows
import psycopg
import pytest
from airflow._shared.plugins_manager import _load_plugins_from_plugin_directory
from airflow.api_fastapi.app import create_auth_manager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.connection import Connection as AirflowConnection
from airflow.models.dag import DagModel
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.exceptions import AirflowNotFoundException
from fastapi.testclient import TestClient
from jobs_api import app, database, guard, log_tail
from jobs_api.app import FILES, create_app
from jobs_api.database import DatabaseAway, Reader, Shared
from jobs_page import JobsPagePlugin, Later

from eyewall.db.connect import Connection
from eyewall.jobs import queue
from eyewall.platform import postgres

MEANT = {guard.HEADER: "1"}
HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\x1b[31m&amp;"


@pytest.fixture(autouse=True)
def permissions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own manager of permissions decides; only a DAG's team, which is in its database, is left out."""
    create_auth_manager()
    monkeypatch.setattr(DagModel, "get_team_name", lambda *_, **__: None)


def client_of(role: str | None, name: str | None = None) -> TestClient:
    """A browser signed in as a user of this role; None: not signed in."""
    page = create_app()
    if role is not None:
        page.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=name or f"{role}-1", role=role)
    return TestClient(page, raise_server_exceptions=False)


@pytest.fixture
def viewer(url: str) -> TestClient:
    return client_of("viewer")


@pytest.fixture
def user(url: str) -> TestClient:
    return client_of("user")


@pytest.fixture
def operator(url: str) -> TestClient:
    return client_of("op")


def state_of(connection: Connection, job: int) -> tuple[str, int]:
    row = connection.execute("SELECT state, priority FROM job WHERE id = %s", (job,)).fetchone()
    assert row is not None
    return row[0], row[1]


# Who may ask


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/static/app.js", "/static/style.css", "/api/me", "/api/now", "/api/queue", "/api/history"),
        *("/api/jobs/1", "/api/jobs/1/log/1", "/api/sweeps", "/api/sweeps/1"),
    ],
)
def test_nothing_is_answered_to_who_is_not_signed_in(url, path):
    answer = client_of(None).get(path, headers={"Accept": "application/json"})

    assert (answer.status_code, answer.json()) == (401, {"detail": "Not authenticated"})


@pytest.mark.parametrize("action", ["cancel", "requeue", "priority"])
def test_nothing_is_done_for_who_is_not_signed_in(connection, action):
    job = jobs_rows.submit(connection, "a", "tracks")

    answer = client_of(None).post(f"/api/jobs/{job}/{action}", json={"priority": 9}, headers=MEANT)

    assert (answer.status_code, state_of(connection, job)) == (401, ("queued", 5))


def test_a_person_who_is_not_signed_in_is_shown_the_way(url):
    answer = client_of(None).get("/", headers={"Accept": "text/html,*/*"})

    assert answer.status_code == 401
    assert re.search(r'<a href="[^"]*/auth/login\?next=http[^"<>]*">Sign in</a>', answer.text)


def test_there_is_no_description_of_the_api_for_strangers(url):
    stranger = client_of(None)

    assert [stranger.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


def test_a_user_without_a_role_may_not_even_look(url):
    page = create_app()
    page.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="nobody", role=None)

    assert TestClient(page).get("/api/now").status_code == 403


# Who may act


@pytest.mark.parametrize("action", ["cancel", "requeue", "priority"])
def test_a_viewer_looks_but_does_not_act(connection, viewer, action):
    job = jobs_rows.submit(connection, "a", "tracks")

    answer = viewer.post(f"/api/jobs/{job}/{action}", json={"priority": 9}, headers=MEANT)

    assert viewer.get("/api/me").json() == {
        "name": "viewer-1", "owner": "viewer-1", "may_act": False, "acts_on_all": False
    }  # fmt: skip
    assert viewer.get("/api/queue").json()["jobs"][0]["name"] == "a"
    assert (answer.status_code, state_of(connection, job)) == (403, ("queued", 5))
    assert answer.json()["detail"].startswith("You may look, but not act")


@pytest.mark.parametrize(
    ("action", "body"), [("cancel", {}), ("requeue", {}), ("priority", {"priority": 9})], ids=lambda value: str(value)
)
def test_a_user_acts_on_his_own_jobs_and_an_operator_on_everybodys(connection, user, operator, action, body):
    job = jobs_rows.submit(connection, "a", "grace")
    if action == "requeue":
        queue.cancel(connection, job, "grace")
    before = state_of(connection, job)

    refused = user.post(f"/api/jobs/{job}/{action}", json=body, headers=MEANT)
    unchanged = state_of(connection, job)
    done = operator.post(f"/api/jobs/{job}/{action}", json=body, headers=MEANT)

    assert (refused.status_code, unchanged) == (403, before)
    assert refused.json()["detail"].startswith(f"Job {job} is grace's, and you may act on your own")
    assert (done.status_code, operator.get("/api/me").json()["acts_on_all"]) == (200, True)
    assert state_of(connection, job) != before


def test_the_owner_of_a_users_jobs_is_the_same_from_the_form_and_on_the_page(connection, url):
    """A name that no job can have becomes another one in the DAG `job`; it is his here too."""
    from operators.job import owner

    ada = client_of("user", "ada@example.org")
    job = jobs_rows.submit(connection, "a", owner("ada@example.org"))

    assert ada.post(f"/api/jobs/{job}/cancel", json={}, headers=MEANT).status_code == 200
    assert ada.get("/api/me").json()["owner"] == owner("ada@example.org") != "ada@example.org"


def test_a_user_acts_and_the_record_says_who(connection, user):
    job = jobs_rows.submit(connection, "a", "user-1")

    done = [
        user.post(f"/api/jobs/{job}/priority", json={"priority": 8}, headers=MEANT),
        user.post(f"/api/jobs/{job}/cancel", json={}, headers=MEANT),
        user.post(f"/api/jobs/{job}/requeue", json={}, headers=MEANT),
    ]

    assert user.get("/api/me").json() == {
        "name": "user-1", "owner": "user-1", "may_act": True, "acts_on_all": False
    }  # fmt: skip
    assert [answer.json()["done"] for answer in done] == [
        f"Job {job} has priority 8 now.",
        f"Job {job} is cancelled.",
        f"Job {job} is in the queue again.",
    ]
    assert state_of(connection, job) == ("queued", 8)
    events = user.get(f"/api/jobs/{job}").json()["events"]
    assert [(e["what"], e["to_state"], e["actor"]) for e in events] == [
        ("job", "queued", "user-1"),
        ("job", "cancelled", "user-1"),
        ("job.priority", "8", "user-1"),
        ("job", "queued", "user-1"),
    ]


def test_what_cannot_be_done_is_refused_in_the_queues_own_sentence(connection, user):
    job = jobs_rows.submit(connection, "a", "user-1")

    waits = user.post(f"/api/jobs/{job}/requeue", json={}, headers=MEANT)
    unknown = user.post("/api/jobs/999/cancel", json={}, headers=MEANT)

    assert (waits.status_code, unknown.status_code) == (409, 409)
    assert "only a job that has ended" in waits.json()["detail"]
    assert "no job 999" in unknown.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [{"priority": 10}, {"priority": -1}, {"priority": "5"}, {"priority": True}, {"priority": 5, "x": 1}, {}, [5]],
)
def test_a_priority_is_a_whole_number_from_0_to_9(connection, user, body):
    job = jobs_rows.submit(connection, "a", "tracks")

    assert user.post(f"/api/jobs/{job}/priority", json=body, headers=MEANT).status_code == 422
    assert state_of(connection, job) == ("queued", 5)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content-Type": "application/json"}, 403, id="without the page's header, as a form sends it"),
        pytest.param({**MEANT, "Content-Type": "text/plain"}, 415, id="JSON disguised as a form's text"),
        pytest.param(
            {**MEANT, "Content-Type": "application/json", "Origin": "https://elsewhere.example"},
            403,
            id="from another origin",
        ),
        pytest.param(
            {**MEANT, "Content-Type": "application/json", "Origin": "null"}, 403, id="from a page without an origin"
        ),
        pytest.param(
            {**MEANT, "Content-Type": "application/json", "Sec-Fetch-Site": "same-site"},
            403,
            id="from a sibling of the site",
        ),
        pytest.param(
            {**MEANT, "Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403, id="from another site"
        ),
        pytest.param(
            {
                **MEANT,
                "Content-Type": "application/json; charset=utf-8",
                "Origin": "http://testserver",
                "Sec-Fetch-Site": "same-origin",
            },
            200,
            id="from the page itself",
        ),
    ],
)
def test_an_action_that_the_page_did_not_send_is_refused(connection, user, headers, status):
    job = jobs_rows.submit(connection, "a", "user-1")

    answer = user.post(f"/api/jobs/{job}/cancel", content=b"{}", headers=headers)

    assert (answer.status_code, state_of(connection, job)[0]) == (status, "cancelled" if status == 200 else "queued")


def test_another_origin_is_not_told_that_it_may_send_the_header(user):
    answer = user.options(
        "/api/jobs/1/cancel",
        headers={"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"},
    )

    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


# What is answered


def test_a_day_is_shown_as_it_was(connection, viewer, store_url):
    jobs_rows.a_day(connection, Path(store_url))

    now = viewer.get("/api/now").json()
    queued = viewer.get("/api/queue").json()

    assert now["counts"] == {
        "running": 5,
        "queued": 9,
        "blocked": 1,
        "succeeded_1d": 18,
        "failed_1d": 3,
        "gpus": 6,
        "busy": 6,
        "dispatchers": 1,
    }
    assert [(job["name"], job["worker"], job["gpu_numbers"]) for job in now["running"][:2]] == [
        ("track-lstm-season", "gpu-1", [2, 3]),
        ("track-lstm-width-45", "gpu-2", [1]),
    ]
    deep = next(job for job in now["running"] if job["name"] == "intensity-cnn-deep")
    assert set(deep["curves"]) == {"loss", "error_24h_km"}
    assert deep["curves"]["loss"][-1] == [42, pytest.approx(0.2, abs=0.05)]
    why = {job["name"]: job["why"] for job in queued["jobs"]}
    assert why["intensity-ensemble"] == "no worker has 4 h100 GPUs free on one host"
    assert why["track-baseline-v100"] == "worker gpu-3 is unreachable"
    assert why["intensity-ensemble-verify"].startswith("after job ")
    assert [job["place"] for job in queued["jobs"]] == [*range(1, 10), None]
    foreign = next(gpu for gpu in now["gpus"] if gpu["state"] == "foreign")
    assert (foreign["worker"], foreign["number"], foreign["reason"]) == (
        "gpu-2",
        2,
        "process 4127 (python3) is not ours",
    )


def test_a_search_is_shown_with_its_trials_and_without_its_jobs_secrets(connection, viewer, store_url):
    jobs_rows.a_day(connection, Path(store_url))

    found = viewer.get("/api/sweeps/1")
    best = viewer.get("/api/sweeps").json()["sweeps"][0]["best"]

    answer = found.json()
    values = [trial["value"] for trial in answer["trials"] if trial["value"] is not None]
    assert (len(answer["trials"]), best) == (46, min(values))
    assert answer["sweep"]["metric"] == "error_24h_km"
    assert set(answer["curves"]) == {str(number) for number in range(46)}
    assert "a-secret-of-somebody" not in found.text


def test_of_a_jobs_variables_the_names_alone_are_shown(connection, viewer):
    job = jobs_rows.submit(connection, "a", "tracks", variables={"API_TOKEN": "hunter2"})

    answer = viewer.get(f"/api/jobs/{job}")

    assert answer.json()["job"]["variables"] == ["API_TOKEN"]
    assert "hunter2" not in answer.text


def test_no_answer_holds_more_points_than_a_curve_needs_and_both_ends_are_there(connection, viewer):
    jobs_rows.hosts(connection)
    jobs_rows.submit(connection, "a", "tracks")
    attempt = jobs_rows.start(connection, jobs_rows.dispatcher(connection), 60)
    jobs_rows.report(connection, attempt, "loss", [1 / step for step in range(1, 1001)])

    points = viewer.get("/api/now").json()["running"][0]["curves"]["loss"]

    assert (points[0], points[-1]) == ([1, 1.0], [1000, 0.001])
    assert len(points) == 40
    assert max(later[0] - before[0] for before, later in pairwise(points)) == 26  # 999 / 39 = 25.6


def test_steps_may_be_as_far_apart_as_numbers_go_and_metrics_as_many(connection, viewer):
    jobs_rows.hosts(connection)
    job = jobs_rows.submit(connection, "a", "tracks")
    attempt = jobs_rows.start(connection, jobs_rows.dispatcher(connection), 60)
    connection.execute(
        "INSERT INTO report (attempt, metric, step, value) SELECT %s, 'm' || lpad(n::text, 3, '0'), s, 0.5"
        " FROM generate_series(1, 200) n, unnest(ARRAY[-9223372036854775808, 0, 9223372036854775807]) s",
        (attempt,),
    )

    curves = viewer.get(f"/api/jobs/{job}").json()["attempts"][0]["curves"]

    assert list(curves) == [f"m{number:03}" for number in range(1, 13)]
    assert curves["m001"] == [[-(2**63), 0.5], [0, 0.5], [2**63 - 1, 0.5]]


def test_a_value_that_is_no_number_is_a_gap(connection, viewer):
    jobs_rows.hosts(connection)
    jobs_rows.submit(connection, "a", "tracks")
    attempt = jobs_rows.start(connection, jobs_rows.dispatcher(connection), 60)
    jobs_rows.report(connection, attempt, "loss", [0.5, float("nan"), float("inf"), float("-inf"), 0.25])

    points = viewer.get("/api/now").json()["running"][0]["curves"]["loss"]

    assert points == [[1, 0.5], [2, None], [3, None], [4, None], [5, 0.25]]


def test_pages_of_the_queue_hold_every_job_once(connection, viewer):
    jobs = {jobs_rows.submit(connection, f"j{number}", "tracks") for number in range(120)}

    pages = [viewer.get(f"/api/queue?offset={offset}").json() for offset in (0, 50, 100)]

    assert [(len(page["jobs"]), page["more"]) for page in pages] == [(50, True), (50, True), (20, False)]
    assert {job["id"] for page in pages for job in page["jobs"]} == jobs


def test_pages_of_the_history_hold_every_job_once_also_where_many_ended_in_one_moment(connection, viewer):
    jobs = {jobs_rows.submit(connection, f"j{number}", "tracks") for number in range(120)}
    connection.execute("UPDATE job SET state = 'cancelled', ended_at = '2026-08-01 00:00:00.123456+00'")

    seen: list[int] = []
    page = viewer.get("/api/history").json()
    while True:
        seen += [job["id"] for job in page["jobs"]]
        if not page["more"]:
            break
        last = page["jobs"][-1]
        page = viewer.get("/api/history", params={"before_at": last["ended_at"], "before_id": last["id"]}).json()

    assert (len(seen), set(seen)) == (120, jobs)
    assert seen == sorted(seen, reverse=True)


def test_the_history_is_filtered_by_state_and_words_and_percent_signs_are_words(connection, viewer):
    for name, state in (("alpha", "failed"), ("beta", "succeeded"), ("alphabet", "succeeded")):
        job = jobs_rows.submit(connection, name, "tracks", command=["echo", "100%", name])
        connection.execute("UPDATE job SET state = %s, ended_at = clock_timestamp() WHERE id = %s", (state, job))

    def names(**query: str) -> list[str]:
        return [job["name"] for job in viewer.get("/api/history", params=query).json()["jobs"]]

    assert names(state="succeeded") == ["alphabet", "beta"]
    assert names(text="ALPHA") == ["alphabet", "alpha"]
    assert names(text="0% b") == ["beta"]
    assert names(text="a%t") == []
    assert names(text="'; DROP TABLE job; --\x00") == []
    assert viewer.get("/api/history", params={"state": "running"}).status_code == 422


@pytest.mark.parametrize(
    "path", ["/api/jobs/7", "/api/sweeps/7", "/api/jobs/7/log/1", "/static/../jobs_api/app.py", "/static/index.html"]
)
def test_what_is_not_there_is_404(connection, viewer, path):
    assert viewer.get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/api/jobs/0", "/api/jobs/x", f"/api/jobs/{2**63}", "/api/queue?offset=-1", "/api/jobs/1/log/0"]
)
def test_what_cannot_be_is_refused_without_asking_the_database(connection, viewer, path):
    assert viewer.get(path).status_code == 422


def test_an_answer_that_has_not_changed_is_not_sent_again(connection, viewer):
    jobs_rows.submit(connection, "a", "tracks")

    first = viewer.get("/api/queue")
    again = viewer.get("/api/queue", headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["x-eyewall-now"].endswith("Z")


# Hostile text


def test_hostile_text_stays_text(connection, viewer):
    job = jobs_rows.submit(connection, "a", "tracks", command=["python", "-c", HOSTILE])
    connection.execute("UPDATE job SET name = %s, reason = %s WHERE id = %s", (HOSTILE, HOSTILE, job))

    answer = viewer.get("/api/queue")

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = answer.json()["jobs"][0]
    assert (found["name"], found["command"][2]) == (HOSTILE, HOSTILE)


def test_the_page_lets_no_text_become_markup_or_script(viewer):
    answer = viewer.get("/")
    policy = answer.headers["content-security-policy"]
    scripts = "".join(path.read_text() for path in FILES.glob("*.js"))

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "frame-ancestors 'self'" in policy
    assert not re.findall(r"<script(?![^>]*src=)|\son\w+=|\sstyle=|<style|https?://", answer.text)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|DOMParser", scripts)


def test_everything_that_the_page_asks_for_is_there(viewer):
    wanted = set(re.findall(r'(?:src|href)="(static/[^"]+)"', viewer.get("/").text))
    wanted |= {
        f"static/{name}"
        for path in FILES.glob("*.js")
        for name in re.findall(r'(?:from |import\()"\./([^"]+)"', path.read_text())
    }

    answers = {path: viewer.get(f"/{path}") for path in wanted}

    assert len(wanted) > 10
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200} == {}
    assert {answer.headers["content-type"].partition(";")[0] for answer in answers.values()} == {
        "text/javascript",
        "text/css",
        "image/svg+xml",
    }


# Output


def test_the_end_of_an_output_begins_with_a_whole_line(connection, viewer, store_url):
    job = jobs_rows.submit(connection, "a", "tracks")
    jobs_rows.hosts(connection)
    jobs_rows.start(connection, jobs_rows.dispatcher(connection), 1)
    path = Path(store_url) / f"jobs/{job}/1/log.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(b"line %d \xff\n" % number for number in range(20_000)))

    found = viewer.get(f"/api/jobs/{job}/log/1").json()

    assert (found["cut"], found["size"]) == (True, path.stat().st_size)
    assert re.match(r"line \d+ \ufffd\n", found["text"])
    assert found["text"].endswith("line 19999 \ufffd\n")
    assert len(found["text"].encode(errors="replace")) <= 2 * log_tail.TAIL_BYTES


def test_an_output_is_only_that_of_an_attempt_of_the_job(connection, viewer, store_url):
    job = jobs_rows.submit(connection, "a", "tracks")
    jobs_rows.hosts(connection)
    jobs_rows.start(connection, jobs_rows.dispatcher(connection), 1)
    other = Path(store_url) / f"jobs/{job}/2/log.txt"  # a file that is there, of an attempt that is not
    other.parent.mkdir(parents=True)
    other.write_text("not for you")

    assert viewer.get(f"/api/jobs/{job}/log/1").json() == {"text": "", "size": 0, "cut": False}
    assert viewer.get(f"/api/jobs/{job}/log/2").status_code == 404
    for path in (
        f"/api/jobs/{job}/log/1%2F..%2F2",
        f"/api/jobs/{job}/log/..%2F..%2Fetc",
        f"/api/jobs/..%2F{job}/log/1",
    ):
        assert viewer.get(path).status_code in (404, 422)


# The database


def test_without_a_database_the_answer_is_503_and_holds_no_url(monkeypatch, url):
    monkeypatch.setenv("EYEWALL_DATABASE_URL", "postgresql://eyewall:hunter2@127.0.0.1:1/eyewall")
    user = client_of("user")

    answers = [user.get("/api/now"), user.get("/api/queue"), user.post("/api/jobs/1/cancel", json={}, headers=MEANT)]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert "does not answer" in answers[0].json()["detail"]
    assert not [answer.text for answer in answers if "hunter2" in answer.text]
    assert user.get("/").status_code == 200  # the page itself is there, to say it


def test_after_the_database_was_away_the_page_is_back(server, url, monkeypatch):
    monkeypatch.setattr(app, "Shared", lambda: Shared(keep_s=0.0))
    viewer = client_of("viewer")
    assert viewer.get("/api/now").status_code == 200
    with psycopg.connect(postgres.uri(server, "postgres"), autocommit=True) as master:
        # as a restart of the server does it: every kept connection is dead
        master.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'eyewall-page'")

    assert viewer.get("/api/now").status_code == 200


def test_the_database_may_be_named_by_airflows_connection(url, monkeypatch):
    monkeypatch.delenv("EYEWALL_DATABASE_URL")
    monkeypatch.setenv("AIRFLOW_CONN_EYEWALL_DATABASE", "postgres://eyewall:a%2Fb@db.example:5433/eyewall")

    assert database.url() == "postgresql://eyewall:a%2Fb@db.example:5433/eyewall"


def test_without_any_database_the_answer_says_how_to_name_one(url, monkeypatch, tmp_path):
    monkeypatch.delenv("EYEWALL_DATABASE_URL")
    monkeypatch.setenv("EYEWALL_VAR", str(tmp_path))
    monkeypatch.setattr(AirflowConnection, "get_connection_from_secrets", _no_connection)

    answer = client_of("viewer").get("/api/now")

    assert answer.status_code == 503
    assert "set EYEWALL_DATABASE_URL" in answer.json()["detail"]


def _no_connection(name: str) -> None:
    raise AirflowNotFoundException(name)


def test_an_older_schema_is_said_to_be_one(connection, viewer):
    connection.execute("ALTER TABLE report RENAME COLUMN metric TO of")

    answer = viewer.get("/api/now")

    assert (answer.status_code, "is its schema that of this version?" in answer.json()["detail"]) == (503, True)


def test_the_page_cannot_write_by_what_it_reads_with(connection, url):
    with Reader()._new() as reading, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reading.execute("DELETE FROM job")


def test_many_viewers_ask_the_database_once(url):
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        if len(asked) > 1:
            raise DatabaseAway("away")
        return 42

    shared = Shared(keep_s=3600)

    assert [shared.get("a", ask), shared.get("a", ask)] == [42, 42]
    for _ in range(3):  # a failure is kept as well: a database that is away is not stormed
        with pytest.raises(DatabaseAway):
            shared.get("b", ask)
    assert len(asked) == 2


# Airflow


def test_airflow_finds_one_plugin_with_an_application_and_an_entry_in_the_navigation():
    plugins, errors = _load_plugins_from_plugin_directory(str(FILES.parent))

    assert errors == {}
    assert sorted(str(plugin.name) for plugin in plugins) == ["jobs_page", "marked_tasks", "slot_timetable"]
    assert issubclass(JobsPagePlugin, AirflowPlugin)
    (view,) = JobsPagePlugin.external_views
    assert (view["name"], view["destination"], view["href"]) == ("Jobs", "nav", "/eyewall/")


def test_loading_the_plugin_makes_no_application_and_imports_no_server():
    """Each task's process loads the plugins: what only the API server needs must not cost it anything."""
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); import jobs_page, marked_tasks;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'fastapi', 'psycopg', 'jobs_api', 'eyewall'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FILES.parent, capture_output=True, text=True, check=True)

    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_application_is_made_at_the_first_request_and_once(url):
    later = Later()

    assert later.app is later.app
    assert TestClient(later).get("/api/me").status_code == 401


def test_json_is_what_browsers_take(connection, viewer):
    job = jobs_rows.submit(connection, "a", "tracks", after=[jobs_rows.submit(connection, "b", "tracks")])
    queue.cancel(connection, job - 1, "tracks")

    answer = viewer.get(f"/api/jobs/{job}")

    assert "NaN" not in json.dumps(answer.json(), allow_nan=False)
    assert answer.json()["job"]["state"] == "cancelled"
