"""Adding a framework environment: a line and a command, against installing it by hand on each of two workers.

    .venv/bin/python benchmarks/environments.py [--environment tensorflow-2.21] [--repeats 3]

One engine plays both workers, one after the other; it needs the images registry:2 and python:3.11-slim-bookworm.

- platform: the line is written, `eyewall env lock` and `eyewall env build` (resolve, install, try, push), all cold:
  no layer of it in the engine's cache, nothing in the registry. Then each worker pulls by digest, which it has nothing
  of but the base image, and imports the framework.
- by hand: on each worker a fresh container, `pip install` of the same locked packages, and the same import. No uv, no
  cache: what somebody does who logs in there. The lock is a present: pip resolves nothing.

Registry, index and workers are on one machine, so pulls cost no network; nor do the downloads of pip, where an index
is near. In each turn one installation by hand comes before the build and one behind it, so that other work on the
machine meets both ways; each turn gives one ratio. Prints medians, the ratios with their range, from how many workers
on the platform is the faster, and one line of JSON last; each turn is a line on stderr, and not lost with the rest.
"""

import argparse
import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import psycopg  # noqa: E402
from docker.errors import APIError  # noqa: E402

from eyewall.contracts.errors import StorageError  # noqa: E402
from eyewall.contracts.settings import Settings  # noqa: E402
from eyewall.db.connect import migrate  # noqa: E402
from eyewall.environments import registry as registries  # noqa: E402
from eyewall.environments.build import Builder  # noqa: E402
from eyewall.environments.lock import fetch_wheels, labelled, make_lock, packages, wheels_of  # noqa: E402
from eyewall.environments.recipe import Recipe, recipe_named  # noqa: E402
from eyewall.environments.verify import judge, run_in_container  # noqa: E402
from eyewall.platform import postgres  # noqa: E402

WORKERS = 2


def say(steps: int = 1, sentence: str = "") -> None:
    """Progress of a build, on stderr."""
    print(f"  {time.strftime('%H:%M:%S')} {sentence}", file=sys.stderr)


@contextlib.contextmanager
def registry(client: Any) -> Iterator[str]:
    """A registry of this run's own, removed with what it holds."""
    made = client.create_container(
        "registry:2",
        name=f"eyewall-benchmark-{secrets.token_hex(4)}",
        ports=[5000],
        host_config=client.create_host_config(port_bindings={5000: ("127.0.0.1", 0)}),
    )["Id"]
    try:
        client.start(made)
        address = f"127.0.0.1:{client.port(made, 5000)[0]['HostPort']}"
        for _ in range(100):
            with contextlib.suppress(StorageError):
                registries.digest_of(client, f"{address}/none:1", address)
                break
            time.sleep(0.1)
        yield address
    finally:
        client.remove_container(made, force=True, v=True)


def forget(client: Any, where: str) -> None:
    """Remove every image of a repository from the engine, with its layers."""
    for image in client.images(name=where):
        for name in [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]:
            with contextlib.suppress(APIError):
                client.remove_image(name, force=True)


def build(builder: Builder, name: str, folder: Path) -> tuple[str, dict[str, float]]:
    """The image by digest, and the seconds from the line to the registry; nothing of it is known before."""
    dockerfile = folder / "environment" / "Dockerfile"
    cold = f"RUN true {secrets.token_hex(8)}\n"  # nothing after it is in the engine's cache
    original = (ROOT / "images" / "environment" / "Dockerfile").read_text()
    for stage in ("FROM ${BASE} AS common\n", "FROM common AS build\n"):
        original = original.replace(stage, stage + cold)
    dockerfile.write_text(original)
    (folder / "environments" / f"{name}.txt").unlink(missing_ok=True)
    begun = time.monotonic()
    recipe = recipe_named(name, folder)
    make_lock(recipe, builder.root)
    locked = time.monotonic()
    image = builder.build(recipe, "docker", say).where
    return image, {"lock_s": locked - begun, "build_s": time.monotonic() - locked}


def pull(client: Any, image: str, recipe: Recipe) -> dict[str, float]:
    """Seconds of one worker that has nothing of the image but its base: pull, import."""
    forget(client, image.partition("@")[0])
    begun = time.monotonic()
    client.pull(image)
    pulled = time.monotonic()
    judge(recipe, run_in_container(client, image, recipe))
    return {"pull_s": pulled - begun, "import_s": time.monotonic() - pulled}


