"""Metrics and status over HTTP, on the loopback address unless told otherwise; nothing can be changed through it.

GET /metrics    Prometheus' text format
GET /status     JSON, for `eyewall edge status`
GET /healthz    200 while the threads run
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from eyewall.contracts.errors import InputError


class _Handler(BaseHTTPRequestHandler):
    server: "Endpoint"
    timeout = 10.0
    server_version = "eyewall"
    sys_version = ""

    def do_GET(self) -> None:
        """One of the three pages."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
            return
        kind, text = page()
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""


class Endpoint(ThreadingHTTPServer):
    """Serves in a thread of its own until it is closed."""

    daemon_threads = True

    def __init__(self, host: str, port: int, metrics: Callable[[], str], status: Callable[[], dict[str, Any]]) -> None:
        """Begin to serve. Raises InputError when the port is taken."""
        self.pages: dict[str, Callable[[], tuple[str, str]]] = {
            "/metrics": lambda: ("text/plain; version=0.0.4; charset=utf-8", metrics()),
            "/status": lambda: ("application/json", json.dumps(status(), allow_nan=False)),
            "/healthz": lambda: ("text/plain", "ok\n"),
        }
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port} for metrics ({error.strerror}): give another --port"
            ) from None
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.2}, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self.server_close()
