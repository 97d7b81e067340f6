"""The job queue against a real PostgreSQL: decisions a second, their cost against the queue's length, and its order.

    .venv/bin/python benchmarks/job_queue.py decisions      # 15,000 jobs on 1,000 GPUs: claims a second, ~1 min
    .venv/bin/python benchmarks/job_queue.py length         # the cost of a claim, 1,000 to 100,000 jobs, ~3 min
    .venv/bin/python benchmarks/job_queue.py simulation     # idle time while a fitting job waits, ~5 min
    .venv/bin/python benchmarks/job_queue.py starvation     # the lowest class under a stream of the highest, ~2 min

The server is the embedded one, in a folder of its own. Every claim and end is `eyewall.jobs.claim`'s: the same
statements, triggers and commits (on disk) as a dispatcher's; only that no program is started. In the simulation the
functions of the database that tell the time are ours, so that hours pass in a moment and the SQL is the same.
"""

import argparse
import heapq
import json
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from eyewall.contracts.queueing import QueueSettings
from eyewall.db.connect import Connection, migrate
from eyewall.db.statements import statement
from eyewall.jobs import claim
from eyewall.jobs.policy import set_policy
from eyewall.jobs.runner import Assignment
from eyewall.platform import postgres
from eyewall.progress import progress

SEED = 20261121
HOSTS, GPUS_OF_HOST = 125, 8
#: generation → (GiB of a GPU, share of the hosts)
GENERATIONS = {"h100": (80, 0.2), "a100": (40, 0.4), "v100": (16, 0.4)}
OWNERS, ENVIRONMENTS = 20, ("tensorflow-2.21", "tensorflow-2.17", "pytorch-2.13")
#: (GPUs, generations, GiB, weight): what people ask for.
DEMANDS = (
    (1, (), 0, 40), (1, ("a100", "h100"), 0, 20), (1, ("h100",), 0, 8), (1, (), 32, 10), (1, ("v100",), 0, 10),
    (2, (), 0, 5), (2, ("a100", "h100"), 40, 3), (4, ("h100",), 0, 2), (8, (), 0, 2),
)  # fmt: skip


@contextmanager
def server() -> Iterator[str]:
    """Socket of an embedded server of this run's own."""
    with tempfile.TemporaryDirectory(prefix="eyewall-bench-") as name:
        folder = Path(name) / "postgres"
        yield postgres.start(folder)
        postgres.stop(folder)


