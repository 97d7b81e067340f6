"""Fields of the forms (Params) that DAGs share; each refuses what could leave a folder or reach a shell.

A field left empty leaves the stream's setting as it is.
"""

from typing import Any

from airflow.sdk import Param

from eyewall.contracts.fields import NAME_PATTERN

TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
GENERATION_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,39}$"


def name(description: str) -> Param:
    """The name of a stream, a run or a served model."""
    return Param(None, type=["null", "string"], pattern=NAME_PATTERN, maxLength=100, description=description)


def time(description: str) -> Param:
    """A time, UTC unless it says otherwise: 2026-11-21 or 2026-11-21T06:00Z."""
    return Param(None, type=["null", "string"], pattern=TIME_PATTERN, maxLength=30, description=description)


def integer(description: str, minimum: int, maximum: int) -> Param:
    """A whole number."""
    return Param(None, type=["null", "integer"], minimum=minimum, maximum=maximum, description=description)


def season(description: str) -> Param:
    """The year that names a typhoon season."""
    return integer(description, 1840, 2200)


def choice(description: str, *values: str) -> Param:
    """One of a few words."""
    options: list[Any] = [None, *values]
    return Param(None, type=["null", "string"], enum=options, description=description)


def text(description: str, pattern: str) -> Param:
    """A short text of a known form."""
    return Param(None, type=["null", "string"], pattern=pattern, maxLength=100, description=description)


def required_name(description: str) -> Param:
    """A name that must be given."""
    return Param(type="string", pattern=NAME_PATTERN, maxLength=100, description=description)


def path(description: str) -> Param:
    """A path in the store, or a URL."""
    return Param(None, type=["null", "string"], pattern=LINE_PATTERN, maxLength=2000, description=description)


def number(description: str, minimum: float, maximum: float) -> Param:
    """A number, with or without a fraction."""
    return Param(None, type=["null", "number"], minimum=minimum, maximum=maximum, description=description)


def line(description: str, max_length: int = 16_000) -> Param:
    """One line of text that must be given: no control characters, so nothing that could be a second line."""
    return Param(type="string", minLength=1, maxLength=max_length, pattern=LINE_PATTERN, description=description)


def lines(description: str, pattern: str = LINE_PATTERN) -> Param:
    """Texts: one a line in the form, a list over REST."""
    items = {"type": "string", "pattern": pattern, "maxLength": 2000}
    return Param(None, type=["null", "array"], items=items, maxItems=100, description=description)


def integers(description: str, minimum: int) -> Param:
    """Whole numbers, as a list."""
    items = {"type": "integer", "minimum": minimum}
    return Param(None, type=["null", "array"], items=items, maxItems=1000, description=description)


def texts_by_name(description: str) -> Param:
    """Name → text, as an object."""
    return Param(
        None,
        type=["null", "object"],
        additionalProperties={"type": "string"},
        maxProperties=100,
        description=description,
    )
