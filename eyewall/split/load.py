"""``MODEL`` on the command line → a model that can be cut: of the store, a file, or a network of the study."""

from pathlib import Path
from typing import Any

from eyewall import quiet
from eyewall.contracts.errors import ContractError, InputError
from eyewall.storage import Artifact, Store, resolve

_KERAS_SUFFIXES = (".keras", ".h5")


def load_model(store: Store, ref: str) -> tuple[Any, str]:
    """A tf_keras model with a graph of layers, and the sha256 that stands for it (empty for a name).

    ``ref``: a model or network artifact of ``store`` (or its receipt), a Keras file, or ``caffenet`` / ``cifar10``
    (random weights). Raises InputError or ContractError when it is none of them, or nothing that can be cut.
    """
    quiet.import_tensorflow()
    if ref in ("caffenet", "cifar10"):
        return _network(ref), ""
    if ref.endswith(_KERAS_SUFFIXES):
        return _keras_file(Path(ref))
    artifact = resolve(store, ref)
    if artifact.manifest.kind == "network":
        from eyewall.split.networks.result import load_network

        return load_network(artifact)[0], artifact.reference.sha256
    if artifact.manifest.kind == "model":
        return _forecaster(artifact), artifact.reference.sha256
    raise ContractError(f"{ref!r} is of kind {artifact.manifest.kind!r}: give a model, a network or a Keras file")


def _network(name: str) -> Any:
    if name == "caffenet":
        from eyewall.split.networks import caffenet

        return caffenet.build()
    from eyewall.split.networks import cifar10

    return cifar10.build()


def _keras_file(path: Path) -> tuple[Any, str]:
    import tf_keras

    from eyewall.split.networks import caffenet, layers  # noqa: F401  # their layers become known to Keras
    from eyewall.storage.store import sha256_of

    if not path.is_file():
        raise InputError(f"no file {str(path)!r}: give a model that tf_keras saved")
    try:
        return tf_keras.models.load_model(str(path), compile=False), sha256_of(path)
    except Exception as error:  # h5py, zipfile, json and Keras each fail in their own way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise InputError(f"{str(path)!r} is not a model that tf_keras can load: {reason}") from None


def _forecaster(artifact: Artifact) -> Any:
    from eyewall.models.trained import restore
    from eyewall.split.forecaster import functional_view

    return functional_view(*restore(artifact.folder()))
