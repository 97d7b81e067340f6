"""The few requests that jobs in pods need, as plain JSON; the only module that imports the Kubernetes client.

Whatever keeps an answer from coming, or says "later" or "not you", is WorkerUnreachable: nothing is known of the pods
then.
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from eyewall.contracts.errors import ContractError, InputError
from eyewall.jobs.pods.options import PodOptions
from eyewall.jobs.pods.wire import arguments, sentence, server_time
from eyewall.jobs.runner import WorkerUnreachable

Object = dict[str, Any]
_CONNECT_S, _READ_S = 5.0, 15.0
#: A job may be silent for hours; then the stream is opened anew, and with it the connection is tried.
QUIET_S = 60.0
_REFUSALS = frozenset({400, 413, 422})  # the object as it is written; a retry would be refused as well


class Answer(NamedTuple):
    """An object, and the API server's own time: two machines' clocks need not agree."""

    object: Object | None
    now: datetime


class Api:
    """One namespace of one cluster. Every method raises WorkerUnreachable; those that make things, EyewallError too."""

    def __init__(self, worker: str, options: PodOptions) -> None:
        self._worker, self._options = worker, options
        self._client = _client(worker, options)
        self._top = f"/api/v1/namespaces/{options.namespace}"

    def get(self, kind: str, name: str) -> Answer:
        """An object of the namespace; None when there is none."""
        return self._ask("GET", f"{self._top}/{kind}/{name}")

    def make(self, kind: str, body: Object) -> Object | None:
        """The object, made; None when there is one of its name. Raises EyewallError for one that can never be made."""
        return self._ask("POST", f"{self._top}/{kind}", body, missing=f"namespace {self._options.namespace}").object

    def annotate(self, kind: str, name: str, body: Object) -> Object | None:
        """The object after a merge patch; None when it is gone, or is not the one whose uid the patch names."""
        return self._ask("PATCH", f"{self._top}/{kind}/{name}", body).object

    def delete(self, kind: str, name: str, uid: str | None = None, grace_s: int | None = None) -> None:
        """Delete an object, if it is there; with ``uid`` only that one and none that came after it."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        self._ask("DELETE", f"{self._top}/{kind}/{name}", body)

    def events(self, name: str) -> list[Object]:
        """What was said about a pod; kept for an hour, also after it has gone. None where that may not be read."""
        query = [("fieldSelector", f"involvedObject.kind=Pod,involvedObject.name={name}")]
        return list(
            (self._ask("GET", f"{self._top}/events", query=query, optional=True).object or {}).get("items") or ()
        )

    def nodes(self) -> list[Object]:
        """The nodes that jobs may run on. Raises WorkerUnreachable where they may not be read."""
        wanted = ",".join(f"{key}={value}" for key, value in sorted(self._options.node_selector.items()))
        query = [("labelSelector", wanted)] if wanted else []
        return list((self._ask("GET", "/api/v1/nodes", query=query).object or {}).get("items") or ())

    def pods_everywhere(self) -> list[Object]:
        """Pods of all namespaces that have not ended; none where they may not be read."""
        query = [("fieldSelector", "status.phase!=Succeeded,status.phase!=Failed")]
        return list((self._ask("GET", "/api/v1/pods", query=query, optional=True).object or {}).get("items") or ())

    def answers(self) -> None:
        """Nothing, if the namespace can be looked at."""
        self._ask("GET", f"{self._top}/pods", query=[("limit", "1")])

    def log(self, name: str, container: str, *, follow: bool, since: str | None = None) -> Iterator[bytes]:
        """Pieces of a container's log as they come, each line with its time stamp; ends with the container.

        Also ends, early, when nothing was said for a minute. ``since``: from this time stamp's second on.
        """
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        query = [("container", container), ("timestamps", "true")]
        query += [("follow", "true")] if follow else []
        query += [("sinceTime", since)] if since is not None else []
        response = self._open(f"{self._top}/pods/{name}/log", query, QUIET_S)
        if response is None:
            return
        try:
            yield from response.stream(65536)
        except ReadTimeoutError:
            return
        except (HTTPError, OSError) as error:
            raise self._away(error) from None
        finally:
            response.close()

    def watch(self, name: str, seconds: float) -> Iterator[Object | None]:
        """The pod as it is and at every change; None, last, when it is gone. Ends after ``seconds`` anyway."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        query = [("fieldSelector", f"metadata.name={name}")]
        listed = self._ask("GET", f"{self._top}/pods", query=query).object or {}
        items = listed.get("items") or [None]
        yield items[0]
        if items[0] is None:
            return
        version = (listed.get("metadata") or {}).get("resourceVersion", "")
        query += [("watch", "true"), ("resourceVersion", version), ("timeoutSeconds", str(max(round(seconds), 1)))]
        response = self._open(f"{self._top}/pods", query, seconds + _READ_S)
        if response is None:
            return
        try:
            for line in _lines(response.stream(65536)):
                event = json.loads(line)
                if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
                    return  # a bookmark, or "too old": the caller looks again
                yield event["object"]
                if event["type"] == "DELETED":
                    yield None
                    return
        except ReadTimeoutError:
            return
        except (HTTPError, OSError) as error:
            raise self._away(error) from None
        finally:
            response.close()

    def _open(self, path: str, query: list[tuple[str, str]], read_s: float) -> Any:
        """An answer whose body is still to come; None when there is nothing at ``path`` (any more, or yet)."""
        from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
        from urllib3.exceptions import HTTPError

        try:
            return self._client.call_api(path, "GET", **arguments(None, query, (_CONNECT_S, read_s)))
        except ApiException as error:
            if error.status in (400, 404):  # 400: the container has not started
                return None
            raise self._refused(error) from None
        except (HTTPError, OSError) as error:
            raise self._away(error) from None

    def _ask(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        optional: bool = False,
        missing: str | None = None,
    ) -> Answer:
        """One request. None for 404 and 409; with ``optional`` also where the rights are missing."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            response = self._client.call_api(path, method, **arguments(body, query or [], (_CONNECT_S, _READ_S), kind))
            return Answer(json.loads(response.data), server_time(response.headers.get("Date")))
        except ApiException as error:
            if error.status == 404 and missing is not None:
                raise InputError(
                    f"worker {self._worker}: {missing} is not there: {sentence(error.body or error.reason)}"
                ) from None
            if error.status in (404, 409) or (optional and error.status == 403):
                return Answer(None, server_time((error.headers or {}).get("Date")))
            raise self._refused(error) from None
        except (HTTPError, OSError, ValueError) as error:  # ValueError: no JSON, so not the API server's
            raise self._away(error) from None

    def _refused(self, error: Any) -> Exception:
        status, said = error.status, sentence(error.body or error.reason)
        if status in _REFUSALS:
            return InputError(f"worker {self._worker}: the API server refuses ({status}): {said}")
        return WorkerUnreachable(f"worker {self._worker}: the API server says {status}: {said}")

    def _away(self, error: Exception) -> WorkerUnreachable:
        return WorkerUnreachable(
            f"worker {self._worker}: no answer from the API server: {type(error).__name__}: {str(error)[:200]}"
        )


def _client(worker: str, options: PodOptions) -> Any:
    """An ApiClient by kubeconfig, or by the service account of the pod that this process runs in."""
    from kubernetes import client, config  # type: ignore[import-untyped]

    path = options.kubeconfig or os.environ.get("KUBECONFIG")
    settings = client.Configuration()
    try:
        if path is not None:
            config.load_kube_config(path, context=options.context, client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        shown = path if path is not None else "the pod's own account"
        remedy = "" if path is None or Path(path).exists() else "; there is no such file"
        raise ContractError(f"workers.{worker}.kubeconfig = {shown!r}: {error}{remedy}") from None
    settings.retries = 1  # a connection that the server has closed meanwhile is opened anew; more would hide it
    settings.connection_pool_maxsize = 64  # a thread for each running job
    return client.ApiClient(settings)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line)
