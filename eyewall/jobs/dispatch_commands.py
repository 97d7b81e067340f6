"""``eyewall job dispatch|logs``: commands of the group `job` that start jobs and read what they print."""

import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from eyewall.contracts.errors import InputError, StorageError

if TYPE_CHECKING:
    from eyewall.storage import Store

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_FOLLOW_S = 1.0
#: The end of a log that is looked for in the next one, to go on behind it.
_REMEMBERED_BYTES = 1 << 16


@app.command("dispatch")
def _dispatch(
    idle_s: Annotated[
        float | None, typer.Option(min=0.0, help="end once nothing waited or ran for so long; default: never")
    ] = None,
    worker: Annotated[list[str] | None, typer.Option(help="only these workers; repeatable. Default: all")] = None,
    store: Annotated[str, typer.Option(help="artifact store; default: the settings' own")] = "",
) -> None:
    """Start jobs on free GPUs and watch them, until told to end; jobs go on then, for the next dispatcher."""
    from eyewall.contracts.settings import Settings
    from eyewall.db.connect import connected, database_url
    from eyewall.db.statements import statement
    from eyewall.jobs.dispatcher import Dispatcher, say_on_stderr
    from eyewall.jobs.installation import install
    from eyewall.storage import Store

    settings = Settings.load()
    url = database_url()
    with connected(url) as connection:
        for name in install(connection, settings, "dispatch"):
            say_on_stderr(f"worker {name} is registered")
        known = {str(row[0]) for row in connection.execute(statement("jobs/workers"), {"names": None})}
    if unknown := set(worker or ()) - known:
        raise InputError(f"no worker {sorted(unknown)[0]!r}: workers are {', '.join(sorted(known))}")
    dispatcher = Dispatcher(url, Store(store or settings.store), worker or None, idle_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: dispatcher.stop())
    dispatcher.run()


@app.command("logs")
def _logs(
    job: Annotated[int, typer.Argument(help="number of the job")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on until the attempt ends")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="number of the attempt; default: the last one")] = None,
    store: Annotated[str, typer.Option(help="artifact store; default: the settings' own")] = "",
) -> None:
    """What a job printed."""
    from eyewall.contracts.settings import Settings
    from eyewall.db.connect import connected, database_url
    from eyewall.db.statements import statement
    from eyewall.storage import Store

    place = Store(store or Settings.load().store)
    last = b""
    while True:
        with connected(database_url()) as connection:
            standing = connection.execute(statement("jobs/end_of_job"), {"job": job}).fetchone()
            rows = connection.execute(statement("jobs/ends_of_attempts"), {"job": job}).fetchall()
        if standing is None:
            raise InputError(f"no job {job}: see `eyewall job list --all`")
        attempts = {int(row[0]): (str(row[1]), str(row[2])) for row in rows}
        number = attempt or max(attempts, default=1)
        if number not in attempts and (attempt or not follow or standing[0] not in ("blocked", "queued")):
            raise InputError(_no_attempt(job, str(standing[0]), attempt, sorted(attempts)))
        state, reason = attempts.get(number, ("claimed", ""))
        log = _log(place, job, number)
        sys.stdout.write(_new(log, last).decode(errors="replace"))
        sys.stdout.flush()
        last = log[-_REMEMBERED_BYTES:]
        if state not in ("claimed", "running"):
            sys.stderr.write(f"attempt {number}: {state}{f': {reason}' if reason else ''}\n")
            return
        if not follow:
            return
        time.sleep(_FOLLOW_S)


def _new(log: bytes, last: bytes) -> bytes:
    """What comes after ``last``, the end of what was shown; all of it where a flood has carried that away."""
    at = log.rfind(last)
    return log if not last or at < 0 else log[at + len(last) :]


def _no_attempt(job: int, state: str, attempt: int | None, known: list[int]) -> str:
    if not known:
        return f"job {job} is {state} and was never started, so it has no log; --follow waits for one that is queued"
    return f"job {job} has no attempt {attempt}: it had {', '.join(map(str, known))}"


def _log(store: "Store", job: int, number: int) -> bytes:
    """The log as far as it is in the store; it is not there before the first line."""
    from eyewall.jobs.output import log_path

    path = log_path(job, number)
    try:
        return store.read_bytes(path)
    except StorageError:
        if store.exists(path):
            raise
        return b""
