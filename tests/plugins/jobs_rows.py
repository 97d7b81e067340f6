"""A day on the job platform as rows: made by the queue's own functions, then moved back in time."""

import math
import random
from pathlib import Path

from psycopg.types.json import Jsonb

from eyewall.contracts.submission import Submission
from eyewall.db.connect import Connection
from eyewall.jobs import claim, queue, workers
from eyewall.jobs.runner import Found, Worker

TRAIN = ("python", "train.py", "--data", "records/wp-2015-2024", "--epochs", "60")
_DIGEST = "@sha256:" + "5e" * 32


def environments(connection: Connection) -> None:
    """Three built ones, for containers and for processes."""
    for name in ("tensorflow-2.21", "tensorflow-2.16", "pytorch-2.13"):
        framework, version = name.split("-")
        connection.execute(
            "INSERT INTO environment (name, framework, version, recipe_sha256, image, folder, state)"
            " VALUES (%s, %s, %s, %s, %s, '/usr', 'built')",
            (name, framework, version, "a7" * 32, f"registry.example/eyewall/{name}{_DIGEST}"),
        )


def hosts(connection: Connection) -> None:
    """Two hosts with GPUs, of which two are not to be had, and one that does not answer."""
    for name, url in (("gpu-1", "ssh://gpu-1"), ("gpu-2", "ssh://gpu-2"), ("gpu-3", "ssh://gpu-3")):
        workers.upsert_worker(connection, Worker(name, "docker", url))
    kinds = {"gpu-1": ("H100", "h100", 81_920), "gpu-2": ("A100", "a100", 40_960), "gpu-3": ("V100", "v100", 16_384)}
    for worker, (model, generation, memory_mb) in kinds.items():
        found = [
            Found(number, f"GPU-{worker}-{number}", f"NVIDIA {model}", generation, memory_mb, "ok", "", declared=False)
            for number in range(2 if worker == "gpu-3" else 4)
        ]
        if worker == "gpu-2":
            found[2] = found[2]._replace(state="foreign", reason="process 4127 (python3) is not ours")
            found[3] = found[3]._replace(state="failed", reason="Xid 79: fallen off the bus")
        workers.record_gpus(connection, worker, found)
    workers.set_worker_state(connection, "gpu-3", "unreachable", "ssh: connect to host gpu-3 port 22: no route to host")


