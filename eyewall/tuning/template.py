"""Texts with ``{name}`` in them: of a trial's job, each the same but for the values of its parameters.

Only a name in braces is a placeholder, so that JSON among the arguments stays what it is. What is filled in is one
text within one word: no value can become two arguments, and no shell sees any.
"""

import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def placeholders(template: Any, place: str = "job") -> dict[str, str]:
    """Names in braces in all texts of ``template`` → the place of the first."""
    if isinstance(template, str):
        return dict.fromkeys(_PLACEHOLDER.findall(template), place)
    items: Any = template.items() if isinstance(template, dict) else ()
    if isinstance(template, list | tuple):
        items = enumerate(template)
    found: dict[str, str] = {}
    for key, value in items:
        found = {**placeholders(value, f"{place}.{key}"), **found}
    return found


def text_of(value: Any) -> str:
    """A value as a program reads it on its command line: the shortest text that gives the number back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """``template`` with every placeholder in any of its texts replaced. Raises KeyError for one without a value."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda match: text_of(values[match[1]]), template)
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, values) for value in template]
    return template
