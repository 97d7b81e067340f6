"""A model cut in two: head and tail with one wire contract, and their way to disk.

    FOLDER/head/   SavedModel: the sensor's inputs → ``features`` in the wire type
    FOLDER/tail/   SavedModel: ``features``, ``contract`` and side inputs → the model's outputs; served as any model
    FOLDER/tflite/ head.tflite, for devices without TensorFlow (where asked for)

Each holds the contract: ``assets.extra/eyewall_wire.json``, and beside the TFLite file.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall import quiet
from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import digest_of
from eyewall.contracts.split import CONTRACT_NAME, FEATURES, WIRES, Wire, WireContract
from eyewall.split.calibration import Method, calibrate, choose_channels
from eyewall.split.cuts import find_cut
from eyewall.split.graph import Graph, graph_of
from eyewall.split.trace import digest
from eyewall.split.wire import read_contract
from eyewall.storage.store import fsync_tree, storage_errors

HEAD_DIR, TAIL_DIR, TFLITE_DIR = "head", "tail", "tflite"
#: Raise it when the same model and choices would give another head or tail.
SPLIT_FORMAT = 1
_SIGNATURE = "serving_default"
_CALIBRATION_BATCH = 32
_NO_FEATURES = "a head computes features of calibration frames for that: give calibration"


@dataclass(frozen=True)
class Parts:
    """Both sides of a cut and what they agree on."""

    head: Any  #: `eyewall.split.head.Head`
    tail: Any  #: `eyewall.split.tail.Tail`
    contract: WireContract

    def export(self, folder: Path, *, tflite: bool = False) -> None:
        """Write ``folder`` with head/ and tail/ (and tflite/), whole or not at all.

        Nothing happens when it holds the same split already. Raises InputError when it holds something else.
        """
        wanted = [HEAD_DIR, TAIL_DIR, *([TFLITE_DIR] if tflite else [])]
        if folder.exists():
            if all((folder / d).is_dir() and read_contract(folder / d) == self.contract for d in wanted):
                return
            raise InputError(f"{str(folder)!r} is there already and holds something else: give a new folder")
        with storage_errors(repr(str(folder))):
            folder.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
            try:
                self.write(beside, tflite=tflite)
                beside.chmod(0o755)
                fsync_tree(beside)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def write(self, folder: Path, *, tflite: bool = False) -> None:
        """Write head/, tail/ (and tflite/) into ``folder``, as they come."""
        _save(self.head, folder / HEAD_DIR, self.contract)
        _save(self.tail, folder / TAIL_DIR, self.contract)
        if tflite:
            from eyewall.split.tflite import write_head

            write_head(self.head, folder / TFLITE_DIR)


def split(
    model: Any,
    cut: str,
    *,
    channels: int | None = None,
    wire: Wire = "float32",
    calibration: Mapping[str, npt.ArrayLike] | npt.ArrayLike | None = None,
    sensor: Sequence[str] | None = None,
    method: Method = "mse",
) -> Parts:
    """Cut a functional or Sequential tf_keras model (or its `Graph`) at ``cut``, a name of `cut_points`.

    ``channels`` keeps the most telling channels of the cut's last axis only, the tail filling in the mean of the
    others: a bottleneck without retraining. ``calibration`` are frames by input name (or one array, where the head
    has one input), for the int8 wire and for ``channels``; ``method`` is `calibrate`'s. ``sensor`` as `cut_points`.
    The layers are shared with ``model``, not copied. Raises InputError for what cannot be done.
    """
    quiet.import_tensorflow()
    if wire not in WIRES:
        raise InputError(f"no wire type {wire!r}: give {', '.join(WIRES)}")
    graph = graph_of(model)
    found = find_cut(graph, cut, sensor)
    _, head_inputs = graph.ancestors([found.tensor])
    _, tail_inputs = graph.ancestors(graph.outputs.values(), [found.tensor])
    names = {i: name for name, i in graph.inputs.items()}
    fields: dict[str, Any] = {
        "cut": cut,
        "shape": found.point.shape,
        "head_inputs": tuple(sorted(names[i] for i in head_inputs)),
        "side_inputs": tuple(sorted(names[i] for i in tail_inputs)),
    }
    plain = WireContract(model="0" * 64, wire="float32", **fields)
    fill = None
    if channels is not None and not 1 <= channels <= found.point.shape[-1]:
        raise InputError(f"{channels} channels cannot be kept of {found.point.shape[-1]} at cut {cut!r}")
    if wire == "int8" or channels not in (None, found.point.shape[-1]):
        seen = _features(graph, found.tensor, plain, calibration)
        if channels not in (None, found.point.shape[-1]):
            assert channels is not None
            kept, fill = choose_channels(seen, channels), seen.mean(axis=0)
            fields |= {"kept": kept, "shape": (*found.point.shape[:-1], channels)}
            seen = seen[..., kept]
        if wire == "int8":
            fields["scale"], fields["zero_point"] = calibrate(seen, method)
    whole = {"format": SPLIT_FORMAT, "model": digest(graph), "wire": wire, "fill": _list(fill), **fields}
    return parts_of(graph, found.tensor, WireContract(model=digest_of(whole), wire=wire, **fields), fill)


def parts_of(graph: Graph, cut: int, contract: WireContract, fill: np.ndarray[Any, Any] | None = None) -> Parts:
    """Head and tail of ``graph`` at the tensor ``cut`` under a contract that is known to fit."""
    from eyewall.split.head import Head
    from eyewall.split.tail import Tail

    return Parts(Head(graph, cut, contract), Tail(graph, cut, contract, fill), contract)


def _list(fill: np.ndarray[Any, Any] | None) -> list[float] | None:
    return None if fill is None else [float(v) for v in fill.ravel()]


def _features(graph: Graph, cut: int, plain: WireContract, calibration: Any) -> npt.NDArray[np.float32]:
    """The head's float32 features of the calibration frames. Raises InputError without any."""
    from eyewall.split.head import Head

    if calibration is None:
        raise InputError(f"no calibration frames: {_NO_FEATURES}")
    head = Head(graph, cut, plain)
    given = calibration if isinstance(calibration, Mapping) else {next(iter(head.input_specs)): calibration}
    missing = sorted(set(head.input_specs) - set(given))
    if missing:
        raise InputError(f"calibration lacks {missing}: the head takes {sorted(head.input_specs)}")
    frames = {name: np.asarray(given[name]) for name in head.input_specs}
    for name, spec in head.input_specs.items():
        if frames[name].ndim != spec.shape.rank or frames[name].shape[1:] != tuple(spec.shape[1:]):
            raise InputError(f"calibration of {name!r} has shape {frames[name].shape}: the head takes {spec.shape}")
    n = min(len(values) for values in frames.values())
    if not n:
        raise InputError(f"no calibration frames: {_NO_FEATURES}")
    batches = range(0, n, _CALIBRATION_BATCH)
    return np.concatenate([head({k: v[i : i + _CALIBRATION_BATCH] for k, v in frames.items()}) for i in batches])


def _save(module: Any, folder: Path, contract: WireContract) -> None:
    import tensorflow as tf

    plain = tf.Module()  # of its own, so that nothing of Keras comes along
    plain.weights = module.weights
    plain.serve = module.serve
    tf.saved_model.save(plain, str(folder), signatures={_SIGNATURE: module.concrete})
    with contextlib.suppress(FileNotFoundError):
        (folder / "fingerprint.pb").unlink()  # holds a random id; TensorFlow and its server do without
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / CONTRACT_NAME).write_bytes(contract.to_bytes())


__all__ = ["FEATURES", "Parts", "parts_of", "split"]
