"""The jobs of the main flow, and JOBS, the table of all of them; what every job has is in `eyewall.contracts.job`."""

from typing import ClassVar, Literal

from pydantic import Field

from eyewall.contracts.fields import DEFAULT_BOX, AreaText, BoxText, Name, Uri, UtcTime
from eyewall.contracts.image_jobs import FindCentreJob, PretrainJob, TrainCentreJob
from eyewall.contracts.job import Job as Job
from eyewall.contracts.job import TracksFormat as TracksFormat
from eyewall.contracts.split_jobs import MeasureSplitJob, NetworkJob, PrivacyJob, ScoreNetworkJob, SplitStudyJob

Strategy = Literal["single", "mirrored", "multi_worker", "parameter_server", "model_parallel"]


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
    shards: int | None = Field(
        None, ge=1, le=4096, description="files a split; default: 4, and more where one would exceed 512 MiB"
    )
    processes: int = Field(1, ge=1, le=64, description="processes that cut out images; the result is the same")


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
    track_model_ref: Uri | None = Field(
        None,
        description="trained model of kind track that a fusion stands on: it stays as it is, and the images learn to"
        " correct it; default: all of a fusion is trained together. A model image takes its CLIPER and scales alone",
        json_schema_extra={"option": "--track-model"},
    )
    residuals_ref: Uri | None = Field(
        None,
        description="track model whose errors the images learn from, in place of --track-model: one that has not seen"
        " the seasons with frames errs there as it does on new ones",
        json_schema_extra={"option": "--residuals-of"},
    )
    track_network: Literal["perceptron", "gru", "lstm", "attention"] = Field(
        "perceptron", description="of the track ensemble's members; the others read the fixes one by one as well"
    )
    encoder: Literal["cnn", "convlstm", "rings"] = Field(
        "cnn", description="of images: convolutions, also recurrent ones over the frames, or rings of a wide scene"
    )
    pretrained_ref: Uri | None = Field(
        None,
        description="encoder of eyewall pretrain to begin from, in place of the cnn's own convolutions",
        json_schema_extra={"option": "--pretrained"},
    )
    frozen_encoder: bool = Field(False, description="leave the pretrained encoder as it is")
    size: Literal["small", "medium", "large"] = Field(
        "small", description="of the networks; large ones need --strategy model_parallel"
    )
    width: int | None = Field(None, ge=1, le=65536, description="units of the wide layers, in place of the size's own")
    channels: tuple[int, ...] = Field((), description="of the image convolutions, in place of the size's own")
    augment: bool = Field(
        False, description="turn, shift and fade the training images at random, and turn the targets with them"
    )
    weight_decay: float = Field(0.02, ge=0)
    doubt: float = Field(
        1.0, ge=0, description="standard errors over storms by which a gain on the validation split has to stand out"
    )
    mixed_precision: bool = Field(False, description="bfloat16 where it is safe: for GPUs that are fast at it")
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
        PretrainJob,
        TrainCentreJob,
        FindCentreJob,
    )
}
