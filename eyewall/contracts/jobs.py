"""Jobs: one frozen, typed object per step, which round-trips through the command line ``eyewall <verb> …``.

A field becomes an option of the same name with dashes (or the name given by ``option=``), a tuple becomes a repeated
option, a flag becomes ``--flag/--no-flag``. But for the store, fields left at their default are not passed on, so that
a job's command stays short. Fields named ``*_ref`` take a path or URL of an artifact, or of the receipt that names it.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eyewall.contracts.errors import ContractError
from eyewall.contracts.fields import DEFAULT_BOX, AreaText, BoxText, Name, Uri, UtcTime
from eyewall.contracts.split_study import BOTTLENECKS, CHANNELS

TracksFormat = Literal["auto", "ibtracs", "jma", "atcf", "digital_typhoon"]
Strategy = Literal["single", "mirrored", "multi_worker", "parameter_server", "model_parallel"]


class Job(BaseModel):
    """What every step has: where artifacts live, and where the receipt of the result goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verb: ClassVar[str]
    runner: ClassVar[str]  #: "module:function" that takes the job and returns its Receipt

    store: Uri = Field("var/store", description="artifact store: a folder or an fsspec URL (s3://bucket/prefix)")
    receipt: Uri | None = Field(None, description="file for the receipt of the result, inside the store")

    @classmethod
    def option_of(cls, field: str) -> str:
        """The command-line option of ``field``."""
        extra = cls.model_fields[field].json_schema_extra
        named = extra.get("option") if isinstance(extra, dict) else None
        return str(named) if named else "--" + field.replace("_", "-")

    def to_args(self) -> list[str]:
        """The command line after ``eyewall``, as a list for exec: no shell ever sees it."""
        args = [self.verb]
        values = self.model_dump(mode="json")
        for field, info in type(self).model_fields.items():
            value = values[field]
            # The store is always named: where the command runs, settings or the environment may have another default.
            is_default = not info.is_required() and getattr(self, field) == info.get_default(call_default_factory=True)
            if is_default and field != "store":
                continue
            option = self.option_of(field)
            if isinstance(value, bool):
                args.append(option if value else "--no-" + option.removeprefix("--"))
            elif isinstance(value, list):
                args += [f"{option}={item}" for item in value]
            elif value is not None:
                args.append(f"{option}={value}")
        return args

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """``values`` → job; every problem in one sentence. Raises ContractError."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(cls._problem(dict(problem)) for problem in error.errors())
            raise ContractError(f"{problems}; see eyewall {cls.verb} --help") from None

    @classmethod
    def _problem(cls, problem: dict[str, Any]) -> str:
        """One of pydantic's errors in words: the option, the value, what is wrong with it."""
        field = str(problem["loc"][0]) if problem["loc"] else cls.verb
        name = cls.option_of(field) if field in cls.model_fields else field
        if problem["type"] == "missing":
            return f"{name} ({field}) is required"
        return f"{'.'.join(map(str, problem['loc'])) or cls.verb} = {problem.get('input')!r}: {problem['msg']}"


class IngestJob(Job):
    """Files of satellite slots → frames. Give ``files``, or ``source`` with ``slot_from`` and ``slot_to``."""

    verb: ClassVar[str] = "ingest"
    runner: ClassVar[str] = "eyewall.satellite.step:run"

    stream: Name = Field("adhoc", description="name of the series of frames, a folder in the store")
    reader: Name = Field(description="a satpy reader, or digital_typhoon, or map_picture")
    files: tuple[Uri, ...] = Field((), description="glob of files on this machine; may be repeated")
    source: Uri | None = Field(
        None, description="folder or bucket with the slots; strftime fields where its folders are laid out by time"
    )
    slot_from: UtcTime | None = Field(None, description="first nominal slot time, inclusive, UTC")
    slot_to: UtcTime | None = Field(None, description="last nominal slot time, exclusive, UTC")
    dataset: Name | None = Field(None, description="the reader's dataset; default: its window channel near 10.8 um")
    area: AreaText | None = Field(None, description="lon0,lat0,lon1,lat1,deg_per_px; default: as scanned")
    wanted_segments: tuple[int, ...] = Field((), description="segments to read; default: those that the area needs")
    critical_segments: tuple[int, ...] = Field((), description="segments without which the slot is refused")
    timeliness_minutes: float | None = Field(
        None, gt=0, description="refuse a slot younger than this with wanted segments missing; they may still come"
    )
    min_valid_fraction: float = Field(0.0, ge=0, le=1, description="refuse a frame with fewer valid pixels")
    inbox: bool = Field(
        False, description="bad satellite files are taken away from the source once in quarantine; strangers never are"
    )


