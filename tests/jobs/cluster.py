"""A made-up cluster for tests of the queue: workers with GPUs, environments, one dispatcher, and jobs on them."""

from collections.abc import Iterable
from typing import Any

from eyewall.contracts.submission import Submission
from eyewall.db.connect import Connection
from eyewall.jobs import claim, queue, workers
from eyewall.jobs.runner import Assignment, Found, Worker

IMAGE = f"registry:5000/tf@sha256:{'ab' * 32}"


class Cluster:
    """Rows as a dispatcher, a probe and `eyewall env build` would have made them; nothing is ever started."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.environment("tf", image=IMAGE, folder="/srv/tf")
        self.dispatcher = self.add_dispatcher()

    def add_dispatcher(self) -> int:
        """A row of a dispatcher that lives; its number."""
        sql = "INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('here', 7, 8) RETURNING id"
        return self.one(sql)

    def environment(self, name: str, state: str = "built", image: str | None = None, folder: str | None = None) -> None:
        """An environment, built for containers where it has an image, for processes where it has a folder."""
        self.connection.execute(
            "INSERT INTO environment (name, framework, version, recipe_sha256, state, image, folder)"
            " VALUES (%s, 'tensorflow', '2.21', %s, %s, %s, %s)",
            (name, "cd" * 32, state, image, folder),
        )

    def worker(
        self, name: str, gpus: int, generation: str = "a100", memory_gb: int = 40, kind: str = "docker", first: int = 0
    ) -> None:
        """A worker that is up, with so many GPUs of one kind."""
        workers.upsert_worker(self.connection, Worker(name, kind))  # type: ignore[arg-type]
        self.found(name, [(generation, memory_gb, "ok")] * gpus)

    def found(self, worker: str, gpus: Iterable[tuple[str, int, str]]) -> None:
        """What a probe found: (generation, GiB, state) of each GPU."""
        workers.record_gpus(
            self.connection,
            worker,
            [
                Found(number, f"{worker}-{number}", "model", generation, gib * 1024, state, "", False)  # type: ignore[arg-type]
                for number, (generation, gib, state) in enumerate(gpus)
            ],
        )

    def nodes(self, name: str, **gpus: int) -> None:
        """A worker that is a cluster, whose nodes have so many GPUs each."""
        workers.upsert_worker(self.connection, Worker(name, "kubernetes"))
        slots = [(node, number) for node, count in gpus.items() for number in range(count)]
        found = [
            Found(n, f"any/{node}/{number}", "model", "any", 40960, "ok", "", False, node)
            for n, (node, number) in enumerate(slots)
        ]
        workers.record_gpus(self.connection, name, found)

    def submit(self, **fields: Any) -> int:
        """A job of ``ann`` in the environment ``tf``, unless said otherwise; its number."""
        values = {"command": ["python", "train.py"], "environment": "tf", "owner": "ann"} | fields
        return queue.submit(self.connection, Submission.parse(values))

    def claim(self, **values: Any) -> Assignment | None:
        """The next claim of the one dispatcher."""
        return claim.claim(self.connection, self.dispatcher, **values)

    def claimed(self) -> list[int]:
        """Claim all that fits; the jobs in their order."""
        jobs = []
        while (got := self.claim()) is not None:
            jobs.append(got.job)
        return jobs

    def end(self, job: int, state: str = "succeeded", exit_code: int | None = 0, reason: str = "") -> bool:
        """The live attempt of a job ends."""
        attempt, token = self.row("SELECT id, token FROM attempt WHERE job = %s AND ended_at IS NULL", job)
        return claim.end(self.connection, attempt, token, state, exit_code, reason)  # type: ignore[arg-type]

    def age(self, job: int, hours: float) -> None:
        """Let a job have been queued so many hours ago."""
        self.connection.execute(
            "UPDATE job SET queued_at = queued_at - %s * interval '1 hour' WHERE id = %s", (hours, job)
        )

    def state(self, job: int) -> str:
        """State of a job."""
        return str(self.one("SELECT state FROM job WHERE id = %s", job))

    def why(self, job: int) -> str:
        """Why a job waits."""
        return str(self.one("SELECT why FROM queue_order WHERE job = %s", job))

    def row(self, sql: str, *values: Any) -> tuple[Any, ...]:
        """The one row of a query."""
        (row,) = self.connection.execute(sql.encode(), values).fetchall()
        return row

    def one(self, sql: str, *values: Any) -> Any:
        """The one value of a query."""
        (value,) = self.row(sql, *values)
        return value