@contextmanager
def database(socket: str, clock: bool = False) -> Iterator[tuple[Connection, str]]:
    """A connection to a new database with the schema, and its URL; with ``clock`` its time is what we set it to."""
    name = f"b{uuid.uuid4().hex[:10]}"
    with psycopg.connect(postgres.uri(socket, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = postgres.uri(socket, name)
    if clock:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA simulated")
            connection.execute(
                "CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
                " AS $$ SELECT to_timestamp(current_setting('simulated.now')::float8) $$"
            )
            connection.execute(f'ALTER DATABASE "{name}" SET search_path = simulated, public, pg_catalog'.encode())
            connection.execute(f"ALTER DATABASE \"{name}\" SET simulated.now = '0'".encode())
    with psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        connection.execute(statement("jobs/session"), {"actor": "bench"})
        yield connection, url


def make_hosts(connection: Connection, hosts: int = HOSTS) -> None:
    """Docker hosts with so many GPUs each, their generations in turn by share; built environments; one dispatcher."""
    for name in ENVIRONMENTS:
        connection.execute(
            "INSERT INTO environment (name, framework, version, recipe_sha256, image, state)"
            " VALUES (%s, 'any', '1', %s, %s, 'built')",
            (name, "0" * 64, f"registry/{name}@sha256:{'0' * 64}"),
        )
    connection.execute("INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('bench', 1, 1)")
    kinds = [name for name, (_, share) in GENERATIONS.items() for _ in range(math.ceil(share * hosts))][:hosts]
    random.Random(SEED).shuffle(kinds)
    for number, kind in enumerate(kinds):
        connection.execute("INSERT INTO worker (name, kind) VALUES (%s, 'docker')", (f"host-{number:04d}",))
        connection.execute(
            "INSERT INTO gpu (worker, number, uuid, generation, memory_mb)"
            " SELECT %s, n, 'GPU-' || n, %s, %s FROM generate_series(0, %s) n",
            (f"host-{number:04d}", kind, GENERATIONS[kind][0] * 1024, GPUS_OF_HOST - 1),
        )


@dataclass(frozen=True)
class Asked:
    """One job as the benchmark makes it up."""

    owner: str
    environment: str
    gpus: int
    generations: tuple[str, ...]
    memory_gb: int
    priority: int


def jobs_asked(count: int, seed: int = SEED) -> list[Asked]:
    """So many jobs of 20 owners, few of whom ask for most; priorities mostly 5."""
    rng = random.Random(seed)
    owners = [f"user{number:02d}" for number in range(OWNERS)]
    weights = [1 / (rank + 1) for rank in range(OWNERS)]
    asked = []
    for _ in range(count):
        gpus, generations, memory_gb, _ = rng.choices(DEMANDS, [weight for *_, weight in DEMANDS])[0]
        asked.append(
            Asked(
                rng.choices(owners, weights)[0], rng.choice(ENVIRONMENTS), gpus, generations, memory_gb,
                rng.choices((0, 3, 5, 7, 9), (2, 1, 10, 2, 1))[0],
            )
        )  # fmt: skip
    return asked


INSERT = (
    "INSERT INTO job (owner, environment, command, gpus, generations, memory_mb, priority)"
    " VALUES (%s, %s, '{python,train.py}', %s, %s, %s, %s) RETURNING id"
)


def insert(connection: Connection, asked: list[Asked]) -> list[int]:
    """Put jobs into the queue; their numbers."""
    ids: list[int] = []
    if not asked:
        return ids
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            INSERT,
            [(a.owner, a.environment, a.gpus, list(a.generations), a.memory_gb * 1024, a.priority) for a in asked],
            returning=True,
        )
        while True:
            ids.append(cursor.fetchone()[0])
            if not cursor.nextset():
                return ids


def steady(
    url: str, dispatcher: int, rounds: int, seed: int, fifo: bool, out: "multiprocessing.Queue[dict[str, list[float]]]"
) -> None:
    """One dispatcher of a full cluster: an attempt ends, the freed GPUs are claimed; seconds of each claim and end."""
    rng = random.Random(seed)
    spent: dict[str, list[float]] = {"claim": [], "nothing": [], "end": []}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement("jobs/session"), {"actor": f"dispatcher {dispatcher}"})  # as a dispatcher's
        if fifo:
            undisturbed(connection)
        mine: list[Assignment] = []
        while (got := claim.claim(connection, dispatcher)) is not None:
            mine.append(got)
        connection.execute("VACUUM ANALYZE")  # as autovacuum does within a minute
        out.put({})  # full: wait for the others
        started = time.perf_counter()
        while len(spent["claim"]) < rounds and mine:
            ended = mine.pop(rng.randrange(len(mine)))
            t0 = time.perf_counter()
            claim.end(connection, ended.attempt, ended.token, "succeeded", 0, "")
            t1 = time.perf_counter()
            spent["end"].append(t1 - t0)
            while True:
                t1 = time.perf_counter()
                got = claim.claim(connection, dispatcher)
                t2 = time.perf_counter()
                spent["nothing" if got is None else "claim"].append(t2 - t1)
                if got is None:
                    break
                mine.append(got)
        spent["wall"] = [time.perf_counter() - started]
    out.put(spent)


def undisturbed(connection: Connection) -> None:
    """Let this process and its server process go before all others of the machine: for a busy one, as root."""
    for pid in (0, connection.info.backend_pid):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(5))


