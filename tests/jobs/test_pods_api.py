"""Requests to an API server, against a small one on the loopback: what is an answer, what a no, and what nothing."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from eyewall.contracts.errors import ContractError, InputError
from eyewall.jobs.pods import api as pods_api
from eyewall.jobs.pods.api import Api
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.runner import WorkerUnreachable


class Server:
    """Gives the same answer to everybody, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.asked: list[tuple[str, str, Any, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outer.asked.append((self.command, self.path, body, self.headers.get("Content-Type")))
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Away."""
        self._server.shutdown()
        self._server.server_close()


def _kubeconfig(folder: Path, url: str) -> str:
    path = folder / "kubeconfig"
    named = {"name": "x"}
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "x",
                "clusters": [{**named, "cluster": {"server": url}}],
                "users": [{**named, "user": {"token": "t"}}],
                "contexts": [{**named, "context": {"cluster": "x", "user": "x"}}],
            }
        )
    )
    return str(path)


@pytest.fixture
def server() -> Iterator[Server]:
    """The server."""
    made = Server()
    yield made
    made.close()


@pytest.fixture
def api(server: Server, tmp_path: Path) -> Api:
    """A client of it."""
    return Api("cluster", PodOptions(kubeconfig=_kubeconfig(tmp_path, server.url), namespace="lab"))


def test_what_is_there_is_given_as_the_server_says_it_with_the_servers_time(server: Server, api: Api) -> None:
    server.body = b'{"kind": "Pod", "fieldOfTheFuture": 7}'

    found = api.get("pods", "a")

    assert found.object == {"kind": "Pod", "fieldOfTheFuture": 7}
    assert found.now.tzinfo is not None
    assert server.asked[0][:2] == ("GET", "/api/v1/namespaces/lab/pods/a")


def test_absent_and_taken_are_answers(server: Server, api: Api) -> None:
    server.status = 404
    assert api.get("pods", "a").object is None
    assert api.annotate("configmaps", "a", {}) is None
    api.delete("pods", "a")
    assert list(api.log("a", "job", follow=True)) == []
    server.status = 409
    assert api.make("pods", {"metadata": {}}) is None


def test_a_namespace_that_is_not_there_is_the_users_to_mend(server: Server, api: Api) -> None:
    server.status, server.body = 404, b'{"message": "namespaces \\"lab\\" not found"}'

    with pytest.raises(InputError, match='namespace lab is not there: namespaces "lab" not found'):
        api.make("pods", {"metadata": {}})


def test_a_deletion_names_the_one_that_is_meant(server: Server, api: Api) -> None:
    api.delete("pods", "a", "uid-7", 5)

    (method, _, body, _) = server.asked[0]
    assert method == "DELETE"
    assert body["preconditions"] == {"uid": "uid-7"}
    assert body["gracePeriodSeconds"] == 5


def test_a_patch_is_a_merge_patch(server: Server, api: Api) -> None:
    api.annotate("configmaps", "a", {"data": {"job": None}})

    assert server.asked[0][2:] == ({"data": {"job": None}}, "application/merge-patch+json")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_object_that_is_refused_as_it_is_will_never_do(server: Server, api: Api, status: int) -> None:
    server.status, server.body = status, b'{"message": "spec.x: Invalid value"}'

    with pytest.raises(InputError, match=rf"the API server refuses \({status}\): spec.x: Invalid value"):
        api.make("pods", {"metadata": {}})


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_who_may_not_ask_or_is_told_later_knows_nothing(server: Server, api: Api, status: int) -> None:
    server.status, server.body = status, b'{"message": "no,\\n not now"}'

    for ask in (
        lambda: api.get("pods", "a"),
        lambda: api.make("pods", {"metadata": {}}),
        lambda: api.delete("pods", "a"),
        lambda: list(api.watch("a", 1.0)),
        lambda: list(api.log("a", "job", follow=False)),
        api.answers,
        api.nodes,
    ):
        with pytest.raises(WorkerUnreachable, match=f"worker cluster: the API server says {status}: no, not now"):
            ask()


def test_what_is_only_good_to_know_may_be_withheld(server: Server, api: Api) -> None:
    server.status = 403

    assert api.events("a") == []
    assert api.pods_everywhere() == []


def test_a_server_that_is_down_or_says_nothing_is_out_of_reach(
    server: Server, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_api, "_READ_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        frozen = Api(
            "cluster", PodOptions(kubeconfig=_kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}"))
        )
        with pytest.raises(WorkerUnreachable, match="no answer from the API server"):
            frozen.get("pods", "a")
    with pytest.raises(WorkerUnreachable, match="no answer from the API server"):
        frozen.get("pods", "a")


def test_an_answer_that_is_no_json_is_no_answer(server: Server, api: Api) -> None:
    server.body = b"<html>a proxy of the house</html>"

    with pytest.raises(WorkerUnreachable, match="no answer from the API server"):
        api.get("pods", "a")


def test_a_kubeconfig_that_is_not_there_or_lacks_the_context_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"workers.cluster.kubeconfig = '/none/kubeconfig'.*no such file"):
        Api("cluster", PodOptions(kubeconfig="/none/kubeconfig"))
    path = _kubeconfig(tmp_path, "http://127.0.0.1:1")
    with pytest.raises(ContractError, match=r"workers\.cluster\.kubeconfig"):
        Api("cluster", PodOptions(kubeconfig=path, context="other"))


def test_a_watch_is_the_pod_now_and_at_each_change_and_none_when_it_has_gone(server: Server, api: Api) -> None:
    """The list and the watch get the same answer here: it is both."""
    pod = {"metadata": {"name": "a"}}
    listed = {"items": [pod], "metadata": {"resourceVersion": "5"}, "type": "MODIFIED", "object": {"n": 1}}
    server.body = json.dumps(listed).encode() + b"\n"

    assert list(api.watch("a", 1.0)) == [pod, {"n": 1}]
    assert "resourceVersion=5" in server.asked[1][1]
    listed["type"] = "DELETED"
    server.body = json.dumps(listed).encode() + b"\n"
    assert list(api.watch("a", 1.0)) == [pod, {"n": 1}, None]
    server.body = b'{"items": []}'
    assert list(api.watch("a", 1.0)) == [None]
