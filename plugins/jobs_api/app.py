"""The application under /eyewall: one page of plain files, what it asks, and what can be done from it.

Nothing is answered to who is not signed in, the page's own files included. Errors say one sentence.
"""

from datetime import datetime
from pathlib import Path as File
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from eyewall.contracts.errors import EyewallError, StorageError

from . import actions, looks
from .answers import answer
from .database import DatabaseAway, Reader, Shared
from .guard import Acting, Actor, CanAct, User, may_look, meant
from .log_tail import tail

FILES = File(__file__).parents[1] / "jobs_page"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Only this server's own files run or are shown, no text becomes markup, and only this site may frame the page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'; trusted-types"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Ended = Literal["succeeded", "failed", "cancelled", "pruned"]


class Priority(BaseModel):
    """A job's new priority."""

    model_config = ConfigDict(extra="forbid")

    priority: int = Field(ge=0, le=9, strict=True)


def create_app() -> FastAPI:
    """The application, with connections of its own."""
    app = FastAPI(
        title="Eyewall jobs", docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(may_look)]
    )
    reader, shared = Reader(), Shared()
    _add_page(app)
    _add_looks(app, reader, shared)
    _add_actions(app)
    _add_errors(app)

    @app.middleware("http")
    async def guarded(request: Request, call_next: Any) -> Response:
        """What every answer says to the browser."""
        response: Response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    return app


def _add_page(app: FastAPI) -> None:
    files = {path.name: path for path in sorted(FILES.iterdir()) if path.suffix in _TYPES}

    @app.get("/")
    def page() -> Response:
        return FileResponse(FILES / "index.html", media_type="text/html", headers={"Cache-Control": "no-cache"})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "No such file.")
        path = files[name]
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "private, no-cache"})

    @app.get("/api/me")
    def me(request: Request, user: User, act: CanAct) -> Response:
        acting = Acting.of(user)
        known = {"name": acting.name, "owner": acting.owner, "may_act": act, "acts_on_all": act and acting.on_all}
        return answer(request, known)


def _add_looks(app: FastAPI, reader: Reader, shared: Shared) -> None:
    @app.get("/api/now")
    def now(request: Request) -> Response:
        return answer(request, shared.get("now", lambda: looks.now(reader)))

    @app.get("/api/queue")
    def queue(request: Request, offset: Offset = 0) -> Response:
        return answer(request, shared.get(("queue", offset), lambda: looks.queue(reader, offset)))

    @app.get("/api/history")
    def history(
        request: Request,
        before_at: datetime | None = None,
        before_id: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
        state: Ended | None = None,
        text: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        before = (before_at.isoformat(), before_id) if before_at and before_id else None
        wanted = (text or "").replace("\x00", "").strip() or None
        return answer(
            request,
            shared.get(("history", before, state, wanted), lambda: looks.history(reader, before, state, wanted)),
        )

    @app.get("/api/jobs/{job}")
    def job(request: Request, job: Id) -> Response:
        return answer(request, _there(shared.get(("job", job), lambda: looks.job(reader, job)), f"job {job}"))

    @app.get("/api/jobs/{job}/log/{number}")
    def log(request: Request, job: Id, number: Annotated[int, Path(ge=1, le=2**31 - 1)]) -> Response:
        attempts = _there(shared.get(("job", job), lambda: looks.job(reader, job)), f"job {job}")["attempts"]
        if number not in {row["number"] for row in attempts}:
            raise HTTPException(404, f"Job {job} has no attempt {number}.")
        found = shared.get(("log", job, number), lambda: tail(job, number))
        return answer(request, {"text": found.text, "size": found.size, "cut": found.cut})

    @app.get("/api/sweeps")
    def sweeps(request: Request, offset: Offset = 0) -> Response:
        return answer(request, shared.get(("sweeps", offset), lambda: looks.sweeps(reader, offset)))

    @app.get("/api/sweeps/{sweep}")
    def sweep(request: Request, sweep: Id) -> Response:
        return answer(
            request, _there(shared.get(("sweep", sweep), lambda: looks.sweep(reader, sweep)), f"sweep {sweep}")
        )


def _there(found: Any, what: str) -> Any:
    if found is None:
        raise HTTPException(404, f"There is no {what}.")
    return found


def _add_actions(app: FastAPI) -> None:
    asked = [Depends(meant)]

    @app.post("/api/jobs/{job}/cancel", dependencies=asked)
    def cancel(job: Id, actor: Actor) -> dict[str, str]:
        return {"done": actions.cancel(job, actor)}

    @app.post("/api/jobs/{job}/requeue", dependencies=asked)
    def requeue(job: Id, actor: Actor) -> dict[str, str]:
        return {"done": actions.requeue(job, actor)}

    @app.post("/api/jobs/{job}/priority", dependencies=asked)
    def priority(job: Id, wanted: Priority, actor: Actor) -> dict[str, str]:
        return {"done": actions.set_priority(job, wanted.priority, actor)}


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(DatabaseAway)
    def away(_: Request, error: DatabaseAway) -> Response:
        return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": "5"})

    @app.exception_handler(EyewallError)
    def refused(_: Request, error: EyewallError) -> Response:
        return JSONResponse({"detail": str(error)}, 503 if isinstance(error, StorageError) else 409)

    @app.exception_handler(HTTPException)
    def signed_out(request: Request, error: HTTPException) -> Response:
        """A person gets a page with a link, a program one sentence."""
        if error.status_code == 401 and "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_SIGN_IN.format(login=_login(request)), 401)
        return JSONResponse({"detail": error.detail}, error.status_code, headers=error.headers)


_SIGN_IN = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    '<title>Jobs</title><p>You are not signed in. <a href="{login}">Sign in</a></p></html>'
)


def _login(request: Request) -> str:
    from html import escape

    return escape(get_auth_manager().get_url_login(next_url=str(request.url)), quote=True)
