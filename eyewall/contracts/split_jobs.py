"""The jobs of the split study: networks, what they score and give away, every way measured, the report."""

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from eyewall.contracts.fields import Name, Uri
from eyewall.contracts.job import Job
from eyewall.contracts.split_study import BOTTLENECKS, CHANNELS


class NetworkJob(Job):
    """Labelled images → a network of the split study, with chosen filters at its cut; resumable at every epoch."""

    verb: ClassVar[str] = "train-network"
    runner: ClassVar[str] = "eyewall.split.networks.train_step:run"

    images: Uri = Field(description="image pack: an .npz of JPEG bytes, offsets and labels for train and test")
    network: Literal["cifar10"] = "cifar10"
    channels: int = Field(32, ge=1, le=1024, description="filters of the layer before the cut")
    bottleneck: int | None = Field(
        None, ge=1, le=1024, description="squeeze each 4×4 block of those filters to so many values at the cut"
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
