"""A trained model made again from its artifact, to go on with: to be corrected by another one, or to be cut in two."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from eyewall.contracts.errors import ContractError
from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.models.card import SAVED_MODEL_DIR, ModelCard
from eyewall.models.forecaster import Forecaster
from eyewall.models.registry import build

Array = npt.NDArray[Any]


def read_weights(folder: Path) -> list[Array]:
    """The weights of a model artifact, as `eyewall.models.export` has ordered them. Raises ContractError.

    Read from the checkpoint within the SavedModel: no graph is loaded, and no variable is made.
    """
    try:
        stored = tf.train.load_checkpoint(str(folder / SAVED_MODEL_DIR / "variables" / "variables"))
        count = sum(name.startswith("weights/") for name in stored.get_variable_to_shape_map())
        return [stored.get_tensor(f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE") for i in range(count)]
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ContractError(f"no weights in {folder.name!r}: {error}; give a model that eyewall train made") from None


def forecaster_of(card: ModelCard, weights: list[Array], name: str) -> Forecaster:
    """The forecaster of a card with its weights, and then its base's. Raises ContractError when they do not fit."""
    own, base = len(weights), None
    try:
        if card.track is not None:
            own -= len(_make(card.track, None).weights)
            base = forecaster_of(card.track, weights[own:], name)
        model = _make(card, base)
        model.set_weights(weights[:own])
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ContractError(f"the weights in {name!r} fit no {card.kind!r} network: {error}") from None
    return model


def _make(card: ModelCard, base: Forecaster | None) -> Forecaster:
    return build(
        card.kind,
        card.images,
        cliper=card.cliper,
        scale_km=card.scale_km,
        normalisation=card.normalisation,
        shrinkage=[card.shrinkage[str(lead)] for lead in LEADS_H],
        spread=card.spread,
        sizes=card.sizes,
        base=base,
    )


def restore(folder: Path) -> tuple[Forecaster, ImageSpec]:
    """The forecaster of a model artifact's folder, made again from its card and its SavedModel's weights.

    Raises ContractError when the folder holds none, or weights that no such network has.
    """
    card = ModelCard.read(folder)
    return forecaster_of(card, [np.asarray(w) for w in read_weights(folder)], folder.name), card.images
