"""What the local platform does where steps are containers: the demo's settings, and what is left on an engine."""

import json
import tomllib
from pathlib import Path

import pytest

from eyewall.contracts.errors import InputError
from eyewall.contracts.settings import Settings
from eyewall.platform import containers
from eyewall.platform.demo import SMALL, demo
from eyewall.platform.demo_season import settings_text
from eyewall.platform.ports import Ports

PORTS = Ports(18080, 18500, 18501)


def test_the_demo_in_containers_mounts_the_store_to_write_and_the_season_to_read(tmp_path):
    text = settings_text(tmp_path, SMALL, PORTS, "docker")
    settings = Settings.model_validate(tomllib.loads(text))

    assert settings.backend == "docker"
    assert {(m.source, m.target, m.read_only) for m in settings.docker.mounts} == {
        (str(tmp_path / "store"), str(tmp_path / "store"), False),
        (str(tmp_path / "season"), str(tmp_path / "season"), True),
    }
    # Nothing else of the folder: PostgreSQL's data and Airflow's secrets are beside these two.
    assert settings.docker.network == "host"


def test_the_demo_in_processes_says_so_and_has_no_table_of_docker(tmp_path):
    values = tomllib.loads(settings_text(tmp_path, SMALL, PORTS))

    assert values["backend"] == "process"
    assert "docker" not in values


def test_a_demo_on_a_cluster_is_refused_before_anything_is_cleared(tmp_path):
    (tmp_path / "mine").touch()

    with pytest.raises(InputError, match="kubernetes"):
        demo(SMALL, tmp_path, {}, backend="kubernetes")
    assert (tmp_path / "mine").exists()


def test_where_steps_are_processes_no_engine_is_asked(monkeypatch):
    monkeypatch.setattr(containers, "_engine", lambda settings: pytest.fail("asked"))

    assert containers.remove_steps(Settings(), "/store") == 0


def away(tmp_path: Path) -> Settings:
    """Settings of an engine that does not answer."""
    return Settings.model_validate({"backend": "docker", "docker": {"url": f"unix://{tmp_path}/no.sock"}})


def test_an_engine_that_is_away_is_named_before_anything_starts(tmp_path):
    with pytest.raises(InputError, match=r"no Docker engine answers at unix://.*no\.sock"):
        containers.demand_images(away(tmp_path), ("ingest",))


def test_an_engine_that_is_away_is_no_reason_not_to_stop(tmp_path):
    assert containers.remove_steps(away(tmp_path), "/store") == 0


@pytest.mark.docker
def test_a_missing_image_is_named_before_anything_starts(engine):
    settings = Settings.model_validate({"docker": {"images": {"train": "eyewall-nowhere:9"}}})

    with pytest.raises(InputError, match=r"eyewall-nowhere:9.*make images"):
        containers.demand_images(settings, ("train", "no step"))


@pytest.mark.docker
def test_containers_of_this_store_are_removed_and_no_others(engine, step_image, tmp_path):
    made = {
        store: engine.create_container(step_image, ["ingest"], labels={"eyewall.store": store})["Id"]
        for store in (str(tmp_path / "mine"), str(tmp_path / "other"))
    }
    settings = Settings(backend="docker")
    try:
        assert containers.remove_steps(settings, str(tmp_path / "mine")) == 1
        left = {c["Id"] for c in engine.containers(all=True)}
        assert made[str(tmp_path / "mine")] not in left
        assert made[str(tmp_path / "other")] in left
    finally:
        containers.remove_steps(settings, str(tmp_path / "other"))


COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.toml"


def test_every_step_of_composes_stream_is_a_valid_job():
    settings = Settings.model_validate(tomllib.loads(COMPOSE.read_text()))
    given = {
        "train": {"records_ref": "r", "run": "r"},
        "gate": {"evaluation_ref": "e"},
        "publish": {"decision_ref": "d"},
    }

    jobs = {step: settings.job(step, "demo", **given.get(step, {})) for step in settings.streams["demo"]}

    assert set(jobs) == {"ingest", "records", "train", "verify", "gate", "publish", "forecast"}
    assert json.loads(jobs["forecast"].model_dump_json())["server"] == "model-server:8500"
