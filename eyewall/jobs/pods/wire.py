"""What a request to a Kubernetes API server and its answer look like: for jobs, and for steps (operators/api_calls.py).

Bodies are plain JSON, as `kubectl -o json` shows it: a typed client drops what an older or newer server says beyond its
own fields.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


def arguments(
    body: Mapping[str, Any] | None, query: Sequence[tuple[str, str]], timeout_s: object, kind: str = "application/json"
) -> dict[str, Any]:
    """For ``call_api`` of the blocking or the asynchronous client; without preloading the answer comes as it is."""
    return {
        "query_params": list(query),
        "header_params": {"Accept": "application/json, */*", "Content-Type": kind},
        "body": body,
        "auth_settings": ["BearerToken"],
        "_preload_content": False,
        "_request_timeout": timeout_s,
    }


def server_time(date: str | None) -> datetime:
    """The API server's own time, of the header Date: two machines' clocks need not agree."""
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def sentence(body: str | bytes | None) -> str:
    """The server's own words, on one line: the message of its Status, else what it sent."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    return " ".join(text.split())[:300]
