"""Answers in JSON that a browser keeps and asks for again by their tag: 304 while nothing has changed.

The page asks every two seconds. That goes through any proxy, ends when the page is hidden, and leaves nothing open in
the API server, whose one process serves all of Airflow; a stream of events would hold a connection per viewer to save
about a kilobyte a minute.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response

#: The server's time, which the page counts durations by: a reader's clock may be wrong.
NOW = "X-Eyewall-Now"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def answer(request: Request, value: Any) -> Response:
    """``value`` as JSON, or 304 where the browser has it already."""
    body = json.dumps(value, default=_plain, allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode(
        errors="replace"  # half a surrogate pair, which jsonb can hold as an escape
    )
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", NOW: _plain(datetime.now(UTC))}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
