"""YAML as people write it by hand, without what hides mistakes or swells."""

from typing import Any

import yaml

from eyewall.contracts.errors import ContractError

MAX_BYTES = 65_536


class _Refused(Exception):
    """What YAML allows and this project does not, with its line."""


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _Refused(f"line {self.get_mark().line + 1}: aliases are not taken, write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key.value, str):
                raise _Refused(f"line {line}: a key is one word")
            if key.value in seen:
                raise _Refused(f"line {line}: {key.value!r} stands there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(data: bytes, source: str) -> Any:
    """What ``data`` holds. No tags, no aliases, no key twice, at most MAX_BYTES.

    Raises ContractError with ``source`` and the line.
    """
    if len(data) > MAX_BYTES:
        raise ContractError(f"{source}: {len(data)} bytes are no search space: at most {MAX_BYTES} are read")
    try:
        return yaml.load(data, _Loader)  # noqa: S506  (a SafeLoader)
    except _Refused as error:
        raise ContractError(f"{source}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ContractError(f"{source}: {place}not YAML: {problem}") from None