def decisions(count: int, dispatchers: int, rounds: int, fifo: bool) -> dict[str, float]:
    """Claims of a full cluster by so many dispatchers at once."""
    with server() as socket, database(socket) as (connection, url):
        make_hosts(connection)
        insert(connection, jobs_asked(count))
        for _ in range(dispatchers - 1):
            connection.execute("INSERT INTO dispatcher (host, pid, backend_pid) VALUES ('bench', 1, 1)")
        connection.execute("VACUUM ANALYZE")
        out: multiprocessing.Queue[dict[str, list[float]]] = multiprocessing.Queue()
        processes = [
            multiprocessing.Process(target=steady, args=(url, number + 1, rounds, number, fifo, out))
            for number in range(dispatchers)
        ]
        t0 = time.perf_counter()
        for process in processes:
            process.start()
        for _ in processes:
            out.get()
        filled_s = time.perf_counter() - t0
        spent = [out.get() for _ in processes]
        for process in processes:
            process.join()
        running = connection.execute("SELECT count(*) FROM lease WHERE released_at IS NULL").fetchone()[0]
    claims = [seconds for one in spent for seconds in one["claim"]]
    nothing = [seconds for one in spent for seconds in one["nothing"]]
    ends = [seconds for one in spent for seconds in one["end"]]
    wall = max(one["wall"][0] for one in spent)
    return {
        "dispatchers": dispatchers,
        "queued": count,
        "fill_s": filled_s,
        "leased": running,
        "decisions_a_s": (len(claims) + len(nothing)) / wall,
        "claims_and_ends_a_s": (len(claims) + len(ends)) / wall,
        "claims_a_s": len(claims) / wall,
        "claim_ms": statistics.median(claims) * 1e3,
        "claim_p95_ms": statistics.quantiles(claims, n=20)[-1] * 1e3,
        "nothing_ms": statistics.median(nothing) * 1e3,
        "end_ms": statistics.median(ends) * 1e3,
    }


def length(lengths: list[int], rounds: int, fifo: bool) -> list[dict[str, float]]:
    """Cost of a claim on a full cluster, by how many jobs wait: seconds of wall and of the server's processor."""
    found = []
    with server() as socket:
        for count in lengths:
            with database(socket) as (connection, _):
                make_hosts(connection)
                insert(connection, jobs_asked(2000))
                if fifo:
                    undisturbed(connection)
                live = []
                while (got := claim.claim(connection, 1)) is not None:
                    live.append(got)
                waiting = connection.execute("SELECT count(*) FROM job WHERE state = 'queued'").fetchone()[0]
                insert(connection, jobs_asked(max(0, count - waiting), SEED + 1))
                connection.execute("VACUUM ANALYZE")
                lanes = connection.execute(
                    "SELECT count(DISTINCT (gpus, memory_mb, generations, environment, owner)) FROM job"
                    " WHERE state = 'queued'"
                ).fetchone()[0]
                rng, spent = random.Random(SEED), []
                before = server_cpu_s(connection)
                while len(spent) < rounds:
                    ended = live.pop(rng.randrange(len(live)))
                    claim.end(connection, ended.attempt, ended.token, "succeeded", 0, "")
                    while True:
                        t0 = time.perf_counter()
                        got = claim.claim(connection, 1)
                        spent.append(time.perf_counter() - t0)
                        if got is None:
                            break
                        live.append(got)
                found.append(
                    {
                        "queued": count,
                        "lanes": lanes,
                        "claim_ms": statistics.median(spent) * 1e3,
                        "claim_p95_ms": statistics.quantiles(spent, n=20)[-1] * 1e3,
                        "server_cpu_ms": (server_cpu_s(connection) - before) / len(spent) * 1e3,
                    }
                )
                show(found[-1])
    return found


