"""``schema.json`` and ``statistics.json``: what a records artifact holds, so that a reader need not guess.

Kept apart on disk (the schema is for machines, the statistics are for a look too), joined in `RecordsSchema`.
"""

import itertools
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eyewall.contracts.errors import ContractError, LeakError
from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.contracts.fields import DEFAULT_BOX, BoxText

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SCHEMA_NAME, STATISTICS_NAME = "schema.json", "statistics.json"


class FeatureStatistics(BaseModel):
    """Numbers of one feature over the values that its mask calls valid; all 0 when there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=0, description="valid values")
    missing_fraction: float = Field(ge=0, le=1)
    mean: float
    std: float = Field(ge=0, description="population standard deviation")
    min: float
    max: float


#: feature name (``target_displacement_km.24h.east`` for a component) → its numbers
SplitStatistics = dict[str, FeatureStatistics]


class RecordsSchema(BaseModel):
    """A records artifact: geometry, seasons, sizes and statistics of each split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    images: ImageSpec
    leads_h: tuple[int, ...] = LEADS_H
    shards: int = Field(ge=1, description="files a split")
    box: BoxText = Field(DEFAULT_BOX, description="west,south,east,north that holds the base positions, degrees")
    seasons: dict[Split, tuple[int, int] | None] = Field(description="first and last season of a split; none: empty")
    counts: dict[Split, int] = Field(description="samples")
    storms: dict[Split, int]
    with_frames: dict[Split, int] = Field(description="samples with at least one frame")
    bytes: dict[Split, int] = Field(description="size of the split's shards")
    statistics: dict[Split, SplitStatistics] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _seasons_are_apart(self) -> Self:
        """Whoever wrote the artifact: records whose seasons overlap are not read."""
        ranges = sorted((span, split) for split, span in self.seasons.items() if span is not None)
        for (earlier, a), (later, b) in itertools.pairwise(ranges):
            if later[0] <= earlier[1]:
                raise LeakError(
                    f"seasons {earlier[0]}-{earlier[1]} of {a} and {later[0]}-{later[1]} of {b} overlap:"
                    " make the records again with train_to < val_to < test_to"
                )
        return self

    def write(self, folder: Path) -> None:
        """Write both files into ``folder``; equal schemas are equal bytes.

        The default box goes unsaid, so that such records are the same bytes as those made before there were others.
        """
        values = self.model_dump(mode="json", exclude={"box"} if self.box == DEFAULT_BOX else set())
        statistics = values.pop("statistics")
        for name, content in ((SCHEMA_NAME, values), (STATISTICS_NAME, statistics)):
            (folder / name).write_text(json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ContractError(f"{path.parent} holds no {path.name}: give the folder of a records artifact") from None
    except ValueError as error:
        raise ContractError(f"{path} is not JSON: {error}; make the records again") from None


def read_schema(folder: Path) -> RecordsSchema:
    """Schema of the records in ``folder``.

    Raises ContractError when there is none or it is not valid, LeakError when the seasons of two splits overlap.
    """
    values = _json(folder / SCHEMA_NAME)
    statistics = _json(folder / STATISTICS_NAME)
    try:
        return RecordsSchema.model_validate(values | {"statistics": statistics})
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"]))
        raise ContractError(f"{folder / SCHEMA_NAME}: {where}: {first['msg']}; make the records again") from None
