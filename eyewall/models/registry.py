"""Names of models → what builds them. ``eyewall train --model NAME`` looks here and nowhere else."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from eyewall.contracts.errors import InputError
from eyewall.contracts.features import LEADS_H, ImageSpec
from eyewall.models.card import Kind, Normalisation, Spread
from eyewall.models.forecaster import Forecaster
from eyewall.models.fusion import FusionNetwork
from eyewall.models.image import ImageNetwork
from eyewall.models.rings import RingsNetwork
from eyewall.models.track import TrackEnsemble


def image_network(images: ImageSpec, encoder: Any = "cnn", name: str = "network", **sizes: Any) -> Any:
    """The network that makes a correction of images like ``images``; ``sizes`` as `eyewall.models.sizes` has them."""
    if encoder == "rings":
        return RingsNetwork(images, name=name, **sizes)
    return ImageNetwork(encoder=encoder, name=name, **sizes)


def _fusion(images: ImageSpec, image: dict[str, Any] | None = None, track: dict[str, Any] | None = None) -> Any:
    return FusionNetwork(image_network(images, name="image", **(image or {})), track, name="network")


#: kind → a function of the images that makes the network; keyword arguments are sizes.
NETWORKS: Final[dict[Kind, Callable[..., Any]]] = {
    "track": lambda _, **sizes: TrackEnsemble(name="network", **sizes),
    "image": image_network,
    "fusion": _fusion,
}


def images_of(kind: Kind, available: ImageSpec) -> ImageSpec:
    """The images that a model of ``kind`` takes from records that hold ``available``.

    Raises InputError when the model needs images and the records were made without.
    """
    if kind == "track":
        return available.model_copy(update={"frames": 0})
    if not available.frames:
        raise InputError(f"model {kind!r} needs images and these records hold none: take --model track, or records"
                         " made with --frames of at least 1")  # fmt: skip
    return available


def build(
    kind: Kind,
    images: ImageSpec,
    *,
    cliper: dict[str, Any],
    scale_km: Sequence[float],
    normalisation: Normalisation,
    shrinkage: Sequence[float] = (1.0,) * len(LEADS_H),
    spread: Spread | None = None,
    sizes: dict[str, Any] | None = None,
    base: Forecaster | None = None,
) -> Forecaster:
    """A forecaster with its weights created. ``images`` as `images_of` gives it; ``sizes`` are the network's own.

    With a ``base``, a trained track-only forecaster, a fusion has an image network alone, which corrects the base.
    """
    if kind not in NETWORKS:
        raise InputError(f"no model {kind!r}: models are {', '.join(NETWORKS)}")
    network = (NETWORKS[kind] if base is None else image_network)(images, **(sizes or {}))
    model = Forecaster(
        kind,
        network,
        cliper=cliper,
        scale_km=scale_km,
        normalisation=normalisation,
        shrinkage=shrinkage,
        spread=spread,
        base=base,
    )
    model.build_for(images)
    return model
