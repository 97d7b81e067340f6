"""Requests to the API server, apart from who sends them.

What is done to a gang is written once, as generators that yield a `Call` and get its `Answer`. The task sends them
with the provider's blocking client (`send_all`), the triggerer with its asynchronous one (`asend_all`), and the tests
with a dictionary: there a process can be killed between any two calls.

Times are the API server's own (the Date of its answers), so that two machines with different clocks agree.
"""

import json
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from eyewall.jobs.pods.wire import arguments, sentence, server_time

#: One request may take this long; a server that is frozen accepts connections and says nothing.
REQUEST_TIMEOUT_S = 15.0
#: A task waits this long for an API server that is away; the triggerer waits for ever, as the training goes on.
PATIENCE_S = 300.0
_AWAY = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_PAUSE_S = 15.0


class Call(NamedTuple):
    """One request."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    query: tuple[tuple[str, str], ...] = ()


class Answer(NamedTuple):
    """What the server said: 2xx, 404 (there is none) or 409 (there is one, or another was faster)."""

    status: int
    text: str
    now: datetime

    def json(self) -> dict[str, Any]:
        """The body."""
        value: dict[str, Any] = json.loads(self.text)
        return value

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300


class ApiAway(Exception):
    """No answer, or one that says "later"."""


class ApiRefused(Exception):
    """The server refuses the request as it is: rights, quota, or a field that it does not take."""

    def __init__(self, status: int, text: str) -> None:
        """``text`` is the server's Status, whose message is the sentence for people."""
        super().__init__(f"the API server refuses ({status}): {sentence(text)}")
        self.status = status


T = TypeVar("T")
Calls = Generator[Call, Answer, T]
Send = Callable[[Call], Answer]
AsyncSend = Callable[[Call], Awaitable[Answer]]


def answer_of(status: int, text: str, date: str | None) -> Answer:
    """A response → Answer. Raises ApiAway or ApiRefused."""
    if status in _AWAY and not _waits_for_ever(status, text):
        raise ApiAway(f"the API server says {status}: {text[:200]}")
    if not (200 <= status < 300 or status in (404, 409)):
        raise ApiRefused(status, text)
    return Answer(status, text, server_time(date))


def _waits_for_ever(status: int, text: str) -> bool:
    """An admission webhook's own no comes as 500 at times; nothing else of it is final."""
    return status == 500 and "denied the request" in text


def send_all(calls: Calls[T], send: Send, patience_s: float = PATIENCE_S, log: logging.Logger | None = None) -> T:
    """Run to the end. Raises ApiRefused, and ApiAway after ``patience_s`` without an answer."""
    send_one = _patient(send, patience_s, log)

    async def at_once(call: Call) -> Answer:
        """The answer, without a suspension."""
        return send_one(call)

    try:
        asend_all(calls, at_once).send(None)  # nothing in it ever suspends
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("a blocking sender suspended")


async def asend_all(calls: Calls[T], send: AsyncSend) -> T:
    """Run to the end. Raises ApiRefused and ApiAway at once: who watches looks again anyway."""
    try:
        call = next(calls)
        while True:
            try:
                answer = await send(call)
            except ApiRefused as refusal:
                call = calls.throw(refusal)
            else:
                call = calls.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value


def _patient(send: Send, patience_s: float, log: logging.Logger | None) -> Send:
    """``send`` that tries again while the server is away."""

    def send_one(call: Call) -> Answer:
        deadline, pause_s = time.monotonic() + patience_s, 0.5
        while True:
            try:
                return send(call)
            except ApiAway as away:
                if time.monotonic() + pause_s > deadline:
                    raise
                if log is not None:
                    log.warning("%s; trying again in %g s", away, pause_s)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    return send_one


def sender(client: Any) -> Send:
    """Send with a kubernetes.client.ApiClient."""
    from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    def send(call: Call) -> Answer:
        try:
            response = client.call_api(call.path, call.method, **_arguments(call))
            return answer_of(response.status, response.data.decode(errors="replace"), response.headers.get("Date"))
        except ApiException as error:
            return _answer_in(error)
        except (HTTPError, OSError) as error:
            raise _away(error) from None

    return send


def async_sender(client: Any) -> AsyncSend:
    """Send with a kubernetes_asyncio.client.ApiClient."""
    from aiohttp import ClientError
    from kubernetes_asyncio.client.exceptions import ApiException

    async def send(call: Call) -> Answer:
        """One request."""
        try:
            response = await client.call_api(call.path, call.method, **_arguments(call))
            text = (await response.read()).decode(errors="replace")
            return answer_of(response.status, text, response.headers.get("Date"))
        except ApiException as error:
            return _answer_in(error)
        except (ClientError, OSError, TimeoutError) as error:
            raise _away(error) from None

    return send


def _arguments(call: Call) -> dict[str, Any]:
    """For ``call_api`` of either client."""
    return arguments(call.body, call.query, REQUEST_TIMEOUT_S) | {"_return_http_data_only": True}


def _answer_in(error: Any) -> Answer:
    """The answer in a client's exception: the blocking one raises for every status but 2xx. 0: it could not ask."""
    body = error.body or ""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    if not error.status:
        raise _away(error) from None
    return answer_of(int(error.status), text or str(error.reason), (error.headers or {}).get("Date"))


def _away(error: Exception) -> ApiAway:
    return ApiAway(f"no answer from the API server: {type(error).__name__}: {str(error)[:200]}")
