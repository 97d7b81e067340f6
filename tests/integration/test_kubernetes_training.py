"""The real train step in gangs of pods of the real image: the same numbers as in processes, and no step is lost."""

import csv
import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gang_driver import Drive, container_of, gang_settings, nothing_left, quick, until
from kubernetes_cluster import Cluster, namespace_of_its_own, run_pod

from eyewall.contracts.jobs import TrainJob
from eyewall.contracts.settings import Settings
from eyewall.records.testing import tiny_records
from eyewall.storage import Store
from operators.distributed_training import DistributedTrainingOperator

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow, pytest.mark.timeout(400)]
IMAGE = os.environ.get("EYEWALL_TEST_TRAIN_IMAGE", "eyewall-train:0.1.0")
INSIDE = "/store"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A namespace on nodes that have the image."""
    with namespace_of_its_own() as made, pytest.MonkeyPatch.context() as patch:
        quick(patch)
        nodes = made.api.list_node().items
        if not any(IMAGE in (image.names or []) for node in nodes for image in node.status.images or []):
            pytest.skip(f"no node has the image {IMAGE}: run make images")
        yield made


class Gang(DistributedTrainingOperator):
    """The real operator and the real command line; small requests, but as much of the machine as there is."""

    def adapt(self, pod):
        """Without a limit of cores: TensorFlow's start at a tenth of a core takes minutes."""
        del pod["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        return pod


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Records of toy storms; the pods' user may write there too."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o777)
    made = Store(str(tmp_path / "store"))
    tiny_records(made)
    for folder, _, _ in os.walk(made.url):
        Path(folder).chmod(0o777)
    return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TrainJob], list[float]]:
    """Losses of the same training in one process, on the same records; equal ones find the first one's model."""
    store = Store(str(tmp_path_factory.mktemp("alone") / "store"))
    tiny_records(store)
    numbers = itertools.count()

    def train(job: TrainJob) -> list[float]:
        from eyewall.training.step import run

        single = {"store": store.url, "strategy": "single", "workers": 1, "devices": 1, "receipt": None}
        asked = job.model_copy(update=single | {"run": f"alone-{next(numbers)}"})
        return losses(store, run(asked).summary["model"])

    return train


def a_job(store: Store, **values: Any) -> TrainJob:
    """A short training on the store's records, as pods see it."""
    records = next((Path(store.url) / "records").iterdir())
    fields = {
        "store": INSIDE, "records_ref": f"records/{records.name}", "run": "gang", "model": "track", "steps": 12,
        "batch": 8, "checkpoint_every": 4, "receipt": "receipts/d/r/train.json",
    }  # fmt: skip
    return TrainJob.parse(fields | values)


def settings_of(cluster: Cluster, store: Store, cpus: float = 0.1) -> Settings:
    resources = {"train": {"cpus": cpus, "memory": "1Gi", "shm": "64Mi"}}
    return gang_settings(cluster, Path(store.url), images={"train": IMAGE}, resources=resources)


def gang(cluster: Cluster, store: Store, job: TrainJob) -> Drive:
    """A task that trains in pods."""
    return Drive(settings_of(cluster, store), job, operator=Gang)


def losses(store: Store, model: str) -> list[float]:
    """Loss by step; each step is there once and in order."""
    with (Path(store.url) / model / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row["loss"]) for row in rows]


def test_chief_and_worker_in_pods_have_the_losses_of_one_process(cluster, store, alone):
    """Synchronous, the same global batch: within 1e-4 at every step."""
    job = a_job(store, strategy="multi_worker", workers=2)
    together = gang(cluster, store, job).start()
    expected = alone(job)

    outcome = together.end(180)
    assert outcome.code == 0, outcome.sentence
    assert losses(store, outcome.summary["model"]) == pytest.approx(expected, abs=1e-4)
    receipt = json.loads((Path(store.url) / "receipts/d/r/train.json").read_text())
    assert receipt["result"]["uri"] == outcome.summary["model"]
    assert nothing_left(cluster)


def test_chief_two_workers_and_a_parameter_server_in_pods_do_all_their_steps(cluster, store):
    """Asynchronous: workers and server never end by themselves, and are gone when the chief is done."""
    outcome = gang(cluster, store, a_job(store, strategy="parameter_server", workers=2, ps=1)).to_the_end()

    assert outcome.code == 0, outcome.sentence
    assert len(losses(store, outcome.summary["model"])) == 12
    assert nothing_left(cluster)


def test_a_worker_killed_in_the_middle_costs_no_step_and_changes_no_loss(cluster, store, alone):
    """SIGKILL after the first checkpoint: resumed, and as though nothing had happened."""
    job = a_job(store, strategy="multi_worker", workers=2, steps=300, checkpoint_every=20)
    training = gang(cluster, store, job).start()
    until(lambda: training.error or training.outcome or list(Path(store.url).glob("runs/gang/step-*.npz")), 120)
    subprocess.run(["docker", "kill", container_of(cluster, "worker-0")], check=True, capture_output=True)
    expected = alone(job)

    outcome = training.end(240)
    assert outcome.code == 0, outcome.sentence
    assert [status for status in training.statuses() if status != "room"] == ["lost", "done"]
    found = losses(store, outcome.summary["model"])
    assert len(found) == 300
    assert found == pytest.approx(expected, abs=1e-3)
    assert nothing_left(cluster)


@pytest.mark.parametrize(
    "workers", [pytest.param(1, id="two devices of one pod"), pytest.param(2, id="two devices in each of two pods")]
)
def test_a_mesh_in_pods_has_the_losses_of_one_device(cluster, store, alone, workers):
    """Model parallel: each device holds a part of the weights; within 1e-4 at every step."""
    job = a_job(store, strategy="model_parallel", workers=workers, devices=2)
    if workers == 1:
        outcome = run_pod(settings_of(cluster, store, cpus=0.8), job)
    else:
        outcome = gang(cluster, store, job).to_the_end()

    assert outcome.code == 0, outcome.sentence
    assert losses(store, outcome.summary["model"]) == pytest.approx(alone(job), abs=1e-4)
    assert nothing_left(cluster)
