"""What a server is asked to serve: TensorFlow Serving's model config, and models.json, as one checked plan.

Source: tensorflow_serving/config/model_server_config.proto and file_system_storage_path_source.proto.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eyewall.contracts.fields import NAME_PATTERN
from eyewall.serving.index import Index
from eyewall.serving.status import StatusError, invalid

Policy = Literal["latest", "all", "specific"]
_PLATFORMS = ("", "tensorflow")
_VERSION = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True)
class ModelPlan:
    """One model: where its versions are, which of them to load, and their labels."""

    name: str
    base: Path
    policy: Policy = "latest"
    count: int = 1  #: of policy latest
    versions: tuple[int, ...] = ()  #: of policy specific
    labels: dict[str, int] = field(default_factory=dict)

    def wanted(self) -> set[int]:
        """Versions to have loaded now; those of policies latest and all are looked up on disk."""
        if self.policy == "specific":
            return set(self.versions)
        there = versions_in(self.base)
        return set(there if self.policy == "all" else there[-self.count :])


def versions_in(base: Path) -> list[int]:
    """Version folders below ``base``, ascending; anything else, such as a copy in the making, is none."""
    if not base.is_dir():
        return []
    return sorted(int(p.name) for p in base.iterdir() if _VERSION.fullmatch(p.name) and p.is_dir())


def plans_of_config(configs: Iterable[Any], root: Path) -> list[ModelPlan]:
    """Plans of a request's ModelConfig messages. Raises StatusError for what is unusable or leaves ``root``."""
    plans: list[ModelPlan] = []
    for config in configs:
        if any(plan.name == config.name for plan in plans):
            raise invalid(f"Illegal to list model {config.name} multiple times in config list")
        plans.append(_plan_of_config(config, root))
    return plans


def _plan_of_config(config: Any, root: Path) -> ModelPlan:
    if not re.fullmatch(NAME_PATTERN, config.name):
        raise invalid(f"model name {config.name!r} is not usable: letters, digits, _ . = -, at most 100")
    if config.model_platform not in _PLATFORMS:
        raise StatusError("FAILED_PRECONDITION", f"PlatformConfigMap has no entry for platform {config.model_platform}")
    policy: Policy = config.model_version_policy.WhichOneof("policy_choice") or "latest"
    return ModelPlan(
        name=config.name,
        base=inside(config.base_path, root),
        policy=policy,
        count=max(1, config.model_version_policy.latest.num_versions),
        versions=tuple(sorted(set(config.model_version_policy.specific.versions))),
        labels=dict(config.version_labels),
    )


def inside(base_path: str, root: Path) -> Path:
    """``base_path``, absolute or relative to ``root``, links followed. Refuses (INVALID_ARGUMENT) what is outside."""
    if not base_path or any(ord(c) < 32 for c in base_path):
        raise invalid(f"base path {base_path!r} is not usable: give a folder of the model repository")
    path = (root / base_path).resolve()
    if path == root.resolve() or not path.is_relative_to(root.resolve()):
        raise invalid(f"base path {base_path!r} is not inside the model repository of this server: refused")
    return path


def plans_of_index(index: Index, root: Path) -> list[ModelPlan]:
    """Plans of models.json: exactly the served versions, with their labels."""
    return [
        ModelPlan(name, root / name, "specific", versions=tuple(sorted(model.served)), labels=dict(model.labels))
        for name, model in sorted(index.models.items())
        if model.served
    ]


def without_labels_to(plans: Sequence[ModelPlan], kept: dict[str, dict[str, int]]) -> list[ModelPlan]:
    """The same versions with the labels in ``kept`` (model → label → version): the first half of moving a label."""
    return [
        ModelPlan(
            plan.name,
            plan.base,
            plan.policy,
            plan.count,
            tuple(sorted({*plan.versions, *kept.get(plan.name, {}).values()})),
            dict(kept.get(plan.name, {})),
        )
        for plan in plans
    ]
