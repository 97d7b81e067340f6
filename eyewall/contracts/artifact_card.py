"""The card of an artifact: one JSON file beside its weights that says what they are; equal cards are equal bytes."""

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from eyewall.contracts.errors import ContractError


class ArtifactCard(BaseModel):
    """What cards of all kinds do alike; a kind names its file, itself and what helps where the file is no card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: ClassVar[str]
    what: ClassVar[str]  #: "an encoder"
    remedy: ClassVar[str]  #: "pretrain it again"

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The card of the artifact in ``folder``. Raises ContractError when there is none that can be read."""
        try:
            return cls.model_validate_json((folder / cls.file_name).read_bytes())
        except (OSError, ValidationError) as error:
            raise ContractError(f"no card of {cls.what} in {str(folder)!r}: {error}; {cls.remedy}") from error
