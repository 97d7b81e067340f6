"""The page "Jobs" in Airflow's UI: the queue, the GPUs, what runs, what has ended, and the searches.

Every process of Airflow's loads the plugins, those of tasks as well; only the API server ever answers a request. So
the application is made at its first request, and this file costs the others nothing.
"""

import threading
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/eyewall"


class Later:
    """An ASGI application that is made when it is first asked."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request on."""
        await self.app(scope, receive, send)

    @property
    def app(self) -> Any:
        """The application."""
        with self._lock:
            if self._app is None:
                from jobs_api.app import create_app

                self._app = create_app()
            return self._app


def _base_path() -> str:
    """Path under which the installation is served; "" for the root."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


class JobsPagePlugin(AirflowPlugin):
    """Registers the application and its entry in the navigation."""

    name = "jobs_page"
    # Lists, and not of the class, as Airflow declares them: it takes what it refuses out of them.
    fastapi_apps = [{"app": Later(), "url_prefix": PREFIX, "name": "Eyewall jobs"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Jobs",
            "href": f"{_base_path()}{PREFIX}/",
            "icon": f"{_base_path()}{PREFIX}/static/icon.svg",
            "destination": "nav",
            "url_route": "jobs",
        }
    ]
