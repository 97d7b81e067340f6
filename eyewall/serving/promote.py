"""Moving the label stable on a running server: load beside, ask, compare, and only then relabel.

The dialogue is TensorFlow Serving's own: a config with the new version and the old labels; GetModelStatus until it is
AVAILABLE; a Predict of that version; a config with the new labels (a label is refused before its version answers).
A config replaces everything a server serves, so it always lists the other models of the repository as well.
"""

import json
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import ServingError
from eyewall.contracts.layout import version_dir
from eyewall.serving.client import Client, ModelConfig
from eyewall.serving.index import STABLE, Index
from eyewall.storage import Store

_POLL_S = 0.1
_SAY_EVERY_S = 3.0
#: float32 sums in another order, and on another processor's kernels, differ by parts in a million.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-3


def configs(index: Index, base: str) -> list[ModelConfig]:
    """The whole index as a server's config; ``base`` is the folder ``serving`` as the server sees it."""
    return [
        ModelConfig(name, f"{base.rstrip('/')}/{name}", tuple(sorted(model.served)), dict(model.labels))
        for name, model in sorted(index.models.items())
        if model.served
    ]


def config_text(index: Index, base: str) -> str:
    """The same as the text of a ModelServerConfig, for the file that TensorFlow Serving starts from."""
    lines = ["model_config_list {"]
    for model in configs(index, base):
        lines += [
            "  config {",
            f"    name: {json.dumps(model.name)}",
            f"    base_path: {json.dumps(model.base_path)}",
            '    model_platform: "tensorflow"',
            f"    model_version_policy {{ specific {{ {' '.join(f'versions: {n}' for n in model.versions)} }} }}",
            *(f"    version_labels {{ key: {json.dumps(k)} value: {n} }}" for k, n in sorted(model.labels.items())),
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def promote(client: Client, store: Store, change: "Change", base: str, timeout_s: float) -> None:
    """Carry out ``change`` on a server that serves what it finds below ``base``.

    Raises ServingError, with the server asked to serve again what it served before, when the new version does not load
    within ``timeout_s``, answers wrongly, or is not what the label gives in the end.
    """
    deadline = time.monotonic() + timeout_s
    name, number = change.name, change.number
    try:
        standing = _labels_that_stand(client, change.before)
        client.reload(configs(_with_versions_of(standing, change.after), base), timeout_s)
        for other, model in change.after.models.items():
            for version in sorted(set(model.labels.values())):
                await_available(client, other, version, deadline, timeout_s)
        check_answer(client, store, name, number)
        client.reload(configs(change.after, base), timeout_s)
        answered = check_answer(client, store, name, number, label=STABLE)
        if answered != number:
            raise ServingError(f"its label {STABLE!r} still gives version {answered}")
    except ServingError as error:
        note = _back(client, change.before, base)
        raise ServingError(f"version {number} of model {name!r} was not taken: {error}{note}") from None


@dataclass(frozen=True)
class Change:
    """The label stable of model ``name`` moves to ``number``: the index before and after."""

    name: str
    number: int
    before: Index
    after: Index


def _labels_that_stand(client: Client, index: Index) -> Index:
    """The index with only those labels whose version the server has available: it would refuse the others."""
    for name, model in index.models.items():
        status = client.status(name)
        labels = {label: n for label, n in model.labels.items() if n in status and status[n].available}
        index = index.with_model(name, model.model_copy(update={"labels": labels}))
    return index


def _with_versions_of(index: Index, other: Index) -> Index:
    """``index`` that serves the versions of ``other`` as well."""
    for name, model in other.models.items():
        here = index.model(name)
        served = tuple(sorted({*here.served, *model.served}))
        index = index.with_model(name, here.model_copy(update={"served": served}))
    return index


def _back(client: Client, index: Index, base: str) -> str:
    """Ask for the former config; a note when not even that is possible."""
    try:
        client.reload(configs(index, base))
    except ServingError as error:
        return f"; nor could the former config be restored: {error}"
    return ""


def await_available(client: Client, name: str, number: int, deadline: float, timeout_s: float) -> None:
    """Wait until a version is AVAILABLE, with a line on stderr every few seconds. Raises ServingError."""
    start = said = time.monotonic()
    while True:
        status = client.status(name).get(number)
        if status is not None and status.available:
            return
        if status is not None and status.failed:
            raise ServingError(f"it does not load: {status.error}")
        now = time.monotonic()
        if now > deadline:
            raise ServingError(f"it is {status.state if status else 'unknown to the server'} after {timeout_s:g} s")
        if now - said > _SAY_EVERY_S:
            sys.stderr.write(f"waiting for {name} {number}: {status.state if status else '?'}, {now - start:.0f} s\n")
            said = now
        time.sleep(_POLL_S)


def check_answer(client: Client, store: Store, name: str, number: int, label: str | None = None) -> int:
    """Send version ``number``'s own warm-up request, to it or to ``label``, and compare with the answer stored there.

    Returns the version that answered. Raises ServingError when the answer differs, or is not finite.
    """
    from eyewall.serving import warmup
    from eyewall.serving.status import StatusError
    from eyewall.serving.tensors import unpack

    try:
        logs = warmup.read(store.fetch(version_dir(name, number)))
    except StatusError as error:
        raise ServingError(f"its {error}") from None
    if not logs:
        raise ServingError("it has no warm-up record: publish it with eyewall publish")
    log = logs[0].predict_log
    inputs = {key: unpack(proto) for key, proto in log.request.inputs.items()}
    expected = {key: unpack(proto) for key, proto in log.response.outputs.items()}
    given = client.predict(inputs, name, version=None if label else number, label=label)
    _compare(expected, given.outputs)
    return given.version


def _compare(expected: dict[str, npt.NDArray[Any]], given: dict[str, npt.NDArray[Any]]) -> None:
    if set(expected) != set(given):
        raise ServingError(f"it answers with {sorted(given)} instead of {sorted(expected)}")
    for key, value in given.items():
        want = expected[key]
        if value.shape != want.shape:
            raise ServingError(f"its {key} has the shape {list(value.shape)} instead of {list(want.shape)}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ServingError(f"its {key} is not finite")
        if not (np.allclose(value, want, _RELATIVE, _ABSOLUTE) if value.dtype.kind == "f" else (value == want).all()):
            raise ServingError(f"its {key} is not what the published model answers to the same request")
