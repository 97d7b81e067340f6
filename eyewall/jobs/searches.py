"""Searches beside a dispatcher: one process, `eyewall sweep keep`, runs all of those that nobody runs.

A process of its own, since Optuna takes memory and time that the queue must not wait for. It holds our pipe: when this
dispatcher ends, by kill -9 as well, so does it, and the next dispatcher starts another one.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable

from eyewall.db.connect import VARIABLE
from eyewall.db.statements import statement
from eyewall.jobs.database import Database

#: One that ended for a reason of its own is started again after so long.
AGAIN_S = 30.0
_LEAVE_S = 3.0


class Searches:
    """The process that runs searches, where there is need for one."""

    def __init__(self, database: Database, url: str, say: Callable[[str], None]) -> None:
        """``url`` reaches the process in its environment."""
        self._database, self._url, self._say = database, url, say
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    def look(self) -> None:
        """Start the process where a search has nobody to run it. Raises Closing, psycopg.Error."""
        if self.at_work or time.monotonic() < self._not_before:
            return
        waiting = self._database.run(lambda c: c.execute(statement("sweeps/to_run")).fetchall())
        if waiting:
            self._say(f"running {len(waiting)} searches" if len(waiting) > 1 else f"running search {waiting[0][0]}")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eyewall.cli", "sweep", "keep"],
                env={**os.environ, VARIABLE: self._url},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
            )

    @property
    def at_work(self) -> bool:
        """Whether the process lives; the code of one that failed is said, once."""
        if self._process is None:
            return False
        if (code := self._process.poll()) is None:
            return True
        self.close()
        if code != 0:
            self._not_before = time.monotonic() + AGAIN_S
            self._say(f"the process that runs searches ended with exit code {code}, another one comes in {AGAIN_S:g} s")
        return False

    def close(self) -> None:
        """Let the process end; its searches go on with the next one."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