def server_cpu_s(connection: Connection) -> float:
    """Processor seconds of the server process of this connection: they say more than the clock on a busy machine."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Simulation:
    """A cluster in simulated time. The dispatcher is one, and its real seconds are charged as simulated ones."""

    def __init__(self, connection: Connection, charged: bool = True) -> None:
        self.connection, self.charged = connection, charged
        self.now_s = self.free_s = 0.0  # the clock; until when the dispatcher is busy
        self.ends: list[tuple[float, int, Assignment]] = []
        self.asked: dict[int, tuple[Asked, float, float]] = {}  # job → what, its duration, when it was queued
        self.waited_s: dict[int, float] = {}
        self.changes: list[tuple[float, str, int, Asked, int]] = []  # time, host, GPUs freed, demand, jobs that wait

    def submit(self, asked: list[Asked], durations_s: list[float]) -> None:
        """Jobs arrive now."""
        self._tell(self.now_s)
        for job, one, duration_s in zip(insert(self.connection, asked), asked, durations_s, strict=True):
            self.asked[job] = (one, duration_s, self.now_s)
            self.changes.append((self.now_s, "", 0, one, 1))

    def dispatch(self) -> list[int]:
        """Claim until nothing fits; the jobs that started."""
        started = []
        while (got := self._do(claim.claim, self.connection, 1)) is not None:
            asked, duration_s, queued_s = self.asked[got.job]
            heapq.heappush(self.ends, (self.free_s + duration_s, got.attempt, got))
            self.waited_s[got.job] = self.free_s - queued_s
            self.changes.append((self.free_s, got.worker.name, -len(got.gpus), asked, -1))
            started.append(got.job)
        return started

    def step(self) -> None:
        """The next job ends."""
        self.now_s, _, got = heapq.heappop(self.ends)
        self.changes.append((self.now_s, got.worker.name, len(got.gpus), self.asked[got.job][0], 0))
        self._do(claim.end, self.connection, got.attempt, got.token, "succeeded", 0, "")

    def _do(self, action: Any, *values: Any) -> Any:
        self.free_s = max(self.free_s, self.now_s)
        self._tell(self.free_s)
        t0 = time.perf_counter()
        result = action(*values)
        self.free_s += (time.perf_counter() - t0) * self.charged
        return result

    def _tell(self, now_s: float) -> None:
        # From 1970 on; no job may have been queued before that.
        self.connection.execute("SELECT set_config('simulated.now', %s, false)", (repr(now_s + 1e6),))

    def idle(self) -> tuple[float, float, float]:
        """GPU hours used, idle while a job waited that would have fitted there, and idle for want of one."""
        hosts = {
            name: (generation, memory_mb // 1024, count)
            for name, generation, memory_mb, count in self.connection.execute(
                "SELECT worker, min(generation), min(memory_mb), count(*) FROM gpu GROUP BY worker"
            )
        }
        free = {name: count for name, (_, _, count) in hosts.items()}
        waiting: Counter[tuple[int, tuple[str, ...], int]] = Counter()
        total, used_s, wanted_s, idle_s, last = sum(free.values()), 0.0, 0.0, 0.0, 0.0
        for time_s, host, gpus, asked, jobs in sorted(self.changes, key=lambda change: change[0]):
            if time_s > last:
                unused = sum(free.values())
                wanted = sum(
                    most_used(count, hosts[name][0], hosts[name][1], waiting) for name, count in free.items() if count
                )
                used_s += (total - unused) * (time_s - last)
                wanted_s += wanted * (time_s - last)
                idle_s += (unused - wanted) * (time_s - last)
                last = time_s
            if host:
                free[host] += gpus
            waiting[(asked.gpus, asked.generations, asked.memory_gb)] += jobs
        return used_s / 3600, wanted_s / 3600, idle_s / 3600


def most_used(
    count: int, generation: str, memory_gb: int, waiting: Mapping[tuple[int, tuple[str, ...], int], int]
) -> int:
    """Of ``count`` free GPUs of one host: how many some one kind of waiting jobs could use."""
    return max(
        (
            min(count // gpus, jobs) * gpus
            for (gpus, generations, wanted_gb), jobs in waiting.items()
            if jobs and memory_gb >= wanted_gb and generation in (generations or (generation,))
        ),
        default=0,
    )


def durations_s(count: int, seed: int) -> list[float]:
    """Lognormal: half of the jobs take less than 40 min, the mean is 66 min, none takes more than 12 h."""
    rng = random.Random(seed)
    return [min(12 * 3600.0, rng.lognormvariate(math.log(40 * 60), 1.0)) for _ in range(count)]


def backlog(socket: str, count: int, hosts: int, rules: QueueSettings, charged: bool = True) -> dict[str, float]:
    """So many jobs are in the queue at once; until the last has ended."""
    with database(socket, clock=True) as (connection, _):
        make_hosts(connection, hosts)
        set_policy(connection, rules, "bench")
        simulation = Simulation(connection, charged)
        simulation.submit(jobs_asked(count), durations_s(count, SEED))
        connection.execute("ANALYZE")
        started = len(simulation.dispatch())
        with progress("simulation", total=count, unit="jobs") as advance:
            advance(started)
            while simulation.ends:
                simulation.step()
                advance(len(simulation.dispatch()))
        used_h, wanted_h, idle_h = simulation.idle()
        gangs = [wait for job, wait in simulation.waited_s.items() if simulation.asked[job][0].gpus == 8]
        return {
            "jobs": len(simulation.waited_s),
            "gpus": hosts * GPUS_OF_HOST,
            "hours": simulation.now_s / 3600,
            "used_gpu_h": used_h,
            "idle_but_wanted_gpu_h": wanted_h,
            "idle_unwanted_gpu_h": idle_h,
            "used_of_offered_percent": 100 * used_h / (used_h + wanted_h),
            "gangs_of_8": len(gangs),
            "longest_wait_of_a_gang_h": max(gangs, default=0) / 3600,
        }


def starvation(socket: str, hosts: int, hours: float, rules: QueueSettings) -> dict[str, float]:
    """There is always a fresh job of the highest class in the queue; the lowest class arrives once in a while."""
    rng = random.Random(SEED)
    with database(socket, clock=True) as (connection, _):
        make_hosts(connection, hosts)
        set_policy(connection, rules, "bench")
        simulation = Simulation(connection)
        capacity = hosts * GPUS_OF_HOST
        low: list[int] = []
        next_low_s = 0.0
        with progress("starvation", total=round(hours), unit="hours") as advance:
            while simulation.now_s < hours * 3600:
                missing = max(2, capacity // 4) - sum(
                    1
                    for job in simulation.asked
                    if job not in simulation.waited_s and simulation.asked[job][0].priority
                )
                stream = [Asked(f"user{rng.randrange(8)}", ENVIRONMENTS[0], 1, (), 0, 9) for _ in range(missing)]
                simulation.submit(stream, durations_s(missing, rng.randrange(10**9)))
                if simulation.now_s >= next_low_s:
                    simulation.submit([Asked("patient", ENVIRONMENTS[0], 1, (), 0, 0)], [3600.0])
                    low.append(max(simulation.asked))
                    next_low_s += 3600.0
                    advance(1)
                running = {got.job for _, _, got in simulation.ends}
                simulation.asked = {  # what ended, but for those that we ask about
                    job: asked
                    for job, asked in simulation.asked.items()
                    if job not in simulation.waited_s or job in running or not asked[0].priority
                }
                simulation.dispatch()
                simulation.step()
        # Those that arrived so late that the bound lies behind the end say nothing.
        due = [job for job in low if simulation.asked[job][2] + rules.bound_s < hours * 3600]
        waits = [simulation.waited_s.get(job, math.inf) for job in due]
        return {
            "gpus": capacity,
            "hours": hours,
            "stream_jobs": len(simulation.waited_s) - len(low),
            "lowest_class_jobs": len(waits),
            "median_wait_h": statistics.median(waits) / 3600,
            "longest_wait_h": max(waits) / 3600,
            "bound_h": rules.bound_s / 3600,
        }


def main() -> None:
    """Run one part; one line of JSON a result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", choices=["decisions", "length", "simulation", "starvation"])
    parser.add_argument("--jobs", type=int, default=15_000)
    parser.add_argument("--hosts", type=int, default=HOSTS, help="of eight GPUs each, in the simulation")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--dispatchers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000])
    parser.add_argument("--hours", type=float, default=30)
    parser.add_argument("--fifo", action="store_true", help="real-time priority, for a busy machine; needs root")
    options = parser.parse_args()
    if options.part == "decisions":
        for dispatchers in options.dispatchers:
            show(decisions(options.jobs, dispatchers, options.rounds, options.fifo))
    elif options.part == "length":
        found = length(options.lengths, options.rounds, options.fifo)
        growth = found[-1]["server_cpu_ms"] / found[0]["server_cpu_ms"]
        show({"growth": growth, "of_log": math.log(options.lengths[-1]) / math.log(options.lengths[0])})
    elif options.part == "simulation":
        with server() as socket:
            show(backlog(socket, options.jobs, options.hosts, QueueSettings()))
    else:
        with server() as socket:
            show(starvation(socket, min(options.hosts, 4), options.hours, QueueSettings()))


def show(result: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps({key: round(value, 2) for key, value in result.items()}), flush=True)


if __name__ == "__main__":
    main()
