"""The artifact store: one fsspec URL, in which a thing is either whole or not there."""

from eyewall.storage.artifacts import Artifact, find, resolve
from eyewall.storage.store import Store

__all__ = ["Artifact", "Store", "find", "resolve"]
