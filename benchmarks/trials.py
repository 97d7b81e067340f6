"""16 trials one after another, as a loop in a shell would run them, against the job platform with 2 and 4 devices.

    python benchmarks/trials.py [--trials 16] [--seconds 3.0] [--cpu-seconds 2.0] [--skip-cpu]

Needs nothing but the environment: a PostgreSQL of its own, a dispatcher, declared devices. Devices are declared because
no GPU may be at hand, so what a trial does with its device is *waiting*: it sleeps for --seconds, as the host does
while a GPU works, and computes for a tenth of that. With that, four devices are possible on two cores. The second
comparison is honest about the cores: trials that compute all the time, on two devices only.

Printed for each way: wall time from the first submission to the last end; utilisation, which is the time that trials
ran divided by devices × wall time; the quotient of the loop's wall time and this one; and the pause between the end of
a trial and the start of the next on the same device.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from eyewall.contracts.submission import Submission
from eyewall.db.connect import connected
from eyewall.jobs import queue
from eyewall.jobs.installation import add_local_environment
from eyewall.platform import postgres

TRIAL = """
import sys, time
number, wait_s, compute_s = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
deadline, total = time.process_time() + compute_s, 0.0
while time.process_time() < deadline:
    total += sum((number + i) ** 0.5 for i in range(1000))
time.sleep(wait_s)
print("trial", number, total > 0)
"""


class Work(NamedTuple):
    """What each trial does."""

    name: str
    wait_s: float
    compute_s: float


class Figures(NamedTuple):
    """One way of running all trials; seconds."""

    wall_s: float
    ran_s: list[float]
    pauses_s: list[float]

    def line(self, name: str, devices: int, loop: "Figures | None" = None) -> str:
        """One line of the table."""
        pause = f"{statistics.median(self.pauses_s):6.3f} s" if self.pauses_s else "       –"
        times = f"×{loop.wall_s / self.wall_s:.2f}" if loop else ""
        return f"{name:<26} {self.wall_s:7.1f} s {sum(self.ran_s) / (devices * self.wall_s):6.1%}  {pause}  {times}"


def by_hand(work: Work, trials: int, script: Path) -> Figures:
    """A loop over the trials, each a process, as the platform runs them too."""
    ran, pauses = [], []
    began = before = time.monotonic()
    for number in range(trials):
        start = time.monotonic()
        pauses.append(start - before)
        subprocess.run(command(work, number, script), check=True, stdout=subprocess.DEVNULL)
        before = time.monotonic()
        ran.append(before - start)
    return Figures(time.monotonic() - began, ran, pauses[1:])


def command(work: Work, number: int, script: Path) -> list[str]:
    """The trial as a command line."""
    return [sys.executable, str(script), str(number), str(work.wait_s), str(work.compute_s)]


def by_platform(work: Work, trials: int, script: Path, devices: int, folder: Path, socket: str) -> Figures:
    """The same trials as jobs, with a dispatcher that is at work already, as it is in an installation in use."""
    name = f"trials_{work.name}_{devices}"
    with psycopg.connect(postgres.uri(socket, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = postgres.uri(socket, name)
    settings = folder / f"{name}.toml"
    settings.write_text(f'store = "{folder}/store"\n[workers.desk]\nkind = "process"\ndevices = {devices}\n')
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("EYEWALL", "AIRFLOW"))}
    environ = {
        **kept, "EYEWALL_DATABASE_URL": url, "EYEWALL_SETTINGS": str(settings), "EYEWALL_VAR": str(folder / name)
    }  # fmt: skip
    with connected(url) as connection:
        add_local_environment(connection)
    log = folder / f"{name}.log"
    with log.open("wb") as stream:
        dispatcher = subprocess.Popen(
            [sys.executable, "-m", "eyewall.cli", "job", "dispatch"], env=environ, stderr=stream
        )
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            wait_for(connection, "SELECT count(*) FROM gpu WHERE state = 'ok'", devices)
            for number in range(trials):
                asked = Submission(command=tuple(command(work, number, script)), environment="local", owner="ada")
                queue.submit(connection, asked)
            wait_for(connection, "SELECT count(*) FROM job WHERE state = 'succeeded'", trials)
            return figures(connection)
    except SystemExit as error:
        raise SystemExit(f"{error}\n{log.read_text()[-2000:]}") from None
    finally:
        dispatcher.terminate()
        dispatcher.wait(30)


def wait_for(
    connection: "psycopg.Connection[tuple[object, ...]]", query: str, wanted: int, within_s: float = 600
) -> None:
    """Wait until ``query`` gives ``wanted``."""
    deadline = time.monotonic() + within_s
    while (found := connection.execute(query).fetchone()) != (wanted,):
        if time.monotonic() > deadline:
            raise SystemExit(f"{query}: {found} instead of {wanted} after {within_s:.0f} s")
        time.sleep(0.05)


def figures(connection: "psycopg.Connection[tuple[object, ...]]") -> Figures:
    """As the database has it: its clock alone."""
    wall, ran = connection.execute(
        "SELECT extract(epoch FROM max(a.ended_at) - min(j.submitted_at))::float8,"
        " array_agg(extract(epoch FROM a.ended_at - a.started_at)::float8)"
        " FROM job j JOIN attempt a ON a.job = j.id"
    ).fetchone()  # type: ignore[misc]
    pauses = connection.execute(
        "SELECT pause FROM (SELECT extract(epoch FROM a.started_at - lag(a.ended_at) OVER"
        " (PARTITION BY l.gpu ORDER BY a.started_at))::float8 AS pause"
        " FROM attempt a JOIN lease l ON l.attempt = a.id) AS p WHERE pause IS NOT NULL"
    ).fetchall()
    return Figures(float(wall), list(ran), [float(row[0]) for row in pauses])


def compare(work: Work, trials: int, devices: Sequence[int], folder: Path, socket: str) -> None:
    """One table."""
    script = folder / "trial.py"
    script.write_text(TRIAL)
    each = f"{work.wait_s:g} s of waiting, {work.compute_s:g} s of computing"
    print(f"{trials} trials, each {each}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'':<26} {'wall':>9} {'in use':>7}  {'pause':>8}")
    loop = by_hand(work, trials, script)
    print(loop.line("one after another", 1), flush=True)
    for count in devices:
        found = by_platform(work, trials, script, count, folder, socket)
        print(found.line(f"platform, {count} devices", count, loop), flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--cpu-seconds", type=float, default=2.0)
    parser.add_argument("--skip-cpu", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eyewall-trials-") as name:  # PostgreSQL's user may enter it
        folder = Path(name)
        folder.chmod(0o755)
        socket = postgres.start(folder / "postgres")
        try:
            waiting = Work("waiting", given.seconds, given.seconds / 10)
            compare(waiting, given.trials, (2, 4), folder, socket)
            if not given.skip_cpu:
                compare(Work("computing", 0.0, given.cpu_seconds), given.trials, (2,), folder, socket)
        finally:
            postgres.stop(folder / "postgres")


if __name__ == "__main__":
    main()
