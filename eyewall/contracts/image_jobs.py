"""The jobs that look at pictures alone: pretraining of an encoder, and a network that finds a storm's centre."""

from typing import ClassVar

from pydantic import Field

from eyewall.contracts.fields import Name, Uri
from eyewall.contracts.job import Job, TracksFormat

#: Widths of the encoder's four stages, at a half, a quarter, an eighth and a sixteenth of the resolution.
ENCODER_CHANNELS = (16, 24, 48, 64)


class PretrainJob(Job):
    """Frames without any label → an encoder of storm-sized squares, by filling in hidden patches; resumable."""

    verb: ClassVar[str] = "pretrain"
    runner: ClassVar[str] = "eyewall.centre.pretrain_step:run"

    stream: Name = Field(description="frames to learn from")
    season_from: int = Field(description="first year of the frames, inclusive", json_schema_extra={"option": "--from"})
    season_to: int = Field(description="last year of the frames, inclusive", json_schema_extra={"option": "--to"})
    px: int = Field(96, ge=32, le=512, multiple_of=16, description="rows and columns of a square")
    km_per_px: float = Field(20.0, gt=0)
    channels: tuple[int, ...] = Field(
        ENCODER_CHANNELS, min_length=4, max_length=4, description="widths of the stages, each a multiple of 8"
    )
    hidden: float = Field(0.6, gt=0, lt=1, description="part of the patches that is hidden and to be filled in")
    steps: int = Field(1500, ge=1)
    batch: int = Field(16, ge=1)
    learning_rate: float = Field(2e-3, gt=0, description="peak; warmed up, then a cosine to 0")
    seed: int = Field(0, ge=0)
    mixed_precision: bool = Field(False, description="bfloat16 where it is safe: for GPUs that are fast at it")


class TrainCentreJob(Job):
    """Frames and best tracks → a network that finds storms' centres, about a first guess or anywhere; resumable."""

    verb: ClassVar[str] = "train-centre"
    runner: ClassVar[str] = "eyewall.centre.train_step:run"

    stream: Name = Field(description="frames to learn from")
    tracks: Uri = Field(description="best-track file or folder")
    tracks_format: TracksFormat = "auto"
    train_from: int = Field(1951, description="first training season, inclusive")
    train_to: int = Field(description="last training season, inclusive; validation begins the year after")
    val_to: int = Field(description="last validation season, inclusive")
    pretrained_ref: Uri | None = Field(
        None, description="encoder, or its receipt, to begin from", json_schema_extra={"option": "--pretrained"}
    )
    storm_share: float = Field(1.0, gt=0, le=1, description="part of the training storms that is used")
    px: int = Field(96, ge=32, le=512, multiple_of=16, description="rows and columns of a square")
    km_per_px: float = Field(20.0, gt=0)
    channels: tuple[int, ...] = Field(
        ENCODER_CHANNELS, min_length=4, max_length=4, description="widths of the stages, each a multiple of 8"
    )
    search_km: float = Field(300.0, gt=0, description="how far off the first guesses of the validation are at most")
    members: int = Field(1, ge=1, le=16, description="networks, trained one after the other, whose maps are averaged")
    steps: int = Field(1500, ge=1, description="optimizer steps of each network")
    batch: int = Field(16, ge=1)
    learning_rate: float = Field(2e-3, gt=0, description="peak; warmed up, then a cosine to 0")
    seed: int = Field(0, ge=0)
    mixed_precision: bool = Field(False, description="bfloat16 where it is safe: for GPUs that are fast at it")


class FindCentreJob(Job):
    """Frames → positions of storms with their spread, about first guesses and basin-wide, scored on best tracks."""

    verb: ClassVar[str] = "find-centre"
    runner: ClassVar[str] = "eyewall.centre.find_step:run"

    model_ref: Uri = Field(description="centre network or its receipt", json_schema_extra={"option": "--model"})
    stream: Name = Field(description="frames to search")
    season_from: int = Field(description="first year of the frames, inclusive", json_schema_extra={"option": "--from"})
    season_to: int = Field(description="last year of the frames, inclusive", json_schema_extra={"option": "--to"})
    tracks: Uri | None = Field(
        None, description="best tracks: what is found is scored on them, and first guesses are made by moving them"
    )
    tracks_format: TracksFormat = "auto"
    guesses: Uri | None = Field(
        None, description="first guesses, CSV of time_utc, storm_id, lat_deg, lon_deg; default: moved best tracks"
    )
    search_km: float = Field(300.0, gt=0, description="how far off a first guess may be")
    basin: bool = Field(True, description="search whole frames, without any first guess, as well")
    views: int = Field(5, ge=1, le=16, description="looks at each first guess, from places and angles of their own")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples of storms")
    seed: int = Field(0, ge=0, description="of the moved first guesses")
    plots: bool = Field(True, description="draw errors by intensity and their distribution beside the positions")
