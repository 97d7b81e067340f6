"""Places, ports and configuration of a local installation."""

import configparser
import json
import os
import socket
import stat
import subprocess

import pytest

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.settings import Settings
from eyewall.platform import airflow
from eyewall.platform.places import Places
from eyewall.platform.ports import Ports, demand_free, is_free
from eyewall.platform.processes import Supervisor
from eyewall.platform.up import Installation, status, up

PORTS = Ports(18080, 18500, 18501)


@pytest.fixture
def places(tmp_path):
    (tmp_path / "dags").mkdir()
    made = Places(tmp_path, tmp_path / "var")
    made.make()
    return made


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_working_directory_is_the_project_when_it_has_dags(tmp_path, monkeypatch):
    (tmp_path / "dags").mkdir()
    monkeypatch.chdir(tmp_path)

    assert Places.find({}) == Places(tmp_path, tmp_path / "var")
    assert Places.find({"EYEWALL_VAR": "/elsewhere"}).var.as_posix() == "/elsewhere"
    assert Places.find({"EYEWALL_VAR": "/elsewhere"}, tmp_path / "demo").var == tmp_path / "demo"


def test_elsewhere_the_source_tree_is_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert (Places.find({}).root / "dags" / "ingest.py").exists()


def test_a_var_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "var").write_text("a file")

    with pytest.raises(InputError, match="set EYEWALL_VAR"):
        Places(tmp_path, tmp_path / "var").make()


def test_a_port_in_use_is_named_with_the_setting_that_moves_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert not is_free(port)
        with pytest.raises(InputError, match=f"port {port} .grpc. .*EYEWALL_GRPC_PORT"):
            demand_free(Ports(1, port, 2), ("grpc",))
    assert is_free(port)


def test_two_services_on_one_port_are_refused():
    with pytest.raises(InputError, match="the same"):
        demand_free(Ports(18080, 18500, 18500), ())


def test_free_ports_are_free_and_differ():
    ports = Ports.free()

    assert len(set(ports)) == 3
    assert all(is_free(port) for port in ports)


@pytest.mark.parametrize(("name", "value"), [("EYEWALL_AIRFLOW_PORT", "80800"), ("EYEWALL_INGEST_CRON", "now; ls")])
def test_settings_refuse_ports_and_periods_that_are_none(name, value, tmp_path):
    empty = tmp_path / "empty.toml"
    empty.touch()

    with pytest.raises(EyewallError, match=value):
        Settings.load({"EYEWALL_SETTINGS": str(empty), name: value})


def test_ports_come_from_the_environment_or_the_file(tmp_path):
    file = tmp_path / "eyewall.toml"
    file.write_text("airflow_port = 9090\ngrpc_port = 9500\n")

    settings = Settings.load({"EYEWALL_SETTINGS": str(file), "EYEWALL_GRPC_PORT": "9600"})

    assert Ports.of(settings) == (9090, 9600, 8501)


def test_secrets_are_made_once_and_only_their_owner_can_read_them(places):
    first = airflow.options(places, PORTS, "postgresql+psycopg2://x", 2)
    password = airflow.password(places)
    second = airflow.options(places, PORTS, "postgresql+psycopg2://x", 2)

    assert first == second
    assert password == airflow.password(places)
    assert mode(places.airflow) == 0o700
    assert {mode(path) for path in places.airflow.iterdir()} == {0o600}
    assert len(first["api_auth"]["jwt_secret"]) >= 64
    assert len(password) >= 16


def test_two_installations_share_no_secret(places, tmp_path):
    other = Places(tmp_path, tmp_path / "other")
    other.make()
    mine, theirs = (airflow.options(each, PORTS, "x", 2) for each in (places, other))

    assert mine["api_auth"] != theirs["api_auth"]
    assert mine["core"]["fernet_key"] != theirs["core"]["fernet_key"]
    assert airflow.password(places) != airflow.password(other)