def by_hand(client: Any, recipe: Recipe, wheels: list[Path]) -> float:
    """Seconds to install the same packages on one worker, and import the framework."""
    made = client.create_container(
        f"python:{recipe.python}-slim-bookworm",
        ["sleep", "3600"],
        host_config=client.create_host_config(
            network_mode="host",
            binds=[f"{wheel}:/wheels/{wheel.name}:ro" for wheel in [*wheels, recipe.lock_file]],
        ),
    )["Id"]
    try:
        client.start(made)
        begun = time.monotonic()
        pip = ["/opt/env/bin/pip", "install", "--quiet", "--no-cache-dir", "--no-deps", "--find-links", "/wheels"]
        for command in (
            ["python", "-m", "venv", "/opt/env"],
            [*pip, "-r", f"/wheels/{recipe.lock_file.name}"],
            ["/opt/env/bin/python", "-c", f"import {recipe.module}; assert {recipe.check or True}"],
        ):
            run = client.exec_create(made, command)["Id"]
            said = client.exec_start(run)
            if client.exec_inspect(run)["ExitCode"]:
                raise SystemExit(f"{command}: {said.decode(errors='replace')[-500:]}")
        return time.monotonic() - begun
    finally:
        client.remove_container(made, force=True, v=True)


def one_turn(connection: Any, name: str, folder: Path, root: Path) -> dict[str, float]:
    """Both ways, mixed: half of the installations by hand before the build, half behind it."""
    client = registries.engine(Settings())
    recipe = recipe_named(name, folder)
    wheels = fetch_wheels(recipe, labelled(packages(recipe.lock())), wheels_of(recipe, root))
    with registry(client) as address:
        builder = Builder(connection, Settings.model_validate({"environments": {"registry": address}}), root)
        try:
            hand = [by_hand(client, recipe, wheels) for _ in range(WORKERS // 2)]
            image, steps = build(builder, name, folder)
            load = os.getloadavg()[1]  # of the last five minutes
            hand += [by_hand(client, recipe, wheels) for _ in range(WORKERS - len(hand))]
            pulls = [pull(client, image, recipe) for _ in range(WORKERS)]
        finally:
            forget(client, f"{address}/eyewall-env-{name}")
    worker = {key: statistics.mean(each[key] for each in pulls) for key in pulls[0]}
    platform = sum(steps.values()) + WORKERS * sum(worker.values())
    return steps | worker | {"by_hand_s": statistics.mean(hand), "platform_total_s": platform,
                             "by_hand_total_s": sum(hand), "load": load}  # fmt: skip


def main() -> None:
    """Measure in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="tensorflow-2.21")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends with everything removed
    turns: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="eyewall-benchmark-") as scratch:
        folder = Path(scratch) / "images"
        shutil.copytree(ROOT / "images" / "environment", folder / "environment")
        shutil.copytree(ROOT / "images" / "environments", folder / "environments")
        shutil.copy(ROOT / "images" / "environments.yaml", folder)
        server = postgres.start(Path(scratch) / "postgres")
        try:
            with psycopg.connect(postgres.uri(server, "eyewall"), autocommit=True) as connection:
                migrate(connection)
                for _ in range(options.repeats):
                    turns.append(one_turn(connection, options.environment, folder, Path(scratch) / "var"))
                    print(json.dumps({key: round(value, 1) for key, value in turns[-1].items()}), file=sys.stderr)
        finally:
            postgres.stop(Path(scratch) / "postgres")
    report(options.environment, turns)


def report(environment: str, turns: list[dict[str, float]]) -> None:
    """Print what the turns say together."""
    medians = {key: round(statistics.median(turn[key] for turn in turns), 1) for key in turns[0]}
    ratios = sorted(turn["by_hand_total_s"] / turn["platform_total_s"] for turn in turns)
    once = medians["lock_s"] + medians["build_s"]
    saved = medians["by_hand_s"] - medians["pull_s"] - medians["import_s"]  # by each worker
    workers = math.floor(once / saved) + 1 if saved > 0 else None
    print(f"once       lock {medians['lock_s']} s, build {medians['build_s']} s")
    print(f"a worker   pull {medians['pull_s']} s, import {medians['import_s']} s; by hand {medians['by_hand_s']} s")
    print(
        f"{WORKERS} workers  platform {medians['platform_total_s']} s, by hand {medians['by_hand_total_s']} s:"
        f" ×{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}), load {medians['load']}"
    )
    print(f"the platform is the faster from {workers} workers on" if workers else "by hand is the faster at any number")
    found = {"ratios": [round(ratio, 2) for ratio in ratios], "faster_from_workers": workers}
    print(json.dumps({"environment": environment, **medians, **found}))


if __name__ == "__main__":
    main()
