"""Manifests, references and receipts: how one step hands its result to the next.

A *manifest* (``manifest.json``) is written last into an artifact's folder and is its commit marker: without it the
folder does not exist for any reader. A *reference* is the URI of an artifact and the sha256 of its manifest. A
*receipt* is a reference written by a step at a place its caller chose, so that nothing but a file name that is known
beforehand has to travel between tasks.
"""

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MANIFEST_NAME = "manifest.json"


class FileEntry(BaseModel):
    """One file of an artifact, relative to its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What an artifact is made of and made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    kind: Literal[
        "frame", "records", "model", "evaluation", "decision", "version", "forecast", "season",
        "network", "score", "measurement", "study", "encoder", "centre", "positions",
    ]  # fmt: skip
    code_version: str
    inputs: dict[str, str] = Field(default_factory=dict, description="name or URI of each input → its sha256")
    config: dict[str, Any] = Field(default_factory=dict, description="the fields of the job that matter to the result")
    counts: dict[str, int] = Field(default_factory=dict)
    files: tuple[FileEntry, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict, description="small facts for readers, by kind")

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, two spaces, a final newline; equal manifests are equal bytes."""
        import json

        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2) + "\n").encode()

    def sha256(self) -> str:
        """The digest that references carry."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


class Reference(BaseModel):
    """An artifact by place and content: the only thing that is handed from step to step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    sha256: str


class Receipt(BaseModel):
    """What a finished step says of its result; ``summary`` is small and for people and logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    verb: str
    result: Reference | None = None
    summary: dict[str, Any] = Field(default_factory=dict)