class RecordsJob(Job):
    """Best tracks and frames → storm-centred samples in TFRecord shards, split by storm and season."""

    verb: ClassVar[str] = "records"
    runner: ClassVar[str] = "eyewall.records.step:run"

    tracks: Uri = Field(description="best-track file or folder")
    tracks_format: TracksFormat = "auto"
    stream: Name | None = Field(None, description="frames to join; none: track-only samples")
    train_from: int = Field(1951, description="first training season, inclusive")
    train_to: int = Field(description="last training season, inclusive; validation begins the year after")
    val_to: int = Field(description="last validation season, inclusive; testing begins the year after")
    test_to: int = Field(description="last test season, inclusive")
    min_wind_kt: float = Field(34.0, ge=0, description="weakest 10-minute wind at the base time")
    box: BoxText = Field(DEFAULT_BOX, description="west,south,east,north in degrees that holds the base positions")
    frames: int = Field(3, ge=0, le=48, description="past frames a sample holds at most")
    px: int = Field(64, ge=8, le=1024, description="rows and columns of a storm-centred image")
    km_per_px: float = Field(20.0, gt=0)
    max_frame_age_h: float = Field(12.0, gt=0, description="oldest frame a sample may hold, hours before base time")
    min_frame_gap_h: float = Field(1.0, ge=0, description="least time between two frames of a sample")
    frames_only: bool = Field(False, description="drop samples without any frame")
    shards: int = Field(4, ge=1, le=4096, description="shards a split")


class TrainJob(Job):
    """Records → a SavedModel, by a named model and strategy, resumable at any step."""

    verb: ClassVar[str] = "train"
    runner: ClassVar[str] = "eyewall.training.step:run"

    records_ref: Uri = Field(description="records artifact or its receipt", json_schema_extra={"option": "--records"})
    run: Name = Field(description="name of the run: the folder of its checkpoints; the same name resumes")
    model: Literal["track", "image", "fusion"] = "fusion"
    strategy: Strategy = "single"
    workers: int = Field(
        1, ge=1, le=1024, description="training replicas; the chief is one of them, but stands beside them under ps"
    )
    ps: int = Field(0, ge=0, le=1024, description="parameter servers")
    devices: int = Field(
        1, ge=1, le=64, description="of each replica under model_parallel: GPUs, else virtual devices of its CPU"
    )
    model_axis: int | None = Field(
        None,
        ge=1,
        description="devices that hold one copy of the weights together under model_parallel, within a replica or over"
        " several; default: a replica's devices, or all replicas where each has one",
    )
    steps: int = Field(500, ge=1, description="optimizer steps in all, whatever happens in between")
    batch: int = Field(64, ge=1, description="global batch size, shared out among synchronous workers")
    learning_rate: float = Field(3e-3, gt=0, description="peak; warmed up, then a cosine to 0")
    seed: int = Field(0, ge=0)
    min_wind_kt: float = Field(
        0.0, ge=0, description="weakest 10-minute wind of the cases that CLIPER is fitted on and that validation judges"
        " by; the others of the records only teach. Best with records of --min-wind-kt 0 and 34 here",
    )  # fmt: skip
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")
    heartbeat_timeout_s: float = Field(120.0, gt=0, description="a replica silent for this long is lost")

    @property
    def workers_beside_chief(self) -> int:
        """Replicas of role ``worker``: the chief of a synchronous cluster trains too, and is counted in ``workers``."""
        return self.workers if self.strategy == "parameter_server" else self.workers - 1


