"""Fields of the forms (Params) that DAGs share; each refuses what could leave a folder or reach a shell.

A field left empty leaves the stream's setting as it is.
"""

from typing import Any

from airflow.sdk import Param

from eyewall.contracts.fields import NAME_PATTERN

TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?$"


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
