"""The whole main job on one machine, from an empty folder, as a newcomer sees it: ``make demo``.

A simulated typhoon season as real AHI HSD files; the platform, started for it on free ports; ``ingest`` backfilled,
``retrain`` and ``forecast`` triggered, all three through Airflow's REST API; then what came of it, in numbers and in
one picture. Everything is in one folder, which is emptied first, and every process that was started is ended, however
it ends.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.jobs import SimulateJob
from eyewall.contracts.settings import Settings
from eyewall.platform import airflow
from eyewall.platform.containers import demand_images, remove_steps
from eyewall.platform.demo_progress import Progress
from eyewall.platform.demo_results import Results, collect
from eyewall.platform.demo_season import SETTINGS_NAME, STREAM, Season, read_season, settings_text
from eyewall.platform.places import Places
from eyewall.platform.ports import Ports
from eyewall.platform.rest import FINAL, Airflow
from eyewall.platform.up import Installation, down, up

BACKENDS = ("process", "docker")


@dataclass(frozen=True)
class Size:
    """How much of everything; `FULL` is what a newcomer sees, `SMALL` what a test can wait for."""

    first_season: int
    last_season: int
    storms_per_season: int
    imaged_storms: int
    steps: int
    batch: int = 64
    px: int = 32
    bad_files: int = 4


FULL = Size(first_season=2001, last_season=2020, storms_per_season=12, imaged_storms=2, steps=400)
SMALL = Size(first_season=2006, last_season=2020, storms_per_season=12, imaged_storms=1, steps=200)


def demo(
    size: Size, folder: Path | None = None, environ: Mapping[str, str] = os.environ, backend: str = "process"
) -> Results:
    """Run the demo in ``folder`` (default: var/demo of the project) and say what came of it.

    ``backend`` is where Airflow runs the steps: process, or docker; the simulator, Airflow and the model server are
    processes of this machine in both. Raises EyewallError with the failing task's own words; nothing keeps running in
    any case.
    """
    if backend not in BACKENDS:
        raise InputError(f"no demo with backend {backend!r}: give {' or '.join(BACKENDS)}")
    began = time.monotonic()
    places = Places.find(environ, folder.resolve() if folder else Path("var/demo"))
    plain = {name: value for name, value in environ.items() if not name.startswith("EYEWALL_")}
    with Progress() as progress:
        progress.say("clearing what an earlier demo left")
        _clear(places)
        installation = _installation(places, size, plain, backend)
        try:
            with _season_in_the_making(places, size, plain) as making:
                up(installation, progress.say)
                season = making(progress)
            with installation.client() as client:
                run_ids = _main_job(client, season, progress)
            progress.say("reading the results")
            results = collect(installation.settings, season, run_ids, places.var)
        finally:
            progress.say("stopping what was started: a few seconds")
            _stop(installation)
    return results.finished(time.monotonic() - began)


def _stop(installation: Installation) -> None:
    """Stop everything, deaf to a second Ctrl-C: an impatient one must not leave anything running."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        down(installation)
    finally:
        signal.signal(signal.SIGINT, before)


def _clear(places: Places) -> None:
    """End what a killed demo left running, and empty the folder. Raises InputError for a folder that is no demo's."""
    if places.var.exists() and any(places.var.iterdir()):
        if not (places.var / SETTINGS_NAME).exists():
            raise InputError(f"{places.var} is not empty and no demo's: give another --folder, or remove it yourself")
        down(Installation.of({"EYEWALL_SETTINGS": os.devnull}, places.var))
        if 'backend = "docker"' in (places.var / SETTINGS_NAME).read_text(errors="replace"):
            remove_steps(Settings(backend="docker"), str(places.var / "store"))
        shutil.rmtree(places.var)
    places.make()


