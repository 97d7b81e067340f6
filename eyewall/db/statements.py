"""SQL is in files: one statement each, with its purpose, parameters and grain; values are bound, never pasted."""

import functools
from pathlib import Path

from eyewall.contracts.errors import ContractError

#: In an installed wheel beside this file, in a source tree in include/.
_FOLDERS = (Path(__file__).parent / "sql", Path(__file__).resolve().parents[2] / "include" / "sql")


def folder() -> Path:
    """Where the statements are. Raises ContractError when they were not installed."""
    for candidate in _FOLDERS:
        if candidate.is_dir():
            return candidate
    raise ContractError(f"no SQL files in {_FOLDERS[0]} nor in {_FOLDERS[1]}: install the project whole")


@functools.cache
def statement(name: str) -> bytes:
    """The statement ``name``, or ``folder/name``, as psycopg takes it. Raises ContractError for one without a file."""
    path = folder() / f"{name}.sql"
    if not all(part.isidentifier() for part in name.split("/")) or not path.is_file():
        raise ContractError(f"no statement {name!r} in {folder()}")
    return path.read_bytes()


def migrations() -> list[tuple[int, str, bytes]]:
    """(number, name, SQL) of every migration, in order. Raises ContractError for a gap or a bad name."""
    found = []
    for path in sorted((folder() / "schema").glob("*.sql")):
        number, _, name = path.stem.partition("_")
        if not number.isdecimal() or not name:
            raise ContractError(f"migration {path.name!r} is not named NNN_name.sql")
        found.append((int(number), name, path.read_bytes()))
    if [number for number, _, _ in found] != list(range(1, len(found) + 1)):
        raise ContractError(
            f"migrations in {folder() / 'schema'} are not numbered 001, 002, …: {[n for n, _, _ in found]}"
        )
    return found
