"""What a served version wants to see: the images it was trained on, and the rule by which frames were taken for them.

Both are in the card that the version was published with, so that a forecast looks at the sky as the records did.
"""

from dataclasses import dataclass

from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import ImageSpec
from eyewall.contracts.jobs import ForecastJob, RecordsJob
from eyewall.contracts.layout import version_dir
from eyewall.serving.repository import CARD_PATH
from eyewall.storage import Store


@dataclass(frozen=True)
class WantedImages:
    """Geometry of the images (frames 0: none), and which frames may become one."""

    spec: ImageSpec
    max_frame_age_h: float
    min_frame_gap_h: float


def wanted_images(store: Store, job: ForecastJob, version: int) -> WantedImages:
    """From the card of ``version``; the frame rule is the job's where it gives one, else the card's.

    A card of before the rule was kept in it gets what records are made with unless told otherwise. Raises
    ContractError when the card is none.
    """
    card = store.read_json(f"{version_dir(job.name, version)}/{CARD_PATH}")
    try:
        spec = ImageSpec.model_validate(card["images"])
        rule = {name: _hours(getattr(job, name), card.get(name), name) for name in _RULE}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ContractError(
            f"the card of version {version} of model {job.name!r} does not say which images it takes: publish a model"
            " that eyewall trained"
        ) from None
    return WantedImages(spec, **rule)


_RULE = ("max_frame_age_h", "min_frame_gap_h")


def _hours(asked: float | None, in_card: float | None, name: str) -> float:
    if asked is not None:
        return asked
    return float(RecordsJob.model_fields[name].default if in_card is None else in_card)
