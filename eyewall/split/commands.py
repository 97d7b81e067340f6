"""``eyewall split cuts|make|publish``: where a model can be cut, cutting it, and serving its tail."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eyewall.split.study_commands import add_to

if TYPE_CHECKING:
    from eyewall.storage import Store

app = typer.Typer(
    help="Split inference: cut a model into a head beside the sensor and a tail in the cloud.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
add_to(app)  # study, plan, profile

_Model = Annotated[
    str, typer.Argument(help="model or network of the store or its receipt, a .keras or .h5 file, caffenet or cifar10")
]
_StoreUrl = Annotated[str, typer.Option("--store", help="artifact store; default: the settings' own")]
_AsJson = Annotated[bool, typer.Option("--json", help="print one line of JSON")]
_Calibration = Annotated[
    Path | None,
    typer.Option(
        help="frames for the int8 wire and for --channels: an .npz with one array [n, …] an input of the head"
    ),
]


def _open(url: str) -> "Store":
    from eyewall.contracts.settings import Settings
    from eyewall.storage import Store

    return Store(url or Settings.load().store)


@app.command("cuts")
def cuts(model: _Model, store: _StoreUrl = "", as_json: _AsJson = False) -> None:
    """Every place where one tensor separates input and output: its shape, its bytes, and the work on either side."""
    from eyewall.split.cuts import cut_points
    from eyewall.split.load import load_model

    loaded, _ = load_model(_open(store), model)
    points = cut_points(loaded)
    if as_json:
        sys.stdout.write(json.dumps([point.model_dump(mode="json") for point in points]) + "\n")
        return
    sys.stdout.write(f"{'cut':<24} {'shape':>14} {'float32':>9} {'float16':>9} {'int8':>9} {'head':>9} {'tail':>9}\n")
    for p in points:
        shape = "×".join(map(str, p.shape))
        work = f"{_short(p.head_flops):>9} {_short(p.tail_flops):>9}"
        sys.stdout.write(
            f"{p.name:<24} {shape:>14} {p.bytes_float32:>9} {p.bytes_float16:>9} {p.bytes_int8:>9} {work}\n"
        )
    sys.stdout.write("bytes and FLOPs are of one frame\n")


def _short(flops: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if flops >= size:
            return f"{flops / size:.3g} {unit}"
    return str(flops)


@app.command("make")
def make(
    model: _Model,
    cut: Annotated[str, typer.Option(help="a cut of eyewall split cuts")],
    wire: Annotated[str, typer.Option(help="float32, float16 or int8")] = "float32",
    channels: Annotated[int | None, typer.Option(min=1, help="send this many channels of the cut only")] = None,
    calibration: _Calibration = None,
    tflite: Annotated[bool, typer.Option("--tflite", help="make a TFLite head as well")] = False,
    tflite_weights: Annotated[
        str, typer.Option(help="float32, float16 or int8 weights in the TFLite file")
    ] = "float32",
    out: Annotated[
        Path | None, typer.Option(help="also a copy as a new folder: head/, tail/, tflite/, for a sensor's device")
    ] = None,
    store: _StoreUrl = "",
    as_json: _AsJson = False,
) -> None:
    """Cut a model into a head and a tail with one wire contract, kept as a model of the store."""
    from eyewall.contracts.errors import InputError
    from eyewall.contracts.split import WIRES
    from eyewall.split.make import contract_of
    from eyewall.split.make import make as make_split

    for option, value in (("--wire", wire), ("--tflite-weights", tflite_weights)):
        if value not in WIRES:
            raise InputError(f"{option} {value!r} is none: give {', '.join(WIRES)}")
    artifact = make_split(
        _open(store), model, cut, wire=wire, channels=channels,  # type: ignore[arg-type]  # checked above
        calibration=_arrays(calibration), tflite=tflite_weights if tflite else "",  # type: ignore[arg-type]
    )  # fmt: skip
    if out is not None:
        _copy(artifact.folder(), out)
    contract = contract_of(artifact)
    summary = {
        "model": artifact.path,
        "contract": contract.model,
        "cut": cut,
        "wire": wire,
        "shape": list(contract.shape),
        "bytes_per_frame": contract.bytes_per_frame,
    }
    _print(summary, as_json)


@app.command("publish")
def publish(
    split: Annotated[str, typer.Argument(help="the split's artifact, as eyewall split make prints it")],
    name: Annotated[str, typer.Option(help="served model")],
    approved_by: Annotated[str, typer.Option(help="who takes it: no gate judges a split")],
    server: Annotated[str | None, typer.Option(help="host:port of the model server's gRPC; none: copy only")] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="how long the server may take")] = 120.0,
    store: _StoreUrl = "",
    as_json: _AsJson = False,
) -> None:
    """Serve a split's tail as the next version of a model; eyewall models rollback goes back."""
    from eyewall.split.make import publish as publish_split

    receipt = publish_split(_open(store), split, name, approved_by, server=server, timeout_s=timeout_s)
    _print(receipt.summary, as_json)


def _arrays(path: Path | None) -> Any:
    """Arrays by name of an .npz. Raises InputError when it is none."""
    import zipfile

    import numpy as np

    from eyewall.contracts.errors import InputError

    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is no .npz of frames: {error}") from None


def _copy(artifact: Path, out: Path) -> None:
    """The split's parts as a new folder, written beside and renamed. Raises InputError when ``out`` is there."""
    import shutil
    import tempfile

    from eyewall.contracts.errors import InputError
    from eyewall.storage.store import fsync_tree, storage_errors

    if out.exists():
        raise InputError(f"--out {str(out)!r} is there already: give a new folder")
    with storage_errors(repr(str(out))):
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
        try:
            for part, name in (("head", "head"), ("saved_model", "tail"), ("tflite", "tflite")):
                if (artifact / part).is_dir():
                    shutil.copytree(artifact / part, beside / name)
            beside.chmod(0o755)
            fsync_tree(beside)
            beside.rename(out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _print(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    for key, value in summary.items():
        sys.stdout.write(f"{key:<16} {value if isinstance(value, str) else json.dumps(value)}\n")
