"""Adding a framework environment: a line and a command, against installing it by hand on each of two workers.

    .venv/bin/python benchmarks/environments.py [--environment tensorflow-2.21] [--repeats 3]

One engine plays both workers, one after the other; it needs the images registry:2 and python:3.11-slim-bookworm.

- platform: the line is written, `eyewall env lock` and `eyewall env build` (resolve, install, try, push), all cold:
  no layer of it in the engine's cache. Then each worker pulls by digest, which it has nothing of but the base image,
  and imports the framework.
- by hand: on each worker a fresh container, `pip install` of the same locked packages, and the same import. No uv, no
  cache: what somebody does who logs in there.

Registry, index and workers are on one machine, so pulls cost no network; nor do the downloads of pip, where an index
is near. In turn; prints medians and the ratio, and one line of JSON last.
"""

import argparse
import contextlib
import json
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


def say(_steps: int = 1, sentence: str = "") -> None:
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


def platform(builder: Builder, name: str, folder: Path) -> dict[str, float]:
    """Seconds of each step, from the line to two workers that have imported the framework."""
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
    built = time.monotonic()
    pulls, checks = [], []
    for _ in range(WORKERS):
        forget(builder.engine, image.partition("@")[0])
        at = time.monotonic()
        builder.engine.pull(image)
        pulls.append(time.monotonic() - at)
        judge(recipe, run_in_container(builder.engine, image, recipe))
        checks.append(time.monotonic() - at - pulls[-1])
    forget(builder.engine, image.partition("@")[0])
    steps = {"lock_s": locked - begun, "build_s": built - locked, "pull_s": sum(pulls), "import_s": sum(checks)}
    return steps | {"total_s": sum(steps.values()), "one_pull_s": statistics.median(pulls)}


def by_hand(client: Any, recipe: Recipe, wheels: list[Path]) -> dict[str, float]:
    """Seconds to install the same packages on two workers, one after the other, and import the framework."""
    times = []
    for _ in range(WORKERS):
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
            times.append(time.monotonic() - begun)
        finally:
            client.remove_container(made, force=True, v=True)
    return {"total_s": sum(times), "one_worker_s": statistics.median(times)}


def main() -> None:
    """Measure in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environment", default="tensorflow-2.21")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    client = registries.engine(Settings())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends with everything removed
    with tempfile.TemporaryDirectory(prefix="eyewall-benchmark-") as scratch, registry(client) as address:
        folder = Path(scratch) / "images"
        shutil.copytree(ROOT / "images" / "environment", folder / "environment")
        shutil.copytree(ROOT / "images" / "environments", folder / "environments")
        shutil.copy(ROOT / "images" / "environments.yaml", folder)
        server = postgres.start(Path(scratch) / "postgres")
        found: dict[str, list[dict[str, float]]] = {"platform": [], "by_hand": []}
        try:
            with psycopg.connect(postgres.uri(server, "eyewall"), autocommit=True) as connection:
                migrate(connection)
                settings = Settings.model_validate({"environments": {"registry": address}})
                builder = Builder(connection, settings, Path(scratch) / "var")
                recipe = recipe_named(options.environment, folder)
                wheels = fetch_wheels(recipe, labelled(packages(recipe.lock())), wheels_of(recipe, builder.root))
                for _ in range(options.repeats):
                    found["platform"].append(platform(builder, options.environment, folder))
                    print(json.dumps(found["platform"][-1]), file=sys.stderr)
                    found["by_hand"].append(by_hand(client, recipe, wheels))
                    print(json.dumps(found["by_hand"][-1]), file=sys.stderr)
        finally:
            postgres.stop(Path(scratch) / "postgres")
            forget(client, f"{address}/eyewall-env-{options.environment}")
    medians = {
        way: {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
        for way, runs in found.items()
    }
    for way, values in medians.items():
        print(f"{way:<9}", "  ".join(f"{key[:-2]} {value} s" for key, value in values.items()))
    pairs = [hand["total_s"] / ours["total_s"] for ours, hand in zip(found["platform"], found["by_hand"], strict=True)]
    print(json.dumps({"environment": options.environment, **medians, "ratio": round(statistics.median(pairs), 2)}))


if __name__ == "__main__":
    main()
