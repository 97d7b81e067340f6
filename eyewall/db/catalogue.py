"""The catalogue: an index of the store in SQL. All of it can be made again from the store at any time."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from eyewall.contracts.errors import ContractError, StorageError
from eyewall.contracts.layout import frame_path, parse_frame_path
from eyewall.contracts.manifest import MANIFEST_NAME, Manifest, Receipt
from eyewall.db.connect import Connection
from eyewall.db.statements import statement
from eyewall.storage import Store

Row = dict[str, Any]
#: Where artifacts with a manifest of their own live.
_ARTIFACTS = ("records", "models", "evaluations", "decisions", "serving", "forecasts")


def update(store: Store, connection: Connection) -> dict[str, int]:
    """Make the catalogue say what the store holds now; how many rows of each table there are.

    ``stray`` counts files among the frames that are none; each is named on stderr. Run twice, it changes nothing the
    second time. Raises StorageError when the store is not there, which is no empty one; ContractError for a manifest
    or receipt that is not valid.
    """
    if store.is_local and not Path(store.root).is_dir():
        raise StorageError(f"store {store.url!r} is not there, so the catalogue is left as it was: check its path")
    stray: list[str] = []
    tables = {
        "frame": _frames(store, stray),
        "quarantined_file": _quarantined(store),
        "artifact": _artifacts(store),
        "receipt": _receipts(store),
    }
    counts = {}
    for table, rows in tables.items():
        found = list(rows)
        with connection.cursor() as cursor:
            cursor.executemany(statement(f"upsert_{table}"), found)
            cursor.execute(statement(f"forget_{table}"), {"present": [row["path"] for row in found]})
        counts[table] = len(found)
    for path in stray:
        sys.stderr.write(f"catalogue: {path!r} is not named as a frame, and left out: move it out of the store\n")
    return counts | {"stray": len(stray)}


def overview(connection: Connection) -> list[tuple[Any, ...]]:
    """(what, of, n, first, last) of everything in the catalogue."""
    return connection.execute(statement("overview")).fetchall()


def _frames(store: Store, stray: list[str]) -> Iterator[Row]:
    """Rows of the frames; paths that are none are added to ``stray``."""
    for path in store.list_files("frames", ".nc"):
        try:
            time, part = parse_frame_path(path)
        except ValueError:
            stray.append(path)
            continue
        stream = path.split("/")[1]
        if path.rpartition("/")[0] == frame_path(stream, time).rpartition("/")[0]:
            yield {"path": path, "stream": stream, "nominal_time": time, "part": part}
        else:  # a frame's name in another day's folder, or in none
            stray.append(path)


def _quarantined(store: Store) -> Iterator[Row]:
    for path in store.list_files("quarantine", ".reason.json"):
        yield {"path": path, "stream": path.split("/")[1], "reason": Jsonb(store.read_json(path))}


def _artifacts(store: Store) -> Iterator[Row]:
    for kind in _ARTIFACTS:
        for file in store.list_files(kind, f"/{MANIFEST_NAME}"):
            path = file.removesuffix(f"/{MANIFEST_NAME}")
            manifest = store.read_manifest(path)
            if manifest is not None:
                yield {"path": path, **_of_manifest(manifest)}


def _of_manifest(manifest: Manifest) -> Row:
    return {
        "kind": manifest.kind,
        "sha256": manifest.sha256(),
        "code_version": manifest.code_version,
        "counts": Jsonb(manifest.counts),
        "config": Jsonb(manifest.config),
        "inputs": Jsonb(manifest.inputs),
        "extra": Jsonb(manifest.extra),
    }


def _receipts(store: Store) -> Iterator[Row]:
    for path in store.list_files("receipts", ".json"):
        parts = path.removesuffix(".json").split("/")
        if len(parts) != 4:
            continue  # a receipt that somebody asked for by hand, under another name
        try:
            receipt = Receipt.model_validate(store.read_json(path))
        except ValidationError as error:
            raise ContractError(f"{path!r} is not a receipt: {error.errors()[0]['msg']}") from None
        yield {
            "path": path,
            "dag_id": parts[1],
            "run": parts[2],
            "task": parts[3],
            "verb": receipt.verb,
            "result_path": receipt.result.uri if receipt.result else None,
            "result_sha256": receipt.result.sha256 if receipt.result else None,
            "summary": Jsonb(receipt.summary),
        }
