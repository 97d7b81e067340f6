"""A trained model as a plain function on numpy arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall import quiet
from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.features import IMAGE_FEATURES
from eyewall.models.card import SAVED_MODEL_DIR

Arrays = dict[str, npt.NDArray[np.float32]]
Predictor = Callable[[Mapping[str, npt.NDArray[Any]]], Arrays]

_SIGNATURE = "serving_default"


def load_predictor(folder: Path, batch: int = 256) -> Predictor:
    """The model in ``folder`` (a model artifact, or a SavedModel itself) as a function.

    The function takes features [n, …] by name (any it does not know are ignored; missing image features mean "no
    frame") and gives the outputs [n, …] of contracts.features, computed ``batch`` samples at a time; n may be 0.
    Raises ContractError when there is no model, the function InputError when a feature is missing or ill-shaped.
    """
    quiet.import_tensorflow()
    import tensorflow as tf

    saved = folder / SAVED_MODEL_DIR if (folder / SAVED_MODEL_DIR).is_dir() else folder
    try:
        loaded = tf.saved_model.load(str(saved))
        signature = loaded.signatures[_SIGNATURE]
    except (OSError, KeyError, ValueError) as error:
        raise ContractError(f"no SavedModel with signature {_SIGNATURE} in {folder}: {error}") from None
    shapes = {name: tuple(spec.shape[1:]) for name, spec in signature.structured_input_signature[1].items()}

    def predict(features: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        assert loaded is not None  # the signature refers to the model only weakly
        inputs = _inputs(features, shapes)
        n = len(next(iter(inputs.values())))
        if n == 0:  # one row of zeros goes through, and none of it comes out
            inputs = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
        parts = []
        for start in range(0, max(n, 1), batch):
            rows = {name: tf.constant(values[start : start + batch]) for name, values in inputs.items()}
            parts.append({name: values.numpy() for name, values in signature(**rows).items()})
        return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}

    return predict


def _inputs(features: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """float32 arrays of equal length in the model's shapes."""
    given = {name: np.asarray(features[name], np.float32) for name in shapes if name in features}
    missing = sorted(set(shapes) - set(given) - set(IMAGE_FEATURES))
    if missing or not given:
        raise InputError(f"features {missing} are missing: the model takes {sorted(shapes)}")
    n = len(next(iter(given.values())))
    for name in set(shapes) - set(given):
        given[name] = np.zeros((n, *shapes[name]), np.float32)
    for name, values in given.items():
        if values.shape != (n, *shapes[name]):
            raise InputError(f"feature {name} has shape {values.shape}: the model takes {(n, *shapes[name])}")
    return given
