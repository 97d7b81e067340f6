"""The card of a pretrained encoder, ``encoder.json``: what it takes, what it was trained on. Imports no TensorFlow."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from eyewall.contracts.artifact_card import ArtifactCard

CARD_NAME, WEIGHTS_NAME, HISTORY_NAME = "encoder.json", "weights.npz", "history.csv"


class PictureScale(BaseModel):
    """How pictures become planes: geometry, quantity, and the two numbers that bring values to order one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantity: Literal["brightness_temperature_k", "grey_level"]
    mean: float = Field(description="kelvin or grey level, over known pixels")
    std: float = Field(gt=0)
    px: int = Field(description="rows and columns of the squares of the training; others work where 16 divides them")
    km_per_px: float = Field(gt=0, description="of the azimuthal-equidistant squares")


class EncoderCard(ArtifactCard):
    """A pretrained encoder: ``scale`` says what it takes, ``channels`` what its four maps have."""

    file_name = CARD_NAME
    what, remedy = "an encoder", "pretrain it again"

    schema_version: Literal[1] = 1
    scale: PictureScale
    channels: tuple[int, ...]
    stream: str
    years: tuple[int, int] = Field(description="first and last of the frames, inclusive")
    frames: int
    frames_sha256: str
    hidden: float
    steps: int
    batch: int
    learning_rate: float
    seed: int
    parameters: int
    loss_first: float = Field(description="mean over the first fiftieth of the steps, in units of the variance")
    loss_last: float = Field(description="and over the last fiftieth")
