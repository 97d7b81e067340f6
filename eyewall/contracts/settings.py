"""Settings: where things are on this installation, and the arguments of each step for each stream.

One TOML file, named by EYEWALL_SETTINGS (default: eyewall.toml in the working directory, if there is one); the plain
values can be overridden by the environment, in capitals with EYEWALL_ before. Secrets are taken from the environment
alone (EYEWALL_DATABASE_URL), so that no file has to be kept secret.

    store = "var/store"            # EYEWALL_STORE
    backend = "process"            # EYEWALL_BACKEND
    server = "tfs.example:8500"    # EYEWALL_SERVER: gRPC of a model server of your own; without it: the platform's
    default_stream = "himawari9"   # EYEWALL_DEFAULT_STREAM
    ingest_cron = "0 * * * *"      # EYEWALL_INGEST_CRON: when slots are read; each run reads one period of it
    airflow_port = 8080            # EYEWALL_AIRFLOW_PORT: web page and API of the local platform
    grpc_port = 8500               # EYEWALL_GRPC_PORT: model server of the local platform
    rest_port = 8501               # EYEWALL_REST_PORT

    [streams.himawari9.ingest]     # fields of IngestJob; [streams.<name>.<verb>] in general
    source = "s3://noaa-himawari9/AHI-L1b-FLDK"
    reader = "ahi_hsd"
    area = "100,0,180,60,0.1"

The tables ``[docker]`` and ``[kubernetes]`` are in `eyewall.contracts.placement`, ``[environments]`` in
`eyewall.contracts.environments`, ``[queue]`` in `eyewall.contracts.queueing`, ``[workers.<name>]`` in
`eyewall.contracts.workers`.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eyewall.contracts.environments import EnvironmentsSettings
from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import Name, Uri
from eyewall.contracts.jobs import JOBS, Job, PublishJob
from eyewall.contracts.placement import DockerSettings, KubernetesSettings
from eyewall.contracts.queueing import QueueSettings
from eyewall.contracts.workers import WorkerSettings

Backend = Literal["process", "docker", "kubernetes"]
#: Fields of jobs that the installation or the run fills in: a stream has no say in them.
_NOT_OF_A_STREAM = frozenset({"store", "receipt"})
#: Steps that ask for the served model → the field that names it.
_SERVED_NAME = {"verify": "incumbent_name", "forecast": "name"}
_PLAIN = ("store", "backend", "server", "default_stream", "ingest_cron", "airflow_port", "grpc_port", "rest_port")
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """One installation's settings; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: Uri = "var/store"
    backend: Backend = "process"
    server: str | None = None
    default_stream: Name = "demo"
    ingest_cron: str = Field("0 * * * *", pattern=r"^[-0-9*/, ]{9,100}$")
    airflow_port: Port = 8080
    grpc_port: Port = 8500
    rest_port: Port = 8501
    docker: DockerSettings = Field(default_factory=DockerSettings)
    kubernetes: KubernetesSettings = Field(default_factory=KubernetesSettings)
    environments: EnvironmentsSettings = Field(default_factory=EnvironmentsSettings)
    queue: QueueSettings = Field(default_factory=QueueSettings)
    workers: dict[Name, WorkerSettings] = Field(default_factory=dict)
    streams: dict[Name, dict[str, dict[str, Any]]] = Field(default_factory=dict)

    @field_validator("streams")
    @classmethod
    def _known_verbs_and_fields(cls, streams: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
        for stream, verbs in streams.items():
            for verb, values in verbs.items():
                if verb not in JOBS:
                    raise ValueError(f"streams.{stream}.{verb}: no such step; steps are {', '.join(JOBS)}")
                unknown = set(values) - (set(JOBS[verb].model_fields) - _NOT_OF_A_STREAM)
                if unknown:
                    raise ValueError(f"streams.{stream}.{verb}: unknown fields {sorted(unknown)}")
        return streams

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Settings of this process. Raises ContractError, naming the file and the value, when they are not valid."""
        named = environ.get("EYEWALL_SETTINGS")
        path = Path(named or "eyewall.toml")
        values: dict[str, Any] = {}
        if named or path.exists():
            try:
                values = tomllib.loads(path.read_text())
            except OSError as error:
                raise ContractError(
                    f"settings file {path} cannot be read: {error.strerror}; see EYEWALL_SETTINGS"
                ) from None
            except ValueError as error:
                raise ContractError(f"settings file {path} is not valid TOML: {error}") from None
        values |= {key: environ[name] for key in _PLAIN if (name := f"EYEWALL_{key.upper()}") in environ}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ContractError(f"settings {path}: {where} = {first.get('input')!r}: {first['msg']}") from None

    @property
    def server_address(self) -> str:
        """host:port of the model server as the backend's steps see it; the local platform's where none is named."""
        elsewhere = {"docker": self.docker.server, "kubernetes": self.kubernetes.server}.get(self.backend)
        return elsewhere or self.server or f"127.0.0.1:{self.grpc_port}"

    def job(self, verb: str, stream: str | None = None, **values: Any) -> Job:
        """The job of ``verb`` for ``stream``: the step's defaults, then the stream's settings, then ``values``.

        A step that reads or writes frames takes those of ``stream`` itself, unless the settings name others; verify
        and forecast ask for the model that the stream publishes, unless the settings name another.
        A value of None leaves the setting as it is. Raises ContractError for an unknown verb, stream or field.
        """
        if verb not in JOBS:
            raise ContractError(f"no step {verb!r}: steps are {', '.join(JOBS)}")
        merged: dict[str, Any] = {"store": self.store}
        if "server" in JOBS[verb].model_fields:
            merged["server"] = self.server_address
        if stream is not None:
            if stream not in self.streams:
                raise ContractError(f"no stream {stream!r} in the settings: streams are {sorted(self.streams)}")
            if "stream" in JOBS[verb].model_fields:
                merged["stream"] = stream
            if field := _SERVED_NAME.get(verb):
                published = self.streams[stream].get("publish", {})
                merged[field] = published.get("name", PublishJob.model_fields["name"].default)
            merged |= self.streams[stream].get(verb, {})
        merged |= {key: value for key, value in values.items() if value is not None}
        return JOBS[verb].parse(merged)