class VerifyJob(Job):
    """Candidate, incumbent, CLIPER and persistence on one homogeneous sample."""

    verb: ClassVar[str] = "verify"
    runner: ClassVar[str] = "eyewall.verification.step:run"

    truth: Uri = Field(description="best tracks to verify against")
    fit: Uri | None = Field(None, description="best tracks to fit CLIPER on; default: the truth file's earlier seasons")
    tracks_format: TracksFormat = "auto"
    model_ref: Uri | None = Field(
        None, description="candidate: model artifact, SavedModel or receipt", json_schema_extra={"option": "--model"}
    )
    incumbent_ref: Uri | None = Field(
        None, description="served model, if any", json_schema_extra={"option": "--incumbent"}
    )
    incumbent_name: Name | None = Field(
        None, description="take the stable version of this served model as the incumbent, if there is one"
    )
    records_ref: Uri | None = Field(
        None, description="records whose test split gives the images", json_schema_extra={"option": "--records"}
    )
    season_from: int = Field(description="first season verified, inclusive", json_schema_extra={"option": "--from"})
    season_to: int = Field(description="last season verified, inclusive", json_schema_extra={"option": "--to"})
    fit_from: int | None = Field(
        None, description="first season of the fit, inclusive; default: the records' first of training, or the file's"
    )
    fit_to: int | None = Field(
        None, description="last season of the fit, inclusive; default: the records' last of training, or --from less 1"
    )
    min_wind_kt: float = Field(34.0, ge=0, description="weakest 10-minute wind at the base time")
    box: BoxText | None = Field(
        None,
        description="west,south,east,north in degrees that holds the base positions;"
        f" default: the records' box, or {DEFAULT_BOX}",
    )
    frames_only: bool = Field(False, description="only cases with at least one frame in the records")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples of storms")
    seed: int = Field(0, ge=0)
    plots: bool = Field(True, description="draw skill by lead beside the report")


class GateJob(Job):
    """A verification report → a written decision; ends with 99 when the answer is no."""

    verb: ClassVar[str] = "gate"
    runner: ClassVar[str] = "eyewall.verification.gate_step:run"

    evaluation_ref: Uri = Field(
        description="evaluation artifact or its receipt", json_schema_extra={"option": "--evaluation"}
    )
    leads_h: tuple[int, ...] = (12, 24, 48)
    min_cases: int = Field(30, ge=1)
    min_storms: int = Field(3, ge=1)
    max_worse_than_cliper_pct: float = 2.0
    max_worse_than_incumbent_pct: float = 0.0
    close_call_pct: float = Field(0.0, ge=0)


class PublishJob(Job):
    """An approved model → the next version in the model repository, served and labelled ``stable``."""

    verb: ClassVar[str] = "publish"
    runner: ClassVar[str] = "eyewall.serving.publish_step:run"

    decision_ref: Uri = Field(
        description="decision artifact or its receipt", json_schema_extra={"option": "--decision"}
    )
    name: Name = Field("track", description="name of the served model")
    server: str | None = Field(None, description="host:port of the model server's gRPC; none: copy only")
    server_base: Uri | None = Field(
        None, description="the model repository as the server sees it; default: as this step sees it"
    )
    timeout_s: float = Field(120.0, gt=0, description="how long the server may take to load and answer")
    approved_by: str | None = Field(None, max_length=200, description="who said yes to a close call")


class ForecastJob(Job):
    """Active storms at a base time → forecasts by the model server, stored as JSON, GeoJSON and a map."""

    verb: ClassVar[str] = "forecast"
    runner: ClassVar[str] = "eyewall.serving.forecast_step:run"

    tracks: Uri = Field(description="best tracks or fixes so far")
    tracks_format: TracksFormat = "auto"
    stream: Name | None = Field(None, description="frames to use; none: track only")
    base_time: UtcTime | None = Field(
        None, description="UTC; default: the newest frame of the stream, without a stream the newest fix"
    )
    storm: str | None = Field(None, max_length=40, description="one storm id; default: every active storm")
    name: Name = "track"
    label: Name = "stable"
    server: str = Field("127.0.0.1:8500", description="host:port of the model server's gRPC")
    truth: bool = Field(False, description="draw what the best track did afterwards as well")
    max_frame_age_h: float | None = Field(
        None, gt=0, description="oldest frame to use, hours before base time; default: as in the model's records"
    )
    min_frame_gap_h: float | None = Field(
        None, ge=0, description="least hours between two frames; default: as in the model's records"
    )
    timeout_s: float = Field(30.0, gt=0)


