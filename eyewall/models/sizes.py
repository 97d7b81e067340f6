"""Sizes of the networks by name, as keyword arguments of what `eyewall.models.registry` builds.

``small`` is what a few ten thousand fixes and some hundred frames can teach. ``large`` is for data and devices that
this basin has not: weights, gradients and the optimizer's two slots are 16 bytes a weight, and a large network needs
more than 16 GB for them, so that `--strategy model_parallel` is the way to train it (`benchmarks/model_sizes.py`).
"""

from typing import Any, Final, Literal

from eyewall.models.card import Kind

Size = Literal["small", "medium", "large"]
TrackNetworkName = Literal["perceptron", "gru", "lstm", "attention"]
EncoderName = Literal["cnn", "convlstm", "rings"]

_TRACK: Final[dict[Size, dict[str, Any]]] = {
    "small": {},
    "medium": {"widths": (256, 256)},
    "large": {"widths": (32768, 32768), "members": 1},
}
_SEQUENCE: Final[dict[Size, dict[str, Any]]] = {
    "small": {"width": 32, "layers": 1},
    "medium": {"width": 128, "layers": 2},
    "large": {"width": 12288, "layers": 2},
}
_IMAGE: Final[dict[Size, dict[str, Any]]] = {
    "small": {},
    "medium": {"channels": (32, 64, 128, 128), "width": 128},
    "large": {"channels": (512, 1024, 2048, 4096), "width": 16384},
}


def track_sizes(
    size: Size = "small", network: TrackNetworkName = "perceptron", width: int | None = None
) -> dict[str, Any]:
    """Arguments of `eyewall.models.track.TrackEnsemble`; ``width`` in place of the size's own."""
    sizes = dict(_TRACK[size])
    if network == "perceptron":
        return sizes | ({"widths": (width, width)} if width else {})
    read = _SEQUENCE[size] | ({"width": width} if width else {})
    members = {"members": 1} if size == "large" else {}
    return {**members, "sequence": {"kind": network, **read}}


def image_sizes(
    size: Size = "small",
    encoder: EncoderName = "cnn",
    width: int | None = None,
    channels: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Arguments of `eyewall.models.registry.image_network`; ``width`` and ``channels`` in place of the size's own."""
    if encoder == "rings":
        return {"encoder": "rings"}
    sizes = dict(_IMAGE[size]) | ({"width": width} if width else {}) | ({"channels": channels} if channels else {})
    return sizes | ({"encoder": encoder} if encoder != "cnn" else {})


def sizes_of(kind: Kind, track: dict[str, Any], image: dict[str, Any], *, based: bool) -> dict[str, Any]:
    """What `eyewall.models.registry.build` takes for ``kind``; a ``based`` fusion has no track network of its own."""
    if kind == "track":
        return track
    if kind == "image" or based:
        return image
    return {name: sizes for name, sizes in (("track", track), ("image", image)) if sizes}
