"""From the end of one piece of work to the start of the next on the same device: the job queue against Airflow's pools.

    python benchmarks/handover_airflow.py [--jobs 20] [--rounds 2]

The question is what one gains over giving each GPU a pool of one slot in Airflow, which is the usual way. Both are
measured in one installation that is started for it (PostgreSQL, Airflow's four processes), in turn: a DAG of tasks in a
pool of one slot, and jobs on one device, each of which notes the clock when it starts and when it ends and does nothing
else. The pause is from an end to the next start as the work itself sees it, so that starting a process counts on both
sides: for Airflow a task that runs Python in its own process, its quickest kind, for the queue a Python program.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psycopg

from eyewall.contracts.submission import Submission
from eyewall.jobs import queue
from eyewall.platform import postgres
from eyewall.platform.places import Places
from eyewall.platform.ports import Ports
from eyewall.platform.rest import FINAL, Airflow
from eyewall.platform.up import Installation, down, up

ROOT = Path(__file__).resolve().parents[1]
POOL = "one_device"
NOTE = (
    "import sys, time; f = open(sys.argv[1], 'a'); f.write(f'{time.time()} '); f.write(f'{time.time()}\\n'); f.close()"
)
DAG = '''
"""### Tasks that note the clock, in a pool of one slot"""
import time
from airflow.sdk import dag, task

@dag(dag_id="handover", schedule=None, catchup=False, is_paused_upon_creation=False, tags=["benchmark"], doc_md=__doc__,
     params={{"file": ""}})
def handover():
    @task(pool="{pool}", retries=0)
    def note(number, params=None):
        with open(params["file"], "a") as stream:
            stream.write(f"{{time.time()}} ")
            stream.write(f"{{time.time()}}\\n")

    note.expand(number=list(range({jobs})))

handover()
'''


def project(folder: Path, jobs: int) -> Path:
    """A project whose DAGs are this one's and the benchmark's."""
    root = folder / "project"
    (root / "dags").mkdir(parents=True)
    for path in (ROOT / "dags").glob("*.py"):
        (root / "dags" / path.name).symlink_to(path)
    for room in ("operators", "plugins", "eyewall", "include", "images"):
        (root / room).symlink_to(ROOT / room)
    (root / "dags" / "handover.py").write_text(DAG.format(pool=POOL, jobs=jobs))
    return root


def installation_in(folder: Path, jobs: int) -> Installation:
    """An installation of its own, with one device."""
    var = folder / "var"
    var.mkdir()
    ports = Ports.free()
    (var / "eyewall.toml").write_text(
        f'store = "{folder}/store"\n'
        f"airflow_port = {ports.airflow}\ngrpc_port = {ports.grpc}\nrest_port = {ports.rest}\n"
        '[workers.desk]\nkind = "process"\ndevices = 1\n'
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EYEWALL", "AIRFLOW"))}
    found = Installation.of({**kept, "EYEWALL_SETTINGS": str(var / "eyewall.toml")}, var)
    return Installation(Places(project(folder, jobs), var), found.settings, found.ports, found.environ)


def pauses(file: Path) -> list[float]:
    """Seconds from each end to the next start; raises where two overlapped."""
    times = sorted(tuple(map(float, line.split())) for line in file.read_text().splitlines())
    found = [after[0] - before[1] for before, after in pairwise(times)]
    if min(found) < 0:
        raise SystemExit(f"two were on the device at once: {times}")
    return found


def of_airflow(client: Airflow, file: Path, jobs: int) -> list[float]:
    """Pauses of tasks in a pool of one slot."""
    client.pool(POOL, 1, "a GPU, as Airflow's users have it")
    run_id = client.trigger("handover", {"file": str(file)})
    while client.call("GET", f"/dags/handover/dagRuns/{run_id}")["state"] not in FINAL:
        time.sleep(1.0)
    found = pauses(file)
    if len(found) != jobs - 1:
        raise SystemExit(f"{len(found) + 1} tasks of {jobs} have run")
    return found


def of_queue(url: str, file: Path, jobs: int) -> list[float]:
    """Pauses of jobs on one device, with the dispatcher that the DAG `dispatch` runs."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(jobs):
            command = (sys.executable, "-I", "-S", "-c", NOTE, str(file))
            queue.submit(connection, Submission(command=command, environment="local", owner="ada"))
        query = "SELECT count(*) FROM job WHERE state NOT IN ('succeeded', 'failed')"
        while connection.execute(query).fetchone() != (0,):
            time.sleep(0.5)
    return pauses(file)


def line(name: str, found: list[float]) -> str:
    """Median, p95 and the longest."""
    ordered = sorted(found)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"{name:<28} {statistics.median(found):7.3f} s {p95:7.3f} s {ordered[-1]:7.3f} s   n = {len(found)}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="eyewall-handover-") as name:  # PostgreSQL's user may enter it
        folder = Path(name)
        folder.chmod(0o755)
        installation = installation_in(folder, given.jobs)
        try:
            up(installation, lambda text: None)
            url = postgres.uri(postgres.socket_folder(installation.places.postgres) or "", "eyewall")
            ours: list[float] = []
            theirs: list[float] = []
            with installation.client() as client:
                while not client.knows("handover"):
                    time.sleep(1.0)
                for number in range(given.rounds):
                    theirs += of_airflow(client, folder / f"airflow{number}", given.jobs)
                    ours += of_queue(url, folder / f"queue{number}", given.jobs)
            print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            print(f"{'':<28} {'median':>9} {'p95':>9} {'longest':>9}")
            print(line("Airflow, pool of one slot", theirs))
            print(line("job queue, one device", ours))
            print(f"quotient of the medians: {statistics.median(theirs) / statistics.median(ours):.0f}")
        finally:
            down(installation)


if __name__ == "__main__":
    main()
