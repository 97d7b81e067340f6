"""``eyewall store tidy``: what the store may let go of, shown first and removed on request."""

import json
import sys
from typing import Annotated

import typer

app = typer.Typer(
    help="The artifact store: let go of what nobody needs any more.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """The artifact store: let go of what nobody needs any more."""


@app.command("tidy")
def tidy_store(
    older_than_days: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="also records, models and other artifacts that are older and that nothing refers to any more",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run/--no-dry-run", help="only say what would go")] = True,
    store: Annotated[str, typer.Option(help="artifact store; default: the settings' own")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one line of JSON")] = False,
) -> None:
    """Leftovers of killed steps and checkpoints of finished runs go, once untouched for a day; only shown by default.

    Frames, quarantine, the model repository, forecasts and receipts are never touched.
    """
    from eyewall.contracts.settings import Settings
    from eyewall.storage import Store
    from eyewall.storage.tidy import tidy

    url = store or Settings.load().store
    done = tidy(Store(url), older_than_days, remove=not dry_run)
    if as_json:
        items = [{"what": item.what, "path": item.path, "bytes": item.bytes} for item in done.items]
        summary = {"dry_run": dry_run, "items": items, "bytes": done.bytes, "left_alone": list(done.left_alone)}
        sys.stdout.write(json.dumps(summary, ensure_ascii=False) + "\n")
        return
    for item in done.items:
        sys.stdout.write(f"{item.what:<12} {item.bytes:>14,}  {item.path}\n")
    for path in done.left_alone:
        sys.stdout.write(f"{'left alone':<12} {'':>14}  {path}: a leftover in a folder that tidy never touches\n")
    verb = "would be freed; to remove them: --no-dry-run" if dry_run else "freed"
    sys.stdout.write(f"{len(done.items)} things, {done.bytes:,} bytes {verb} (store {url})\n")