class ServeJob(Job):
    """The embedded model server: TensorFlow Serving's gRPC and REST API over the store's model repository."""

    verb: ClassVar[str] = "serve"
    runner: ClassVar[str] = "eyewall.serving.serve_step:run"

    host: str = Field("127.0.0.1", description="address to listen on")
    grpc_port: int = Field(8500, ge=0, le=65535, description="0 picks a free one")
    rest_port: int = Field(8501, ge=0, le=65535, description="0 picks a free one")
    poll_s: float = Field(2.0, ge=0, description="how often to look for the repository's model config; 0: never")
    threads: int = Field(4, ge=1)
    ready_file: Uri | None = Field(None, description="written with both ports once the server answers")
    grace_s: float = Field(10.0, ge=0, description="time for running requests on SIGTERM")
    tls_cert: Uri | None = Field(None, description="certificate chain, PEM: both ports speak TLS; needs --tls-key")
    tls_key: Uri | None = Field(None, description="its private key, PEM")
    token_file: Uri | None = Field(
        None, description="file with the bearer token that requests must bring; also EYEWALL_SERVER_TOKEN[_FILE]"
    )


class NetworkJob(Job):
    """Labelled images → a network of the split study, with chosen filters at its cut; resumable at every epoch."""

    verb: ClassVar[str] = "train-network"
    runner: ClassVar[str] = "eyewall.split.networks.train_step:run"

    images: Uri = Field(description="image pack: an .npz of JPEG bytes, offsets and labels for train and test")
    network: Literal["cifar10"] = "cifar10"
    channels: int = Field(32, ge=1, le=1024, description="filters of the layer before the cut")
    bottleneck: int | None = Field(
        None, ge=1, le=1024, description="squeeze those filters by a convolution to so many channels at the cut"
    )
    wire: Literal["float32", "int8"] = Field("float32", description="int8: train with the wire's rounding at the cut")
    teacher_ref: Uri | None = Field(
        None,
        description="trained network to begin from, where its layers fit, and whose answers to learn",
        json_schema_extra={"option": "--teacher"},
    )
    distillation: float = Field(
        0.9, ge=0, le=1, description="weight of the teacher's answers, labels have the rest; 0: only begin from it"
    )
    epochs: int = Field(24, ge=0, le=10_000, description="0: as it begins, such as from its teacher")
    batch: int = Field(128, ge=1, le=65_536)
    learning_rate: float = Field(0.03, gt=0, description="the highest; it rises over an epoch, then falls to 0")
    polish_epochs: int = Field(
        0, ge=0, le=10_000, description="after those, more in which the layers before a bottleneck are trained as well"
    )
    polish_learning_rate: float = Field(0.005, gt=0, description="the highest of these")
    weight_decay: float = Field(1e-3, ge=0)
    augment: Literal["none", "flip", "flip_shift"] = Field("none", description="what is done to training images")
    seed: int = Field(0, ge=0)
    validation: int = Field(
        0, ge=0, description="last training images, kept aside and scored; the test images are then not looked at"
    )


class ScoreNetworkJob(Job):
    """A trained network of the split study → its accuracy on the test images over each wire, head and tail apart."""

    verb: ClassVar[str] = "score-network"
    runner: ClassVar[str] = "eyewall.split.networks.score_step:run"

    network_ref: Uri = Field(description="trained network or its receipt", json_schema_extra={"option": "--network"})
    images: Uri = Field(description="image pack that it was trained on")
    calibration: int = Field(1000, ge=1, description="first training images, for the ranges of the int8 wire")
    validation: int = Field(0, ge=0, description="score these last training images instead of the test ones")


class PrivacyJob(Job):
    """A trained network of the split study → how much of the images a decoder gets back from the features."""

    verb: ClassVar[str] = "measure-privacy"
    runner: ClassVar[str] = "eyewall.split.networks.privacy_step:run"

    network_ref: Uri = Field(description="trained network or its receipt", json_schema_extra={"option": "--network"})
    images: Uri = Field(description="image pack that it was trained on")
    cuts: tuple[Name, ...] = Field((), description="layers to cut after; default: the network's own cut")
    wire: Literal["float32", "float16", "int8"] = "float32"
    train_images: int = Field(10_000, ge=1, description="first training images, for the decoder")
    test_images: int = Field(2000, ge=1, description="first test images, to reconstruct")
    epochs: int = Field(10, ge=1, le=10_000, description="of the decoder's training")
    seed: int = Field(0, ge=0)


