"""The tables [docker] and [kubernetes]: what they refuse, and what a step gets when they say nothing."""

import pytest
from pydantic import ValidationError

from eyewall import __version__
from eyewall.contracts.errors import ContractError
from eyewall.contracts.jobs import JOBS
from eyewall.contracts.placement import (
    DEFAULT_RESOURCES,
    IMAGE_OF,
    DockerSettings,
    KubernetesSettings,
    Mount,
    Resources,
)
from eyewall.contracts.settings import Settings


def test_every_step_has_an_image():
    assert set(IMAGE_OF) >= set(JOBS)
    assert DockerSettings().image("ingest") == f"eyewall-ingest:{__version__}"
    named = KubernetesSettings(images={"train": "registry.example:5000/eyewall/train:7"})
    assert named.image("train") == named.image("verify") == "registry.example:5000/eyewall/train:7"


def test_a_steps_table_changes_its_defaults_field_by_field():
    settings = KubernetesSettings.model_validate({"resources": {"train": {"gpus": 2}}})

    assert settings.resources_of("train") == DEFAULT_RESOURCES["train"].model_copy(update={"gpus": 2})
    assert settings.resources_of("ingest") == DEFAULT_RESOURCES["ingest"]
    assert settings.resources_of("gate") == Resources()


def test_memory_is_counted_in_binary_units():
    # 3 Mi = 3 x 1024 x 1024, 2 Gi = 2 x 1024 x 1024 x 1024
    assert Resources(memory="2Gi", shm="3Mi").bytes_of("shm") == 3 * 1024**2
    assert Resources(memory="2Gi").bytes_of("memory") == 2 * 1024**3


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param({"resources": {"dance": {}}}, "steps are", id="a step that is not there"),
        pytest.param({"resources": {"train": {"memory": "2G"}}}, "mebibytes", id="a unit without i"),
        pytest.param({"images": {"train": "x;rm -rf /"}}, "is not an image", id="shell text for an image"),
        pytest.param({"mounts": [{"source": "/a", "target": "/b/../etc"}]}, "plain absolute", id="a climbing target"),
        pytest.param({"mounts": [{"source": "/a:/b", "target": "/c"}]}, "plain absolute", id="a colon in a source"),
        pytest.param({"mounts": [{"source": "claim:A B", "target": "/c"}]}, "claim:<name>", id="no name of a claim"),
        pytest.param({"mount": []}, "Extra inputs", id="a typing error"),
    ],
)
def test_what_could_not_be_run_is_refused_when_the_settings_are_read(table, message):
    for kind in (DockerSettings, KubernetesSettings):
        with pytest.raises(ValidationError, match=message):
            kind.model_validate(table)


def test_a_claim_and_a_folder_are_told_apart():
    assert Mount(source="claim:eyewall-store", target="/store").claim == "eyewall-store"
    assert Mount(source="/srv/store", target="/store").claim is None


@pytest.mark.parametrize("field", ["store", "receipt"])
def test_a_stream_has_no_say_in_where_results_go(field, tmp_path):
    path = tmp_path / "eyewall.toml"
    path.write_text(f'[streams.a.train]\n{field} = "elsewhere"\n')

    with pytest.raises(ContractError, match=f"unknown fields \\['{field}'\\]"):
        Settings.load({"EYEWALL_SETTINGS": str(path)})


def test_the_model_server_is_the_platforms_own_unless_another_is_named():
    assert Settings(grpc_port=18500).server_address == "127.0.0.1:18500"
    assert Settings(server="tfs.example:8500").server_address == "tfs.example:8500"


@pytest.mark.parametrize("backend", ["docker", "kubernetes"])
def test_the_model_server_is_as_the_backends_steps_see_it_and_a_stream_may_say_another(backend):
    """Publishing to another server than forecasts ask is how a new version is tried before all follow it."""
    values = {"server": "models:8500", "streams": {"a": {"publish": {"server": "canary:8500"}, "forecast": {}}}}
    settings = Settings.model_validate({"backend": backend, backend: {"server": "inside:8500"}, **values})

    assert settings.job("forecast", "a", tracks="t").server == "inside:8500"
    assert settings.job("publish", "a", decision_ref="d").server == "canary:8500"
    assert Settings.model_validate({backend: {"server": "inside:8500"}, **values}).server_address == "models:8500"