def test_the_configuration_file_is_private_and_what_airflow_reads_from_it_is_what_was_meant(places):
    airflow.configure(places, PORTS, "postgresql+psycopg2://postgres@/airflow?host=/a%20b", cores=2)

    path = places.airflow / "airflow.cfg"
    found = configparser.ConfigParser()  # with interpolation, as Airflow has it
    found.read(path)
    assert mode(path) == 0o600
    assert found["database"]["sql_alchemy_conn"].endswith("/a%20b")
    assert found["core"]["load_examples"] == "False"
    assert found["core"]["default_pool_task_slot_count"] == "2"  # steps at once
    assert int(found["core"]["parallelism"]) == 2 + sum(airflow.POOLS.values())  # which cost them no slot
    assert found["api"]["port"] == "18080"
    assert found["api"]["host"] == "127.0.0.1"


def test_the_pools_that_are_made_are_those_that_the_dags_name():
    from operators import pools

    assert set(airflow.POOLS) == {pools.JOBS, pools.DISPATCH}


def test_every_option_is_one_that_this_airflow_knows(places):
    """A name that Airflow does not know would be taken without a word, and do nothing."""
    options = airflow.options(places, PORTS, "x", 2)
    code = (
        "import json, yaml, airflow, pathlib\n"
        "text = (pathlib.Path(airflow.__file__).parent / 'config_templates/config.yml').read_text()\n"
        "print(json.dumps({s: list(v['options']) for s, v in yaml.safe_load(text).items()}))\n"
    )
    outcome = subprocess.run([*airflow.PYTHON[:1], "-c", code], capture_output=True, text=True, check=True)
    known = json.loads(outcome.stdout.splitlines()[-1])

    unknown = {(section, name) for section, names in options.items() for name in names if name not in known[section]}

    assert unknown == set()


def test_airflows_environment_has_no_airflow_variable_of_the_callers_and_no_secret(places, tmp_path):
    caller = {"AIRFLOW__CORE__EXECUTOR": "CeleryExecutor", "AIRFLOW_HOME": "/x", "HOME": "/home/a", "PATH": "/bin"}

    found = airflow.environment(places, Settings(store="store", ingest_cron="0 0 * * *"), PORTS, caller)

    assert [name for name in found if name.startswith("AIRFLOW")] == ["AIRFLOW_HOME"]
    assert found["AIRFLOW_HOME"] == str(places.airflow)
    assert found["EYEWALL_SERVER"] == "127.0.0.1:18500"
    assert found["EYEWALL_INGEST_CRON"] == "0 0 * * *"
    assert found["EYEWALL_STORE"] == str(places.root / "store")
    assert found["HOME"] == "/home/a"
    secret = json.loads((places.airflow / "secrets.json").read_text()) if list(places.airflow.iterdir()) else {}
    assert not set(secret.values()) & set(found.values())


@pytest.mark.parametrize(
    ("store", "absolute"), [("s3://bucket/x", "s3://bucket/x"), ("/data", "/data"), ("var/store", "{root}/var/store")]
)
def test_the_store_is_the_same_for_whoever_asks_from_wherever(places, store, absolute):
    assert airflow.absolute_store(places, Settings(store=store)) == absolute.format(root=places.root)


def test_a_running_platform_is_not_said_to_be_on_other_ports(places, monkeypatch):
    """As after a change of the settings: the address that `up` prints must be true."""
    monkeypatch.setattr(Supervisor, "pid_of", lambda self, name: os.getpid() if name == "scheduler" else None)
    (places.run / "ports.json").write_text(json.dumps(PORTS._asdict()))

    with pytest.raises(InputError, match=r"runs on ports .*18080.* `eyewall platform down`"):
        up(Installation(places, Settings(), Ports.free(), os.environ), print)


def test_a_port_in_use_is_told_before_anything_is_started(places):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = Ports.free()._replace(rest=taken.getsockname()[1])

        with pytest.raises(InputError, match="EYEWALL_REST_PORT"):
            up(Installation(places, Settings(), ports, os.environ), print)

    assert not places.postgres.exists()
    assert list(places.run.glob("*.pid")) == []


def test_status_of_what_was_never_started(places):
    found = status(Installation(places, Settings(), PORTS, os.environ))

    assert set(found.values()) == {"stopped"}
    assert set(found) == {"postgres", "api-server", "scheduler", "dag-processor", "triggerer", "model-server"}
