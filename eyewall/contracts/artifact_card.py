"""The card of an artifact: one JSON file beside its weights that says what they are; equal cards are equal bytes."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from eyewall.contracts.errors import ContractError


class ArtifactCard(BaseModel):
    """What cards of all kinds do alike; a kind names its file, itself and what helps where the file is no card."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: ClassVar[str]
    what: ClassVar[str]  #: "an encoder"
    remedy: ClassVar[str]  #: "pretrain it again"

    def said(self) -> dict[str, Any]:
        """What is written: every field. A kind with older cards leaves out what those did not say."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, two spaces, a final newline."""
        return (json.dumps(self.said(), sort_keys=True, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The card of the artifact in ``folder``. Raises ContractError when there is none that can be read."""
        try:
            return cls.model_validate_json((folder / cls.file_name).read_bytes())
        except OSError as error:
            raise ContractError(f"no {cls.file_name} in {folder.name!r}: {error.strerror}; {cls.remedy}") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            said = f"{where}: {first['msg']}" if where else first["msg"]
            raise ContractError(
                f"{cls.file_name} in {folder.name!r} is not the card of {cls.what}: {said}; {cls.remedy}"
            ) from None
