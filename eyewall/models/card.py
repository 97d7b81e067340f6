"""The model card: everything about a trained model that is not its weights, written as ``model.json`` beside them."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from eyewall.contracts.artifact_card import ArtifactCard
from eyewall.contracts.features import FIX_AGES_H, LEADS_H, ImageSpec

CARD_NAME = "model.json"
SAVED_MODEL_DIR = "saved_model"
HISTORY_NAME = "history.csv"

Kind = Literal["track", "image", "fusion"]


class Normalisation(BaseModel):
    """Means and standard deviations of the training split, by which inputs are brought to order one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wind_mean_kt: float = 60.0
    wind_std_kt: float = Field(25.0, gt=0)
    pressure_mean_hpa: float = 980.0
    pressure_std_hpa: float = Field(20.0, gt=0)
    image_mean: float = Field(260.0, description="kelvin or grey level, over pixels that are not missing")
    image_std: float = Field(30.0, gt=0)
    #: Where base positions are counted from: CLIPER's meridian, and the middle of the hemisphere's storm belt.
    lon_origin_deg: float = 135.0
    lat_origin_deg: float = 20.0


class Spread(BaseModel):
    """The radii of the circles about a forecast position that hold 68 and 95 % of the outcomes, by lead.

    A learned answer's radius is its factor × the lead's scale × the mean error that the network expects of the case;
    the radii of an answer that is CLIPER's are fixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor_68: tuple[float, ...]
    factor_95: tuple[float, ...]
    cliper_68_km: tuple[float, ...]
    cliper_95_km: tuple[float, ...]


class LeadSkill(BaseModel):
    """Validation at one lead: mean great-circle errors on the same ``n`` cases, km."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=0)
    model: float | None = Field(description="km; none where the split has no case at that lead")
    cliper: float | None
    track: float | None = Field(None, description="of the track-only model that this one corrects, if it does")


def _said(values: dict[str, Any]) -> dict[str, Any]:
    """A card's values without the fields that older cards had not, where they say nothing."""
    said = {name: value for name, value in values.items() if value or name not in ("sizes", "options", "track")}
    said["val_km"] = {
        lead: {name: km for name, km in skill.items() if name != "track" or km is not None}
        for lead, skill in values["val_km"].items()
    }
    return said | ({"track": _said(values["track"])} if values["track"] else {})


class ModelCard(ArtifactCard):
    """What was trained, on what, how, and what it reached on the validation split."""

    file_name = CARD_NAME
    what, remedy = "a model", "give a model that eyewall train made"

    schema_version: Literal[1] = 1
    kind: Kind
    images: ImageSpec = Field(description="images that the model takes; frames 0: none, whatever the records held")
    max_frame_age_h: float | None = Field(None, gt=0, description="oldest frame of a sample; none: not known")
    min_frame_gap_h: float | None = Field(None, ge=0, description="least time between two frames; none: not known")
    leads_h: tuple[int, ...] = LEADS_H
    fix_ages_h: tuple[int, ...] = FIX_AGES_H
    parameters: int = Field(ge=0, description="trainable weights")

    records_sha256: str
    seasons: dict[str, tuple[int, ...]] = Field(description="seasons in each split")
    samples: dict[str, int] = Field(description="samples in each split")

    strategy: str
    workers: int
    ps: int
    steps: int
    batch: int
    learning_rate: float
    seed: int

    best_step: int = Field(description="the step whose weights these are; 0: the untrained model, which is CLIPER")
    loss_first: float
    loss_last: float
    val_km: dict[str, LeadSkill] = Field(description="lead in hours → mean validation errors")
    shrinkage: dict[str, float] = Field(
        description="lead in hours → factor 0–1 on the learned correction, chosen on the validation split; 0 is CLIPER"
    )

    cliper: dict[str, Any] = Field(
        description="coefficients, as Cliper.to_json() gives them, fitted on the train split"
    )
    scale_km: tuple[float, ...] = Field(description="per lead: the network's output of 1 means so many km")
    normalisation: Normalisation
    min_wind_kt: float = Field(0.0, ge=0, description="weakest wind of the cases of CLIPER's fit and of validation")
    spread: Spread | None = Field(None, description="fitted on the validation split, where that is too small on train")
    sizes: dict[str, Any] = Field(
        default_factory=dict, description="of the network, where they are not its own defaults: eyewall.models.sizes"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="fields of the training job, if not the defaults")
    track: Self | None = Field(
        None, description="card of the track-only model that this one corrects and answers as without an image"
    )

    def said(self) -> dict[str, Any]:
        """What is written; what came later goes unsaid at its default."""
        return _said(self.model_dump(mode="json"))
