"""The way back: the label stable returns to an earlier good version, and the one that is left is marked so.

A version that was rolled back is not published again by itself, however often its decision is played: only
``eyewall models rollback --to`` can make it stable once more.
"""

from eyewall.contracts.errors import InputError
from eyewall.contracts.layout import version_dir
from eyewall.serving.index import PREVIOUS, STABLE, ServedModel, read_index, require_index, write_index
from eyewall.serving.lock import repository_lock
from eyewall.serving.publish_step import check_reachable, make_stable
from eyewall.serving.repository import relabelled
from eyewall.storage import Store


def roll_back(
    store: Store,
    name: str,
    to: int | None = None,
    server: str | None = None,
    server_base: str | None = None,
    reason: str = "",
    timeout_s: float = 120.0,
) -> tuple[int, int]:
    """Make ``to`` (default: the previous good version) of model ``name`` stable; returns (left, taken).

    With ``server`` it is loaded and asked there first, and nothing changes when it does not answer. Without one only
    models.json changes, which an embedded server follows by itself. Raises InputError, ServingError.
    """
    rollback_target(require_index(store).known(name), name, to)  # before a lock is made in a store that is not one
    if server is not None:
        check_reachable(server, timeout_s)
    with repository_lock(store, f"eyewall models rollback {name}", timeout_s):
        before = read_index(store)
        model = before.known(name)
        number = rollback_target(model, name, to)
        if store.read_manifest(version_dir(name, number)) is None:
            raise InputError(f"the folder of version {number} of model {name!r} is gone: publish its model again")
        left = model.stable
        assert left is not None  # rollback_target has seen to it
        after = before.with_model(name, _went_back(model, left, number, reason))
        if server is not None:
            make_stable(store, server, server_base, timeout_s, name, number, before, after)
        write_index(store, after)
    return left, number


def rollback_target(model: ServedModel, name: str, to: int | None) -> int:
    """The version to go back to: ``to``, or the previous good one. Raises InputError when that is not possible."""
    if model.stable is None:
        raise InputError(f"model {name!r} has no stable version: there is nothing to go back from")
    if to is None:
        if PREVIOUS not in model.labels:
            raise InputError(f"model {name!r} has no version before {model.stable} left: name one with --to")
        return model.labels[PREVIOUS]
    if to not in model.versions:
        raise InputError(f"model {name!r} has no version {to}: it has {sorted(model.versions)}")
    if to == model.stable:
        raise InputError(f"version {to} of model {name!r} is stable already: name another one")
    if model.versions[to].state not in ("good", "rolled_back"):
        raise InputError(f"version {to} of model {name!r} is {model.versions[to].state}: only a good one can be stable")
    return to


def _went_back(model: ServedModel, left: int, number: int, reason: str) -> ServedModel:
    """``model`` with ``number`` stable; going forward, the version that is left stays good, as previous."""
    if number > left:
        return relabelled(model, number)
    labels = {label: n for label, n in model.labels.items() if label not in (STABLE, PREVIOUS)} | {STABLE: number}
    served = tuple(sorted(set(labels.values())))
    back = model.with_state(left, "rolled_back", reason or f"left for version {number}").with_state(number, "good")
    return back.model_copy(update={"labels": labels, "served": served})