def _installation(places: Places, size: Size, environ: Mapping[str, str], backend: str) -> Installation:
    """Settings file and free ports of this demo. Raises InputError where containers are wanted and cannot be had."""
    file = places.var / SETTINGS_NAME
    file.write_text(settings_text(places.var, size, Ports.free(), backend))
    installation = Installation.of({**environ, "EYEWALL_SETTINGS": str(file)}, places.var)
    if backend == "docker":
        demand_images(installation.settings, tuple(installation.settings.streams[STREAM]))
        (places.var / "store").mkdir()  # the engine mounts only what is there, and would make it root's
    return installation


@contextmanager
def _season_in_the_making(
    places: Places, size: Size, environ: Mapping[str, str]
) -> "Iterator[Callable[[Progress], Season]]":
    """The simulator, at work while the platform starts; call what is yielded to wait for it."""
    job = SimulateJob(
        out=str(places.var / "season"),
        first_season=size.first_season,
        last_season=size.last_season,
        storms_per_season=size.storms_per_season,
        imaged_storms=size.imaged_storms,
        bad_files=size.bad_files,
    )
    log = places.log / "simulate.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*airflow.PYTHON, "eyewall.cli", *job.to_args()],
            cwd=places.root,
            env=dict(environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def wait(progress: Progress) -> Season:
        progress.say("the simulator writes satellite files")
        if process.wait() != 0:
            last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
            raise EyewallError(f"eyewall simulate failed: {last} (all of it: {log})")
        return read_season(Path(job.out))

    try:
        yield wait
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def _main_job(client: Airflow, season: Season, progress: Progress) -> dict[str, str]:
    """Ingest, retrain, forecast; the run ids of the last two (forecast only where something is served)."""
    client.unpause("ingest")
    with progress.bar("ingest", len(season.days)) as advance_to:
        for period in season.periods:
            backfill = client.backfill("ingest", *period)
            _follow_backfill(client, backfill, advance_to)
    runs = {"retrain": _run(client, "retrain", {}, progress)}
    if client.tasks("retrain", runs["retrain"]).get("publish") == "success":
        conf = {"base_time": season.base_time, "storm": season.storm}
        runs["forecast"] = _run(client, "forecast", conf, progress)
    return runs


def _follow_backfill(client: Airflow, backfill: int, advance_to: Callable[[int], None]) -> None:
    """Wait for the end of all runs of a backfill. Raises EyewallError for one that failed."""
    while True:
        runs = client.runs("ingest", "backfill")
        finished = [run for run in runs if run["state"] in FINAL]
        advance_to(len(finished))
        for run in finished:
            if run["state"] == "failed":
                raise _failure(client, "ingest", run["dag_run_id"])
        if len(finished) == len(runs):
            return client.close_backfill(backfill)
        time.sleep(0.5)


def _run(client: Airflow, dag_id: str, conf: dict[str, Any], progress: Progress) -> str:
    """Trigger a DAG and wait for its end; the run's id. Raises EyewallError when it failed."""
    client.unpause(dag_id)
    run_id = client.trigger(dag_id, conf)
    tasks = client.tasks(dag_id, run_id)
    with progress.bar(dag_id, max(1, len(tasks))) as advance_to:
        for tasks in client.follow(dag_id, run_id):
            advance_to(sum(state in FINAL for state in tasks.values()))
            progress.say(", ".join(f"{task} {state}" for task, state in tasks.items() if state == "running"))
    if any(state in {"failed", "upstream_failed"} for state in tasks.values()):
        raise _failure(client, dag_id, run_id)
    return run_id


def _failure(client: Airflow, dag_id: str, run_id: str) -> EyewallError:
    """What the failed task of a run said: the step's own sentence, Airflow's exception, or else its last lines."""
    for task, state in client.tasks(dag_id, run_id).items():
        if state == "failed":
            lines = [line.strip() for line in client.log(dag_id, run_id, task) if not line.startswith("::")]
            said = [line for line in lines if line.startswith(("eyewall: ", "Airflow"))] or lines[-3:]
            return EyewallError(f"task {dag_id}.{task} failed in run {run_id}: {' | '.join(said)[-800:]}")
    return EyewallError(f"run {run_id} of {dag_id} failed")
