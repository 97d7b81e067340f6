"""How a triggerer hears from the job queue: PostgreSQL tells it (LISTEN), and it looks now and then all the same.

A connection that breaks is made anew after a pause that grows; nothing is lost by that, as every look asks for the
state itself and a notification only says when to look.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from operators.database import adatabase_url

if TYPE_CHECKING:
    import psycopg

#: The safety net under notifications.
LOOK_S = 30.0
#: Pauses before the database is tried again: the first, and the longest.
RETRY_S = (1.0, 30.0)
_TURN_S = 1.0  # how long one wait for a notification lasts

log = logging.getLogger(__name__)


@asynccontextmanager
async def listening(channel: str) -> "AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]":
    """A connection that hears ``channel``. Raises psycopg.Error, or AirflowException where no database is named."""
    import psycopg

    connection = await psycopg.AsyncConnection.connect(
        await adatabase_url(),
        autocommit=True,
        connect_timeout=10,
        keepalives_idle=15,  # a host that went away without a word is noticed within half a minute
        keepalives_interval=5,
        keepalives_count=3,
        application_name="eyewall-triggerer",
    )
    async with connection:
        await connection.execute(f"LISTEN {channel}".encode())
        yield connection


async def heard(connection: "psycopg.AsyncConnection[tuple[Any, ...]]", within_s: float) -> list[str]:
    """Payloads of the next notifications, at once when there are any; empty after ``within_s`` of silence."""
    return [notify.payload async for notify in connection.notifies(timeout=within_s, stop_after=1)]


class Patience:
    """The growing pause between attempts to reach the database."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._pause_s = 0.0

    def reset(self) -> None:
        """The database has answered."""
        self._pause_s = 0.0

    async def after(self, error: Exception) -> None:
        """Say what is wrong, without the URL, and wait."""
        self._pause_s = min(self._pause_s * 2 or RETRY_S[0], RETRY_S[1])
        reason = " ".join(str(error).split()) or type(error).__name__
        log.warning("%s: the database does not answer (%s); again in %.0f s", self._what, reason, self._pause_s)
        await asyncio.sleep(self._pause_s)


class Ends:
    """The ends that triggers of this process wait for: one connection, however many they are."""

    def __init__(self, what: str, channel: str, question: str) -> None:
        """``channel`` tells when to look; ``question`` is the statement that finds those of some numbers at an end."""
        self._what, self._channel, self._question = what, channel, question
        self._waiting: dict[int, set[asyncio.Future[str]]] = {}
        self._new = False
        self._task: asyncio.Task[None] | None = None

    async def state_of(self, number: int) -> str:
        """Wait for the end of job or search ``number``: its last state; gone where there is none of that number."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(number, set()).add(future)
        self._new = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        try:
            return await future
        finally:
            futures = self._waiting.get(number, set())
            futures.discard(future)
            if not futures:
                self._waiting.pop(number, None)

    async def _listen(self) -> None:
        import psycopg

        patience = Patience(f"waiting for {self._what}")
        while self._waiting:
            try:
                async with listening(self._channel) as connection:
                    await self._look_again_and_again(connection, patience)
            except (psycopg.Error, OSError, AirflowException) as error:
                await patience.after(error)

    async def _look_again_and_again(
        self, connection: "psycopg.AsyncConnection[tuple[Any, ...]]", patience: Patience
    ) -> None:
        from eyewall.db.statements import statement

        due = 0.0
        while self._waiting:
            if self._new or time.monotonic() >= due:
                self._new = False
                due = time.monotonic() + LOOK_S
                rows = await connection.execute(statement(self._question), {"ids": list(self._waiting)})
                patience.reset()
                for number, state in await rows.fetchall():
                    self._tell(number, state)
            told = await heard(connection, _TURN_S)
            if any(payload.isdecimal() and int(payload) in self._waiting for payload in told):
                due = 0.0

    def _tell(self, number: int, state: str) -> None:
        for future in self._waiting.get(number, ()):
            if not future.done():
                future.set_result(state)
