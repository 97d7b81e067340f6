"""The chart's values and the settings file beside them agree with the manifests, and hold no secret."""

from typing import Any

import pytest
import yaml
from rendered import DEPLOY, kustomize, of_kind, overlay

from eyewall import __version__
from eyewall.contracts.settings import Settings

PODS = ("scheduler", "triggerer", "dagProcessor", "apiServer")
#: What a run fills in.
GIVEN = {"train": {"records_ref": "r", "run": "r"}, "gate": {"evaluation_ref": "e"}, "publish": {"decision_ref": "d"},
         "verify": {"model_ref": "m"}}  # fmt: skip


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """deploy/airflow/values.yaml."""
    parsed: dict[str, Any] = yaml.safe_load((DEPLOY / "airflow" / "values.yaml").read_text())
    return parsed


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The settings file, as a process would read it that has nothing else in its environment."""
    return Settings.load({"EYEWALL_SETTINGS": str(DEPLOY / "airflow" / "eyewall.toml")})


def test_the_image_is_of_this_version(values: dict[str, Any]) -> None:
    assert (values["defaultAirflowRepository"], values["defaultAirflowTag"]) == ("eyewall-airflow", __version__)


def test_only_who_makes_or_watches_pods_may(values: dict[str, Any]) -> None:
    accounts = {name: values[name]["serviceAccount"] for name in PODS}

    assert {name for name in PODS if accounts[name]["name"] == "eyewall-airflow"} == {"scheduler", "triggerer"}
    assert {account["name"] for account in accounts.values()} <= set(of_kind(overlay("claim"), "ServiceAccount"))
    assert not any(account["create"] for account in accounts.values())
    assert values["rbac"]["create"] is values["allowPodLaunching"] is False


def test_secrets_are_named_and_never_given(values: dict[str, Any]) -> None:
    assert set(values["data"]) == {"metadataSecretName"}
    for field in ("fernetKey", "apiSecretKey", "jwtSecret", "webserverSecretKey"):
        assert field not in values
    assert {values[f"{field}SecretName"] for field in ("fernetKey", "apiSecretKey")} | {values["jwtSecretName"]} == {
        "airflow-fernet-key", "airflow-api-secret-key", "airflow-jwt-secret",
    }  # fmt: skip
    assert values["createUserJob"]["defaultUser"]["enabled"] is False


def test_the_job_queue_has_its_database_and_its_pools(values: dict[str, Any]) -> None:
    from eyewall.platform.airflow import POOLS

    assert values["secret"] == [
        {"envName": "EYEWALL_DATABASE_URL", "secretName": "eyewall-database", "secretKey": "url"}
    ]
    for name, slots in POOLS.items():
        assert f"&& airflow pools set {name} {slots} " in values["migrateDatabaseJob"]["args"][-1]


def test_airflows_pods_comply_with_the_namespace(values: dict[str, Any]) -> None:
    pod, container = values["securityContexts"]["pod"], values["securityContexts"]["containers"]

    assert pod["runAsNonRoot"] is True
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert all(values[name]["resources"]["limits"] for name in PODS)


def test_the_settings_file_is_where_its_variable_says(values: dict[str, Any]) -> None:
    variables = {variable["name"]: variable["value"] for variable in values["env"]}
    (mount,) = (m for m in values["volumeMounts"] if m["name"] == "eyewall-settings")
    (volume,) = (v for v in values["volumes"] if v["name"] == "eyewall-settings")
    config_map = of_kind(kustomize(DEPLOY / "airflow"), "ConfigMap")[volume["configMap"]["name"]]
    folder, _, name = variables["EYEWALL_SETTINGS"].rpartition("/")

    assert folder == mount["mountPath"]
    assert config_map["data"][name] == (DEPLOY / "airflow" / "eyewall.toml").read_text()
    assert config_map["metadata"]["namespace"] == "eyewall"


def test_the_settings_name_what_the_manifests_make(settings: Settings) -> None:
    objects, kubernetes = overlay("claim"), settings.kubernetes

    assert settings.backend == "kubernetes"
    assert kubernetes.namespace in of_kind(objects, "Namespace")
    assert kubernetes.service_account in of_kind(objects, "ServiceAccount")
    assert kubernetes.priority_class in of_kind(objects, "PriorityClass")
    assert {mount.claim for mount in kubernetes.mounts} == set(of_kind(objects, "PersistentVolumeClaim"))


def test_forecasts_ask_the_fleet_and_publishing_tries_the_canary(settings: Settings) -> None:
    services = of_kind(overlay("claim"), "Service")
    forecast = settings.job("forecast", "himawari9")
    publish = settings.job("publish", "himawari9", **GIVEN["publish"])

    assert forecast.server == "model-server:8500"  # type: ignore[attr-defined]
    assert publish.server == "model-server-canary:8500"  # type: ignore[attr-defined]
    assert publish.server_base == "/store/serving"  # type: ignore[attr-defined]
    assert {"model-server", "model-server-canary"} == set(services)
    assert all(8500 in [port["port"] for port in service["spec"]["ports"]] for service in services.values())


def test_every_step_of_the_stream_makes_a_job(settings: Settings) -> None:
    steps = settings.streams["himawari9"]

    assert set(steps) == {"ingest", "records", "train", "verify", "gate", "publish", "forecast"}
    for verb in steps:
        assert settings.job(verb, "himawari9", **GIVEN.get(verb, {})).store == "/store"
