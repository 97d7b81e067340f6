"""``eyewall models list|rollback|config``: what is served, the way back, and the same for TensorFlow's own server."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from eyewall.storage import Store

app = typer.Typer(
    help="The served models: list versions and labels, roll back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_StoreUrl = Annotated[str, typer.Option("--store", help="artifact store; default: the settings' own")]
_AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]


def _open(url: str) -> "Store":
    from eyewall.contracts.settings import Settings
    from eyewall.storage import Store

    # The environment alone will do, so that a damaged settings file is in nobody's way at night.
    return Store(url or os.environ.get("EYEWALL_STORE") or Settings.load().store)


@app.command("list")
def list_models(store: _StoreUrl = "", as_json: _AsJson = False) -> None:
    """Versions and labels of every served model."""
    from eyewall.serving.index import require_index

    opened = _open(store)
    index = require_index(opened)
    if as_json:
        sys.stdout.write(json.dumps(index.model_dump(mode="json")["models"]) + "\n")
        return
    if not index.models:
        away = opened.is_local and not Path(opened.root).is_dir()
        remedy = "it is not there: check --store" if away else "publish one with eyewall publish"
        sys.stdout.write(f"no model is served from store {opened.url!r}: {remedy}\n")
    for name, model in sorted(index.models.items()):
        for number, version in sorted(model.versions.items(), reverse=True):
            labels = ", ".join(sorted(label for label, n in model.labels.items() if n == number))
            note = f"  {version.reason}" if version.reason else ""
            sys.stdout.write(f"{name:<16} {number:>4}  {labels or '-':<10} {version.state:<12} {version.model}{note}\n")


@app.command("rollback")
def rollback(
    name: Annotated[str, typer.Argument(help="served model")] = "track",
    to: Annotated[int | None, typer.Option(help="version; default: the previous good one")] = None,
    server: Annotated[
        str | None, typer.Option(help="host:port of the model server's gRPC; none: models.json only")
    ] = None,
    server_base: Annotated[str | None, typer.Option(help="the model repository as the server sees it")] = None,
    reason: Annotated[str, typer.Option(help="why, kept with the version that is left")] = "",
    timeout_s: Annotated[float, typer.Option(min=0.1, help="how long the server may take")] = 120.0,
    store: _StoreUrl = "",
    as_json: _AsJson = False,
) -> None:
    """Label the previous good version stable again; it is loaded and asked before the label moves."""
    from eyewall.serving.rollback import roll_back

    left, taken = roll_back(_open(store), name, to, server, server_base, reason, timeout_s)
    if as_json:
        sys.stdout.write(json.dumps({"name": name, "from": left, "version": taken}) + "\n")
    else:
        sys.stdout.write(f"{name}: stable is version {taken} again, instead of {left}\n")
        if server is None:
            sys.stderr.write(
                "no --server was given: a running eyewall serve follows within seconds, TensorFlow's own server does"
                " not\n"
            )


@app.command("config")
def config(
    base: Annotated[str, typer.Option(help="the folder serving/ of the store as that server sees it")],
    store: _StoreUrl = "",
) -> None:
    """Print what is served as a model config file for TensorFlow's own server, to start it with.

    tensorflow_model_server --model_config_file=FILE --allow_version_labels_for_unavailable_models
    """
    from eyewall.contracts.errors import InputError
    from eyewall.serving.index import require_index
    from eyewall.serving.promote import config_text

    if not base.strip() or any(ord(c) < 32 for c in base):
        raise InputError(f"--base {base!r} is no folder: give serving/ of the store as that server sees it")
    sys.stdout.write(config_text(require_index(_open(store)), base))
