"""What the triggerer waits for: work in the queue that nobody sees to, the end of a job, the end of a search.

No trigger cancels anything when its task is marked: Airflow tells a trigger of that only once it runs, and of a cleared
task in the same way. Of a marked one the API server tells `plugins/marked_tasks.py`, at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from operators.job_ends import LOOK_S, Ends, Patience, heard, listening

#: After an event, a dispatcher gets so long to come before the next one; twice as long each time, up to the second.
#: Else events would pile up where the DAG that starts dispatchers cannot run.
AGAIN_S = (60.0, 960.0)
#: Thousands of jobs may be submitted at once: the notifications of so long are one.
SETTLE_S = 0.1


class QueueTrigger(BaseEventTrigger):
    """An event whenever there is work on the job queue and no dispatcher is alive to see to it."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """No arguments: the database's URL would be kept in Airflow's database."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Events for as long as the triggerer lets it; never ends by itself, whatever the database does."""
        import psycopg

        patience = Patience("listening to the job queue")
        self._again_s = 0.0
        self._quiet_until = 0.0
        while True:
            try:
                async with listening("eyewall_queue") as connection:
                    while True:
                        if await self._needs_dispatcher(connection):
                            yield TriggerEvent({"at": time.time()})  # type: ignore[no-untyped-call]
                        patience.reset()
                        if await heard(connection, self._turn_s()):
                            await asyncio.sleep(SETTLE_S)
            except (psycopg.Error, OSError, AirflowException) as error:
                await patience.after(error)

    async def _needs_dispatcher(self, connection: Any) -> bool:
        """Whether to say so now: there is need, and the last event has had its time."""
        from eyewall.db.statements import statement

        row = await (await connection.execute(statement("jobs/needs_dispatcher"))).fetchone()
        now = time.monotonic()
        if not row[0]:
            self._again_s, self._quiet_until = 0.0, 0.0
            return False
        if now < self._quiet_until:
            return False
        self._again_s = min(self._again_s * 2 or AGAIN_S[0], AGAIN_S[1])
        self._quiet_until = now + self._again_s
        return True

    def _turn_s(self) -> float:
        """How long to wait for a notification before looking all the same."""
        remaining = self._quiet_until - time.monotonic()
        return min(LOOK_S, remaining) if remaining > 0 else LOOK_S


_ends: dict[tuple[asyncio.AbstractEventLoop, str], Ends] = {}


def _ends_of(what: str, channel: str, question: str) -> Ends:
    """Those of this event loop: one connection for all of its triggers."""
    key = (asyncio.get_running_loop(), what)
    if key not in _ends:
        _ends[key] = Ends(what, channel, question)
    return _ends[key]


class JobTrigger(BaseTrigger):
    """One event when ``job`` has ended: {"job": its number, "state": its state}.

    :param job: the number that the submission gave
    """

    def __init__(self, job: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = job

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The job's number."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"job": self.job}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event."""
        state = await _ends_of("jobs", "eyewall_job", "jobs/ends").state_of(self.job)
        yield TriggerEvent({"job": self.job, "state": state})  # type: ignore[no-untyped-call]


class SearchTrigger(BaseTrigger):
    """One event when a search and all of its jobs have ended: {"search": its name, "state": its state}.

    :param number: of the search
    :param name: of the search
    """

    def __init__(self, number: int, name: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number, self.name = number, name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Number and name."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"number": self.number, "name": self.name}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event."""
        state = await _ends_of("searches", "eyewall_sweep", "sweeps/ends").state_of(self.number)
        yield TriggerEvent({"search": self.name, "state": state})  # type: ignore[no-untyped-call]