def dispatcher(connection: Connection) -> int:
    """A dispatcher that lives, for as long as a test lasts."""
    row = connection.execute(
        "INSERT INTO dispatcher (host, pid, backend_pid, heartbeat_at)"
        " VALUES ('master', 4711, pg_backend_pid(), clock_timestamp() + interval '1 hour') RETURNING id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def submit(connection: Connection, name: str, owner: str, **fields: object) -> int:
    """One job; its number."""
    values = {
        "command": TRAIN,
        "environment": "tensorflow-2.21",
        "code": "code/track-lstm",
        "name": name or None,
        "owner": owner,
    }
    return queue.submit(connection, Submission.parse({**values, **fields}))


def start(connection: Connection, of: int, ago_s: float) -> int:
    """Claim whatever comes next and let it have begun ``ago_s`` ago; the attempt."""
    given = claim.claim(connection, of)
    assert given is not None
    connection.execute(
        "UPDATE attempt SET state = 'running', claimed_at = clock_timestamp() - make_interval(secs => %(s)s + 2),"
        " started_at = clock_timestamp() - make_interval(secs => %(s)s) WHERE id = %(id)s",
        {"s": ago_s, "id": given.attempt},
    )
    connection.execute(
        "UPDATE job SET submitted_at = submitted_at - make_interval(secs => %(s)s + 60),"
        " queued_at = queued_at - make_interval(secs => %(s)s + 60) WHERE id = %(job)s",
        {"s": ago_s, "job": given.job},
    )
    return given.attempt


def finish(connection: Connection, attempt: int, state: str, exit_code: int | None, reason: str, ago_s: float) -> None:
    """End an attempt, so long ago."""
    assert claim.end(connection, attempt, 1, state, exit_code, reason)  # type: ignore[arg-type]
    connection.execute(
        "WITH a AS (UPDATE attempt SET ended_at = clock_timestamp() - make_interval(secs => %(s)s) WHERE id = %(id)s"
        " RETURNING job) UPDATE job SET ended_at = clock_timestamp() - make_interval(secs => %(s)s)"
        " FROM a WHERE job.id = a.job AND ended_at IS NOT NULL",
        {"s": ago_s, "id": attempt},
    )


def report(connection: Connection, attempt: int, metric: str, values: list[float]) -> None:
    """Values of one metric, at steps 1, 2 and so on."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO report (attempt, metric, step, value) VALUES (%s, %s, %s, %s)",
            [(attempt, metric, step, value) for step, value in enumerate(values, 1)],
        )


def loss(steps: int, final: float, seed: int) -> list[float]:
    """A learning curve that falls towards ``final``."""
    noise = random.Random(seed)
    return [
        final + (2.3 - final) * math.exp(-step / 9) * noise.uniform(0.86, 1.1) + noise.uniform(0, 0.02)
        for step in range(steps)
    ]


def log(store: Path, job: int, number: int, losses: list[float]) -> None:
    """An output as a training prints it."""
    path = store / "jobs" / str(job) / str(number) / "log.txt"
    path.parent.mkdir(parents=True)
    lines = ["reading records/wp-2015-2024: 41 shards, 182 334 sequences", "model track-lstm: 1.8 M parameters", ""]
    for step, value in enumerate(losses, 1):
        lines.append(f"epoch {step:>3}/60  loss {value:.4f}  24 h error {70 + 90 * value:6.1f} km  \x1b[32m31 s\x1b[0m")
        lines.append(f'eyewall-report {{"step": {step}, "metric": "loss", "value": {value:.4f}}}')
    path.write_text("\n".join(lines) + "\n")


def a_day(connection: Connection, store: Path) -> None:
    """All of it, given the environments: history, running jobs with curves and outputs, a queue with reasons."""
    hosts(connection)
    master = dispatcher(connection)
    _past(connection, master, store)
    _search(connection, master)
    _running(connection, master, store)
    _waiting(connection)


def _past(connection: Connection, master: int, store: Path) -> None:
    ends = [
        ("track-lstm-baseline", "tracks", "succeeded", 0, "", 5400),
        ("intensity-cnn", "intensity", "succeeded", 0, "", 7320),
        ("nowcast-unet", "nowcast", "failed", 1, "exit code 1: ModuleNotFoundError: No module named 'einops'", 38),
        ("intensity-cnn-wide", "intensity", "failed", 137, "killed by the kernel: out of memory", 1260),
        ("track-gru", "tracks", "cancelled", 143, "cancelled by tracks", 640),
        ("eye-segmentation", "nowcast", "succeeded", 0, "", 9875),
        ("track-transformer", "tracks", "succeeded", 0, "", 12_610),
        ("cliper-check", "tracks", "succeeded", 0, "", 74),
    ]
    for index, (name, owner, state, code, reason, ran_s) in enumerate(ends):
        job = submit(connection, name, owner)
        ended_ago = 1800 + 2900 * (len(ends) - index)
        attempt = start(connection, master, ended_ago + ran_s)
        losses = loss(60, 0.2 + 0.03 * index, index)
        report(connection, attempt, "loss", losses)
        log(store, job, 1, losses)
        finish(connection, attempt, state, code, reason, ended_ago)


def _search(connection: Connection, master: int) -> None:
    parameters = {
        "lr": {"type": "float", "low": 1e-4, "high": 3e-2, "log": True},
        "layers": {"type": "int", "low": 1, "high": 4},
        "units": {"type": "int", "low": 32, "high": 256},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
        "cell": {"type": "categorical", "choices": ["lstm", "gru"]},
    }
    spec = {
        "objective": {"metric": "error_24h_km", "direction": "minimize", "value": "last"},
        "budget": {"trials": 64},
        "sampler": {"kind": "tpe"},
        "pruner": {"kind": "asha"},
        "parameters": parameters,
        "job": {"variables": {"TOKEN": "a-secret-of-somebody"}},
    }
    row = connection.execute(
        "INSERT INTO sweep (name, owner, spec) VALUES ('track-lstm-width', 'tracks', %s) RETURNING id", (Jsonb(spec),)
    ).fetchone()
    assert row is not None
    draw = random.Random(7)
    for number in range(46):
        params = {
            "lr": float(f"{10 ** draw.uniform(-4, -1.5):.3g}"),
            "layers": draw.randint(1, 4),
            "units": draw.choice([32, 64, 96, 128, 192, 256]),
            "dropout": round(draw.uniform(0, 0.5), 2),
            "cell": draw.choice(["lstm", "gru"]),
        }
        km = 96 + 30 * abs(math.log10(params["lr"]) + 2.7) + 25 * abs(params["dropout"] - 0.2)
        km += 9 * abs(params["layers"] - 2) + (0 if params["cell"] == "lstm" else 5) + draw.uniform(0, 9)
        job = submit(connection, f"track-lstm-width-{number}", "tracks", priority=2)
        pruned, failed = km > 128, number == 17
        attempt = start(connection, master, 400 * (50 - number))
        if number >= 44:
            report(
                connection,
                attempt,
                "error_24h_km",
                [km + 90 * math.exp(-step / 8) for step in range(14 + 9 * (number % 2))],
            )
        else:
            report(
                connection,
                attempt,
                "error_24h_km",
                [km + 90 * math.exp(-step / 8) + draw.uniform(0, 4) for step in range(9 if pruned else 40)],
            )
            state, reason = (
                ("failed", "exit code 1") if failed else ("pruned", "pruned at step 9") if pruned else ("succeeded", "")
            )
            finish(
                connection, attempt, state, 1 if failed else 0, reason, 400 * (50 - number) - (90 if pruned else 380)
            )
        done = number < 44 and not pruned and not failed
        connection.execute(
            "INSERT INTO trial (job, sweep, number, params, value) VALUES (%s, %s, %s, %s, %s)",
            (job, row[0], number, Jsonb(params), round(km, 2) if done else None),
        )


def _running(connection: Connection, master: int, store: Path) -> None:
    shown = [("intensity-cnn-deep", "intensity", 42, 0.17, 5230), ("nowcast-unet", "nowcast", 23, 0.31, 2871)]
    for name, owner, steps, final, ago_s in shown:
        job = submit(connection, name, owner, priority=7)
        attempt = start(connection, master, ago_s)
        losses = loss(steps, final, steps)
        report(connection, attempt, "loss", losses)
        report(connection, attempt, "error_24h_km", [70 + 90 * value for value in losses])
        log(store, job, 1, losses)
    submit(connection, "track-lstm-season", "tracks", gpus=2, priority=6)
    start(connection, master, 11)


def _waiting(connection: Connection) -> None:
    submit(connection, "eye-segmentation-hr", "nowcast", generations=["h100"], memory_gb=60, priority=7)
    first = submit(connection, "intensity-ensemble", "intensity", gpus=4, generations=["h100"])
    submit(
        connection,
        "intensity-ensemble-verify",
        "intensity",
        command=("python", "verify.py", "--season", "2024"),
        after=[first],
    )
    submit(connection, "track-baseline-v100", "tracks", generations=["v100"], environment="tensorflow-2.16")
    for seed in range(5):
        submit(connection, f"track-lstm-seed-{seed}", "tracks", command=(*TRAIN, "--seed", str(seed)), priority=3)
    submit(
        connection,
        "",
        "nowcast",
        command=("python", "-c", "print('<b>not markup</b>')"),
        environment="pytorch-2.13",
        priority=1,
    )
    connection.execute(
        "UPDATE job SET submitted_at = submitted_at - (99 - id) * interval '57 seconds',"
        " queued_at = queued_at - (99 - id) * interval '57 seconds'"
        " WHERE state IN ('queued', 'blocked')"
    )
