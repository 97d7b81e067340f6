"""``serving/models.json``: which versions of which model exist, which are served, and what they are labelled.

The file is the repository's memory: a server that starts reads it, and nothing else decides what is served. A version
number stands for one model for ever, even after its folder is gone.

    {"models": {"track": {"labels": {"previous": 1, "stable": 2}, "served": [1, 2],
                          "versions": {"1": {"model": "models/1f…", "model_sha256": "…", "state": "good"}, …}}},
     "schema_version": 1}
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eyewall.contracts.errors import ContractError, InputError, StorageError
from eyewall.contracts.fields import Name
from eyewall.storage import Store

INDEX_PATH = "serving/models.json"
STABLE, PREVIOUS = "stable", "previous"

#: candidate: copied, not yet proven by a server · good: has been labelled stable · failed: the server refused it or
#: answered wrongly · rolled_back: was stable until someone went back · retired: good once, its folder is removed.
State = Literal["candidate", "good", "failed", "rolled_back", "retired"]


class Version(BaseModel):
    """One version of a served model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="the model artifact it was copied from, a path in the store")
    model_sha256: str = Field(description="sha256 of that artifact's manifest: what makes two versions the same")
    state: State
    reason: str = Field("", description="why it failed or was rolled back")
    approved_by: str | None = None


class ServedModel(BaseModel):
    """All versions of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: dict[int, Version] = Field(default_factory=dict)
    served: tuple[int, ...] = Field((), description="versions that a server loads")
    labels: dict[str, int] = Field(default_factory=dict)

    @property
    def stable(self) -> int | None:
        """The version labelled stable."""
        return self.labels.get(STABLE)

    def version_of(self, model_sha256: str) -> int | None:
        """The version that stands for a model, if it was ever published."""
        return next((n for n, version in self.versions.items() if version.model_sha256 == model_sha256), None)

    def with_version(self, number: int, version: Version) -> "ServedModel":
        """A copy in which ``number`` is ``version``."""
        return self.model_copy(update={"versions": {**self.versions, number: version}})

    def with_state(self, number: int, state: State, reason: str = "") -> "ServedModel":
        """A copy in which version ``number`` has another state."""
        return self.with_version(
            number, self.versions[number].model_copy(update={"state": state, "reason": reason[:1000]})
        )


class Index(BaseModel):
    """The whole repository."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    models: dict[Name, ServedModel] = Field(default_factory=dict)

    def model(self, name: str) -> ServedModel:
        """The model ``name``; an empty one when nothing was ever published under it."""
        return self.models.get(name, ServedModel())

    def known(self, name: str) -> ServedModel:
        """The model ``name``. Raises InputError, naming those there are, when nothing was published under it."""
        if name not in self.models:
            there = ", ".join(sorted(self.models)) or "none"
            raise InputError(f"no served model {name!r}: there is {there}; publish one with eyewall publish")
        return self.models[name]

    def with_model(self, name: str, model: ServedModel) -> "Index":
        """A copy in which ``name`` is ``model``."""
        return self.model_copy(update={"models": {**self.models, name: model}})


def parse_index(data: bytes) -> Index:
    """Content of models.json → Index. Raises ContractError."""
    try:
        index = Index.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ContractError(f"{INDEX_PATH} is not valid: {where}: {first['msg']}; restore it from a copy") from None
    if "models" not in index.model_fields_set:  # "{}" is what an editor leaves behind, not a repository without models
        raise ContractError(f"{INDEX_PATH} is not valid: it names no models; restore it from a copy")
    return index


def find_index(store: Store) -> Index | None:
    """The index of ``store``; None when there is no such file. Raises ContractError, StorageError."""
    try:
        data = store.read_bytes(INDEX_PATH)
    except StorageError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
    return parse_index(data)


def read_index(store: Store) -> Index:
    """The index of ``store``; an empty one before the first publish. Raises ContractError, StorageError."""
    return find_index(store) or Index()


def orphaned_versions(store: Store) -> list[str]:
    """Version folders of a local store whose models.json is missing: it was lost, this is no new repository."""
    if not store.is_local or store.exists(INDEX_PATH):
        return []
    root = Path(store.root)
    return sorted(p.relative_to(root).as_posix() for p in root.glob("serving/*/[0-9]*") if p.is_dir())


def require_index(store: Store) -> Index:
    """The index, for those who must not take a lost one for none. Raises InputError, ContractError, StorageError."""
    if there := orphaned_versions(store):
        raise InputError(f"{INDEX_PATH} is missing although {', '.join(there)} are there: restore it from a copy")
    return read_index(store)


def write_index(store: Store, index: Index) -> None:
    """Replace the index, whole or not at all. Raises StorageError."""
    store.write_json(INDEX_PATH, index.model_dump(mode="json"))
