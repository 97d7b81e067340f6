"""Airflow's public REST API, as far as the platform uses it; nothing else, so that a remote Airflow would do too."""

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import httpx

from eyewall.contracts.errors import EyewallError, InputError

#: States that a run or a task does not leave by itself.
FINAL = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class Airflow:
    """A client that logs in by itself.

    Every method raises InputError for what Airflow refuses (4xx) and EyewallError for what it fails at, with Airflow's
    own words.
    """

    def __init__(self, url: str, user: str, password: str, timeout_s: float = 60.0) -> None:
        """``url``: scheme, host and port."""
        self._user, self._password = user, password
        self._http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def health(self) -> dict[str, str]:
        """Component → status ("healthy" or not); empty while nobody answers."""
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5.0)
            return {name: str(part.get("status")) for name, part in answer.raise_for_status().json().items() if part}
        except (httpx.HTTPError, ValueError):
            return {}

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One request to /api/v2, again where the server is busy (503), or the connection of a GET breaks.

        So is a 500 to what may be asked twice: the scheduler holds the same rows, and the database ends one of the two.
        """
        for attempt in range(6):
            try:
                if "Authorization" not in self._http.headers:
                    self._login()
                answer = self._http.request(method, f"/api/v2{path}", json=body, params=query)
            except httpx.TransportError as error:
                if method != "GET" or attempt == 5:
                    raise EyewallError(
                        f"Airflow does not answer {method} {path}: {error or type(error).__name__}"
                    ) from None
                time.sleep(1.0)
                continue
            if answer.status_code == 401 and attempt == 0:
                del self._http.headers["Authorization"]  # the token has run out
            elif attempt < 5 and (answer.status_code == 503 or (answer.status_code == 500 and method != "POST")):
                time.sleep(1.0)
            else:
                break
        if answer.is_success:
            return answer.json() if answer.content else None
        kind = InputError if answer.is_client_error else EyewallError
        raise kind(f"Airflow answers {answer.status_code} to {method} {path}: {_detail(answer)}")

    def _login(self) -> None:
        answer = self._http.post("/auth/token", json={"username": self._user, "password": self._password})
        if not answer.is_success:
            raise EyewallError(f"Airflow refuses user {self._user!r} ({answer.status_code}): {_detail(answer)}")
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def knows(self, dag_id: str) -> bool:
        """Whether the DAG has been read; raises EyewallError when its file has an import error."""
        found = self.call("GET", "/dags", dag_id_pattern=dag_id, exclude_stale=True)["dags"]
        if any(dag["dag_id"] == dag_id for dag in found):
            return True
        for error in self.call("GET", "/importErrors")["import_errors"]:
            raise EyewallError(f"Airflow cannot import {error['filename']}: {error['stack_trace'].strip()[-500:]}")
        return False

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": False}, update_mask="is_paused")

    def pause(self, dag_id: str) -> None:
        """Let the scheduler leave the DAG alone."""
        self.call("PATCH", f"/dags/{dag_id}", {"is_paused": True}, update_mask="is_paused")

    def pool(self, name: str, slots: int, description: str) -> None:
        """Make sure that there is a pool of so many slots."""
        pools = self.call("GET", "/pools", limit=100)["pools"]
        body = {"slots": slots, "description": description, "include_deferred": False}
        if name in {pool["name"] for pool in pools}:
            self.call("PATCH", f"/pools/{name}", {"pool": name, **body}, update_mask="slots")
        else:
            self.call("POST", "/pools", {"name": name, **body})

    def backfill(self, dag_id: str, first: str, last: str, max_active_runs: int = 4) -> int:
        """Start a backfill of the partitions from ``first`` to ``last`` (ISO times, both inclusive); its id."""
        body = {"dag_id": dag_id, "from_date": first, "to_date": last, "max_active_runs": max_active_runs}
        return int(self.call("POST", "/backfills", body)["id"])

    def close_backfill(self, backfill: int) -> None:
        """Declare a backfill whose runs have all ended done: only one may be open for a DAG at a time.

        Airflow 3.3.2 looks for itself only every 30 s. Harmless when it was faster, and with runs that have ended.
        """
        if not self.call("GET", f"/backfills/{backfill}")["completed_at"]:
            with contextlib.suppress(InputError):  # 409: completed between the two requests
                self.call("PUT", f"/backfills/{backfill}/cancel")

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run by hand; its id."""
        run = self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str, run_type: str | None = None) -> list[dict[str, Any]]:
        """All runs of a DAG, or those of a type ("backfill", "manual", "scheduled")."""
        found: list[dict[str, Any]] = []
        query = {} if run_type is None else {"run_type": run_type}
        while True:
            page = self.call("GET", f"/dags/{dag_id}/dagRuns", limit=100, offset=len(found), **query)
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return found

    def tasks(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Task → state of one run."""
        page = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)
        return {task["task_id"]: task["state"] for task in page["task_instances"]}

    def follow(self, dag_id: str, run_id: str, every_s: float = 1.0) -> Iterator[dict[str, str | None]]:
        """Task states of a run, again and again, until the run has ended."""
        while True:
            run = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
            yield self.tasks(dag_id, run_id)
            if run["state"] in FINAL:
                return
            time.sleep(every_s)

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int = 1) -> list[str]:
        """Lines of a task's log; an exception is one line, without its traceback."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.call("GET", path, full_content=True)["content"]
        return [text for line in content for text in _lines(line)]


def _lines(entry: Any) -> Iterator[str]:
    """The message of one structured log entry, and the exceptions that it carries."""
    if not isinstance(entry, dict):
        yield str(entry)
        return
    yield str(entry.get("event", ""))
    for error in entry.get("error_detail") or ():
        yield f"{error.get('exc_type')}: {error.get('exc_value')}"


def _detail(answer: httpx.Response) -> str:
    """Airflow's reason: its ``detail``, whatever shape it has, without line breaks."""
    try:
        detail = answer.json().get("detail", answer.text)
    except (ValueError, AttributeError):
        detail = answer.text
    if isinstance(detail, list):
        detail = "; ".join(f"{'.'.join(map(str, d.get('loc', ())))}: {d.get('msg')}" for d in detail)
    return " ".join(str(detail).split())[:500]
