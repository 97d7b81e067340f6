"""The three parts of the study: what each needs, and how its ways are made."""

from dataclasses import dataclass, field

from eyewall.contracts.errors import InputError
from eyewall.contracts.split_jobs import MeasureSplitJob
from eyewall.split.study.prepare import Bench
from eyewall.split.study.results import Candidate
from eyewall.storage import Store, resolve


@dataclass(frozen=True)
class PreparedPart:
    """What a measurement says of its part besides times."""

    model: str
    frame: str
    notes: tuple[str, ...] = ()
    jpeg_bytes: float | None = None
    losses: dict[str, float] = field(default_factory=dict)
    loss_unit: str = ""
    quality: dict[str, dict[str, float]] = field(default_factory=dict)
    scored: tuple[Candidate, ...] = ()  #: ways whose quality is known and that are not timed


def inputs_of(job: MeasureSplitJob, store: Store) -> dict[str, str]:
    """sha256 of what the part reads. Raises InputError when the job does not name it."""
    if job.part == "cifar10":
        from eyewall.split.networks.image_pack import ImagePack

        return {"images": ImagePack(_given(job.images, job, "images")).sha256}
    if job.part == "typhoon":
        model = resolve(store, _given(job.model_ref, job, "model_ref"), "model")
        records = resolve(store, _given(job.records_ref, job, "records_ref"), "records")
        return {"model": model.manifest.sha256(), "records": records.manifest.sha256()}
    return {}


def _given(value: str | None, job: MeasureSplitJob, field_name: str) -> str:
    if value is None:
        raise InputError(f"part {job.part!r} needs {job.option_of(field_name)}: see eyewall {job.verb} --help")
    return value


def prepare(job: MeasureSplitJob, store: Store, bench: Bench) -> PreparedPart:
    """Fill ``bench`` with the part's ways. Raises InputError, ContractError."""
    if job.part == "cifar10":
        from eyewall.split.study import cifar10_ways

        images = _given(job.images, job, "images")
        jpeg = cifar10_ways.prepare(bench, images, job.channels, job.bottlenecks, job.seed)
        return PreparedPart(
            "cifar10", "32 × 32 × 3 uint8, a JPEG copy of CIFAR-10, decoded",
            ("random weights: times do not depend on them",), jpeg_bytes=jpeg, loss_unit="points of accuracy",
        )  # fmt: skip
    if job.part == "caffenet":
        from eyewall.split.study import caffenet_ways

        caffenet_ways.prepare(bench, job.seed)
        return PreparedPart("caffenet", "227 × 227 × 3 uint8, noise", ("random weights: timing only",))
    from eyewall.split.study import typhoon_ways

    return typhoon_ways.prepare(job, store, bench)
