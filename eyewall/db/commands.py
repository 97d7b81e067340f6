"""``eyewall catalogue update|show``: the index of the store in the project's database."""

import json
import sys
from typing import Annotated

import typer

app = typer.Typer(help="The catalogue: an index of the store in PostgreSQL.", no_args_is_help=True)
_Json = Annotated[bool, typer.Option("--json", help="print one line of JSON")]


@app.command("update")
def _update(
    store: Annotated[str, typer.Option(help="artifact store; default: the settings' own")] = "", as_json: _Json = False
) -> None:
    """Make the catalogue say what the store holds now."""
    from eyewall.contracts.settings import Settings
    from eyewall.db import catalogue
    from eyewall.db.connect import connected, database_url
    from eyewall.storage import Store

    with connected(database_url()) as connection:
        counts = catalogue.update(Store(store or Settings.load().store), connection)
    if as_json:
        sys.stdout.write(json.dumps(counts) + "\n")
        return
    for table, count in counts.items():
        sys.stdout.write(f"{table:<18} {count}\n")


@app.command("show")
def _show(as_json: _Json = False) -> None:
    """What the catalogue holds, by kind and stream."""
    from eyewall.db import catalogue
    from eyewall.db.connect import connected, database_url

    with connected(database_url()) as connection:
        rows = catalogue.overview(connection)
    if as_json:
        found = [{"what": what, "of": of, "n": n} for what, of, n, _, _ in rows]
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for what, of, n, first, last in rows:
        period = f"   {first:%Y-%m-%d %H:%M} – {last:%Y-%m-%d %H:%M} UTC" if first else ""
        sys.stdout.write(f"{what:<12} {of:<16} {n:>8}{period}\n")
