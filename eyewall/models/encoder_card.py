"""The card of a pretrained encoder, ``encoder.json``: what it takes, what it was trained on. Imports no TensorFlow."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.errors import ContractError

CARD_NAME, WEIGHTS_NAME, HISTORY_NAME = "encoder.json", "weights.npz", "history.csv"


class PictureScale(BaseModel):
    """How pictures become planes: geometry, quantity, and the two numbers that bring values to order one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantity: Literal["brightness_temperature_k", "grey_level"]
    mean: float = Field(description="kelvin or grey level, over known pixels")
    std: float = Field(gt=0)
    px: int = Field(description="rows and columns of the squares of the training; others work where 16 divides them")
    km_per_px: float = Field(gt=0, description="of the azimuthal-equidistant squares")


class EncoderCard(BaseModel):
    """A pretrained encoder: ``scale`` says what it takes, ``channels`` what its four maps have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The card of the artifact in ``folder``. Raises ContractError when there is none that can be read."""
        try:
            return cls.model_validate_json((folder / CARD_NAME).read_bytes())
        except (OSError, ValidationError) as error:
            raise ContractError(f"no card of an encoder in {str(folder)!r}: {error}; pretrain it again") from error
