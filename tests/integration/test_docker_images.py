"""The real images: what is in them, and steps of the main job in containers, through the docker backend."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import docker
import pytest

from eyewall import __version__
from eyewall.cli import run_job
from eyewall.contracts.jobs import JOBS, Job
from eyewall.contracts.settings import Settings
from eyewall.storage import Store, resolve
from operators.docker import DockerBackend
from operators.outcome import Outcome

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
NAMES = ("ingest", "serve", "train", "airflow")


@pytest.fixture(scope="module")
def images(engine) -> dict[str, str]:
    """Name → image of this version; skips where they have not been made."""
    found = {name: f"eyewall-{name}:{__version__}" for name in NAMES}
    missing = [image for image in found.values() if not engine.images(name=image)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: make images")
    return found


def run(engine: docker.APIClient, image: str, *command: str, entrypoint: str | None = None) -> tuple[int, str]:
    """Exit code and output of a container with a read-only root and no network."""
    made = engine.create_container(
        image,
        list(command),
        entrypoint=entrypoint,
        host_config=engine.create_host_config(read_only=True, tmpfs={"/tmp": ""}, network_mode="none"),
    )
    try:
        engine.start(made["Id"])
        code = engine.wait(made["Id"])["StatusCode"]
        return code, engine.logs(made["Id"]).decode()
    finally:
        engine.remove_container(made["Id"], force=True)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_says_what_it_is_and_runs_eyewall_as_nobody_in_particular(engine, images, name):
    config = engine.inspect_image(images[name])["Config"]

    assert (config["User"], config["Entrypoint"]) == ("10001:10001", ["eyewall"])
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.revision"]
    assert run(engine, images[name], "--version") == (0, f"eyewall {__version__}\n")


#: Packages that an image must not have, and, last, one that it must.
PACKAGES = {
    "ingest": ("tensorflow", "tf_keras", "airflow", "satpy"),
    "serve": ("satpy", "tf_keras", "airflow", "tensorflow"),
    "train": ("airflow", "satpy"),
    "airflow": ("tensorflow", "satpy", "airflow"),
}


@pytest.mark.parametrize("name", NAMES)
def test_an_image_has_its_own_extra_and_not_the_others(engine, images, name):
    *absent, present = PACKAGES[name]
    code = (
        "import importlib.util as u, json, sys; print(json.dumps([u.find_spec(n) is not None for n in sys.argv[1:]]))"
    )

    end, said = run(engine, images[name], "-c", code, *absent, present, entrypoint="python")

    assert (end, json.loads(said)) == (0, [False] * len(absent) + [True])


def test_the_serve_and_the_train_image_share_tensorflows_layer(engine, images):
    layers = {name: engine.inspect_image(images[name])["RootFS"]["Layers"] for name in ("serve", "train")}
    shared = [a for a, b in zip(layers["serve"], layers["train"], strict=False) if a == b]

    sizes = {name: engine.inspect_image(images[name])["Size"] for name in layers}
    # Base, user, list of packages, packages: 4 layers or more, and all that train has beyond is its own packages.
    assert len(shared) >= 4
    assert sizes["serve"] < sizes["train"]


class Steps:
    """Runs steps in their own images, on a store and a folder of data that are mounted from here."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(str(folder / "store"))
        self.data = folder / "data"
        for made in (Path(self.store.root), self.data):
            made.mkdir()
        self.said: list[str] = []
        mounts = [
            {"source": str(self.store.root), "target": "/store", "read_only": False},
            {"source": str(self.data), "target": "/data", "read_only": False},
        ]
        docker_settings = {
            "store": "/store",
            "network": "none",
            "user": f"{os.getuid()}:{os.getgid()}",
            "mounts": mounts,
        }
        self.settings = Settings.model_validate({"store": str(self.store.root), "docker": docker_settings})

    def job(self, verb: str, **fields) -> Job:
        """The job of ``verb``, with a receipt that the next step can name."""
        return JOBS[verb].parse({"store": str(self.store.root), "receipt": f"receipts/{verb}.json", **fields})

    def run(self, verb: str, **fields) -> Outcome:
        """Run it in a container to its end."""
        task = SimpleNamespace(task_id=verb, log=SimpleNamespace(info=lambda text, *rest: self.said.append(text)))
        ti = SimpleNamespace(dag_id="integration", run_id=self.data.parent.name, task_id=verb, map_index=-1)
        outcome = DockerBackend(self.settings, task).run(self.job(verb, **fields), {"ti": ti})
        assert outcome.code == 0, f"{verb}: {outcome.sentence}\n" + "\n".join(self.said[-15:])
        return outcome


def test_the_main_job_runs_step_by_step_in_the_real_images(engine, images, tmp_path):
    steps = Steps(tmp_path)
    tracks = "/data/season/besttrack.csv"

    steps.run("simulate", out="/data/season", first_season=2012, imaged_storms=1, imaged_hours=30, bad_files=2)
    season = json.loads((steps.data / "season" / "season.json").read_text())
    first, last = season["periods"][0]["slot_from"], season["periods"][-1]["slot_to"]
    steps.run("ingest", stream="demo", reader="ahi_hsd", source="/data/season/hsd", slot_from=first, slot_to=last)
    frames = steps.store.list_files("frames/demo", ".nc")
    assert len(frames) == season["slots"]  # a damaged file never costs a good one its frame
    steps.run(
        "records", tracks=tracks, stream="demo", train_to=2018, val_to=2019, test_to=2020, frames=2, px=16, shards=1
    )
    steps.run("train", records_ref="receipts/records.json", run="integration", model="fusion", steps=10, batch=32)
    steps.run(
        "verify", truth=tracks, model_ref="receipts/train.json", records_ref="receipts/records.json",
        season_from=2020, season_to=2020, resamples=100,
    )  # fmt: skip

    report = steps.store.read_json(f"{resolve(steps.store, 'receipts/verify.json', 'evaluation').path}/report.json")
    assert set(report["leads"]) == {"6", "12", "24", "48", "72"}
    assert all(scores["model"]["mean_km"] > 0 for scores in report["leads"].values())
    assert engine.containers(all=True, filters={"label": f"eyewall.store={steps.store.root}"}) == []
    # The same step as a process of this machine gives the same digest: it finds its result there, and does nothing.
    here = steps.job(
        "records", tracks=str(steps.data / "season" / "besttrack.csv"), stream="demo", train_to=2018, val_to=2019,
        test_to=2020, frames=2, px=16, shards=1,
    )  # fmt: skip
    before = sorted(path.name for path in Path(steps.store.root, "records").iterdir())
    run_job(here)
    assert sorted(path.name for path in Path(steps.store.root, "records").iterdir()) == before
