"""Rows of the platform's views, and how they are printed: a line of JSON, a table on a terminal, columns elsewhere."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import dict_row

from eyewall.db.connect import Connection
from eyewall.db.statements import statement

Row = dict[str, Any]
#: What could move a terminal's cursor or colour it: names and commands are other people's text.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_COMMAND_CHARACTERS = 60


def rows(connection: Connection, name: str, **values: Any) -> list[Row]:
    """The rows of the statement ``jobs/<name>``."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(f"jobs/{name}"), values).fetchall()


def print_json(value: Any) -> None:
    """One line; times as ISO 8601."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


def finite(row: Mapping[str, Any]) -> Row:
    """A row whose numbers are valid JSON: a metric that is no number is None."""
    return {
        key: None if isinstance(value, float) and not abs(value) < float("inf") else value for key, value in row.items()
    }


def print_table(columns: Sequence[str], lines: Iterable[Sequence[Any]], empty: str) -> None:
    """Lines under their headings; ``empty`` on stderr where there is none."""
    cells = [[clean(cell) for cell in line] for line in lines]
    if not cells:
        sys.stderr.write(f"{empty}\n")
        return
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
        for line in cells:
            table.add_row(*map(Text, line))
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in (list(columns), *cells):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def clean(value: Any) -> str:
    """A cell: nothing for None, short times, no control characters."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return _CONTROL.sub("�", str(value))


def duration(seconds: Any) -> str:
    """``93784.2`` → ``1d 02:03:04``; nothing for None."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86400)
    return (f"{days}d " if days else "") + f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def shortened(command: Sequence[str]) -> str:
    """The command as one would type it, cut to what a column holds."""
    import shlex

    text = shlex.join(command)
    return text if len(text) <= _COMMAND_CHARACTERS else text[: _COMMAND_CHARACTERS - 1] + "…"
