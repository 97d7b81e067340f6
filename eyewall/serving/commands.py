"""``eyewall models list|rollback|config``: what is served, the way back, and the same for TensorFlow's own server."""

import json
import sys
from typing import Annotated

import typer

app = typer.Typer(
    help="The served models: list versions and labels, roll back.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_StoreUrl = Annotated[str, typer.Option("--store", envvar="EYEWALL_STORE", help="artifact store")]
_AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]


@app.command("list")
def list_models(store: _StoreUrl = "var/store", as_json: _AsJson = False) -> None:
    """Versions and labels of every served model."""
    from eyewall.serving.index import read_index
    from eyewall.storage import Store

    index = read_index(Store(store))
    if as_json:
        sys.stdout.write(json.dumps(index.model_dump(mode="json")["models"]) + "\n")
        return
    if not index.models:
        sys.stdout.write("no model is served: publish one with eyewall publish\n")
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
    timeout_s: Annotated[float, typer.Option(help="how long the server may take")] = 120.0,
    store: _StoreUrl = "var/store",
    as_json: _AsJson = False,
) -> None:
    """Label the previous good version stable again; it is loaded and asked before the label moves."""
    from eyewall.serving.rollback import roll_back
    from eyewall.storage import Store

    left, taken = roll_back(Store(store), name, to, server, server_base, reason, timeout_s)
    if as_json:
        sys.stdout.write(json.dumps({"name": name, "from": left, "version": taken}) + "\n")
    else:
        sys.stdout.write(f"{name}: stable is version {taken} again, instead of {left}\n")


@app.command("config")
def config(
    base: Annotated[str, typer.Option(help="the folder serving/ of the store as that server sees it")],
    store: _StoreUrl = "var/store",
) -> None:
    """Print what is served as a model config file for TensorFlow's own server, to start it with.

    tensorflow_model_server --model_config_file=FILE --allow_version_labels_for_unavailable_models
    """
    from eyewall.serving.index import read_index
    from eyewall.serving.promote import config_text
    from eyewall.storage import Store

    sys.stdout.write(config_text(read_index(Store(store)), base))