class MeasureSplitJob(Job):
    """One part of the split study → times and bytes of every way of running its model, on every link; resumable."""

    verb: ClassVar[str] = "measure-split"
    runner: ClassVar[str] = "eyewall.split.study.measure_step:run"

    part: Literal["cifar10", "caffenet", "typhoon"] = Field(
        "cifar10", description="the paper's network, one of ImageNet's size, or a forecaster of this project"
    )
    images: Uri | None = Field(None, description="cifar10: image pack, for frames and the int8 wire's ranges")
    channels: tuple[int, ...] = Field(CHANNELS, description="cifar10: filters at the cut")
    bottlenecks: tuple[int, ...] = Field(BOTTLENECKS, description="cifar10: channels of squeezed cuts, int8")
    model_ref: Uri | None = Field(
        None, description="typhoon: image or fusion model, or its receipt", json_schema_extra={"option": "--model"}
    )
    records_ref: Uri | None = Field(
        None, description="typhoon: records whose test split is scored", json_schema_extra={"option": "--records"}
    )
    bandwidths_mbps: tuple[float, ...] = Field((1000.0, 100.0, 10.0, 1.0), description="of the link, each way")
    rtts_ms: tuple[float, ...] = Field((1.0, 20.0, 200.0), description="round trips of the link")
    requests: int = Field(8, ge=1, le=1000, description="requests of each way on each link that count, at least")
    batch: int = Field(32, ge=1, le=1024, description="frames in one request")
    client_cpu: float | None = Field(0.1, gt=0, le=64, description="the client's share of one core")
    link: Literal["auto", "namespaces", "proxy"] = Field(
        "auto", description="namespaces shaped by tc where they are allowed, else a proxy in user space"
    )
    seed: int = Field(0, ge=0)


class SplitStudyJob(Job):
    """Measurements and scores → the report of the split study: Markdown, JSON and plots."""

    verb: ClassVar[str] = "split-study"
    runner: ClassVar[str] = "eyewall.split.study.report_step:run"

    measurement_refs: tuple[Uri, ...] = Field(
        description="measurements or their receipts, one of each part", json_schema_extra={"option": "--measurement"}
    )
    score_refs: tuple[Uri, ...] = Field(
        (), description="scores of networks, and of privacy, or their receipts", json_schema_extra={"option": "--score"}
    )

    @field_validator("measurement_refs", "score_refs", mode="before")
    @classmethod
    def _named_ones(cls, refs: Any) -> Any:
        """A part that was not asked for is an empty text."""
        return tuple(ref for ref in refs if ref) if isinstance(refs, list | tuple) else refs


class SimulateJob(Job):
    """A small typhoon season: best tracks, and AHI HSD Target Area files for the imaged storms."""

    verb: ClassVar[str] = "simulate"
    runner: ClassVar[str] = "eyewall.simulator.step:run"

    out: Uri = Field(description="folder for the season; written beside and renamed")
    seed: int = Field(0, ge=0)
    first_season: int = Field(2001, ge=1900, le=2100)
    last_season: int = Field(2020, ge=1900, le=2100)
    storms_per_season: int = Field(12, ge=1, le=60)
    imaged_seasons: tuple[int, ...] = Field((), description="seasons with satellite files; default: the last three")
    imaged_storms: int = Field(2, ge=0, description="storms with satellite files in each imaged season")
    imaged_hours: int = Field(102, ge=6, le=240, description="hours that the Target Area follows a storm, at most")
    cadence_minutes: int = Field(360, ge=10, le=1440, multiple_of=10, description="minutes between slots")
    bad_files: int = Field(4, ge=0, le=8, description="files damaged on purpose, each in another way")


JOBS: dict[str, type[Job]] = {
    job.verb: job
    for job in (
        IngestJob,
        RecordsJob,
        TrainJob,
        VerifyJob,
        GateJob,
        PublishJob,
        ForecastJob,
        ServeJob,
        SimulateJob,
        NetworkJob,
        ScoreNetworkJob,
        PrivacyJob,
        MeasureSplitJob,
        SplitStudyJob,
    )
}
