"""The card of a centre network, ``centre.json``, and the files beside it. Imports no TensorFlow."""

from pathlib import Path
from typing import Final

import numpy as np
from pydantic import Field

from eyewall.centre.overlay import Mask
from eyewall.contracts.artifact_card import ArtifactCard
from eyewall.contracts.errors import ContractError
from eyewall.models.encoder_card import PictureScale

KIND: Final = "centre"
CARD_NAME, LINES_NAME, HISTORY_NAME, SCORES_NAME = "centre.json", "lines.npz", "history.csv", "validation.csv"


def weights_name(member: int) -> str:
    """File of a member's weights."""
    return f"weights-{member}.npz"


class CentreCard(ArtifactCard):
    """A centre network: what it takes, what it was trained on, and what it reached on the validation seasons."""

    file_name = CARD_NAME
    what, remedy = "a centre network", "train it again"

    schema_version: int = 1
    scale: PictureScale
    channels: tuple[int, ...]
    members: int
    stream: str
    seasons: dict[str, tuple[int, int]]
    frames: dict[str, int]
    storms: dict[str, int]
    cases: dict[str, int]
    pretrained: str | None = Field(description="sha256 of the manifest of the encoder that it began from")
    storm_share: float
    search_km: float
    steps: int
    batch: int
    learning_rate: float
    seed: int
    parameters: int
    loss_last: float = Field(description="mean over the last fiftieth of the steps and over members")
    radius_factors: tuple[float, float] = Field(description="on the radii of 68 and 95 %, from the validation split")
    basin_threshold: float = Field(description="expected number at which a place counts as a storm, basin-wide")
    val_median_km: float | None = Field(description="about first guesses; none without a validation case")
    val_guess_median_km: float | None


def write_lines(folder: Path, lines: Mask | None) -> None:
    """Keep the burnt-in lines of the stream's map, if it has any."""
    if lines is not None:
        np.savez(folder / LINES_NAME, lines=np.packbits(lines), shape=np.array(lines.shape))


def read_lines(folder: Path) -> Mask | None:
    """The burnt-in lines that were kept, None where there are none. Raises ContractError when the file is damaged."""
    if not (folder / LINES_NAME).exists():
        return None
    try:
        with np.load(folder / LINES_NAME, allow_pickle=False) as stored:
            shape = tuple(int(n) for n in stored["shape"])
            return np.unpackbits(stored["lines"], count=shape[0] * shape[1]).reshape(shape).astype(bool)
    except Exception as error:
        raise ContractError(f"{LINES_NAME} in {str(folder)!r} is damaged ({error}): make the artifact again") from error
