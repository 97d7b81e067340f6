"""Versions of models in memory: loaded and unloaded in the background, swapped without a failed request.

As TensorFlow Serving's aspired-versions manager with its availability-preserving policy: a new version is loaded and
warmed up before the one that it replaces is let go, and the latter is freed when its last request has ended. Labels
move at once, and only to a version that answers.
"""

import contextlib
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from eyewall.serving.plan import ModelPlan
from eyewall.serving.saved_model import SavedModel
from eyewall.serving.status import FAILED_PRECONDITION, INTERNAL, UNKNOWN, StatusError, invalid, not_found
from eyewall.serving.warmup import replay as replay_warmup

_log = logging.getLogger(__name__)

#: States of TensorFlow Serving's GetModelStatus.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


@dataclass
class ServedVersion:
    """One version and its state; ``model`` is there while it is AVAILABLE or UNLOADING."""

    name: str
    version: int
    folder: Path
    state: str = START
    error: StatusError | None = None
    model: SavedModel | None = None
    running: int = 0  #: requests that use it now


def load_and_warm_up(folder: Path) -> SavedModel:
    """The model in ``folder``, ready to answer at full speed. Raises StatusError."""
    model = SavedModel(folder)
    replay_warmup(model, folder)
    return model


class ModelManager:
    """All models of one server; every method may be called from any thread."""

    def __init__(self, load: Callable[[Path], SavedModel] = load_and_warm_up, loaders: int = 2) -> None:
        self._load = load
        self._changed = threading.Condition()  # guards everything below
        self._versions: dict[str, dict[int, ServedVersion]] = {}
        self._plans: dict[str, ModelPlan] = {}
        self._reloading = threading.Lock()
        self._loaders = ThreadPoolExecutor(loaders, thread_name_prefix="load")

    # --- requests

    @contextlib.contextmanager
    def use(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[tuple[int, SavedModel]]:
        """A version's number and model, kept in memory until the block ends; neither given: the highest available.

        Raises StatusError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for an unknown label.
        """
        with self._changed:
            served = self._find(name, version, label)
            served.running += 1
            model = served.model
        try:
            assert model is not None  # AVAILABLE
            yield served.version, model
        finally:
            with self._changed:
                served.running -= 1
                self._free_if_idle(served)

    def _find(self, name: str, version: int | None, label: str | None) -> ServedVersion:
        if not name:
            raise invalid("ModelSpec has no name specified.")
        if label is not None:
            plan = self._plans.get(name)
            if plan is None or label not in plan.labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            version = plan.labels[label]
        there = self._versions.get(name, {})
        if version is None:
            version = max((n for n, v in there.items() if v.state == AVAILABLE), default=None)
            if version is None:
                raise not_found(f"Servable not found for request: Latest({name})")
        found = there.get(version)
        if found is None or found.state != AVAILABLE:
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return found

    def status(self, name: str, version: int | None = None, label: str | None = None) -> list[ServedVersion]:
        """Copies of the states of one or all versions, highest first. Raises StatusError like `use`."""
        with self._changed:
            if label is not None:
                plan = self._plans.get(name)
                if plan is None or label not in plan.labels:
                    raise invalid(f"Unrecognized servable version label: {label}")
                version = plan.labels[label]
            there = self._versions.get(name, {})
            if version is not None:
                if version not in there:
                    raise not_found(f"Could not find version {version} of model {name}")
                return [replace(there[version], model=None)]
            if not there:
                raise not_found(f"Could not find any versions of model {name}")
            return [replace(there[n], model=None) for n in sorted(there, reverse=True)]

    # --- what is served

    def labels(self) -> dict[str, dict[str, int]]:
        """Model → label → version, as they are now."""
        with self._changed:
            return {name: dict(plan.labels) for name, plan in self._plans.items()}

    def available(self, name: str, version: int) -> bool:
        """Whether a version answers requests."""
        with self._changed:
            served = self._versions.get(name, {}).get(version)
            return served is not None and served.state == AVAILABLE

    def serves(self, plans: Sequence[ModelPlan]) -> bool:
        """Whether exactly ``plans`` are served: these models, their wanted versions and no others, these labels."""
        wanted = {plan.name: (plan.labels, plan.wanted()) for plan in plans}
        with self._changed:
            there = {
                name: (plan.labels, {n for n, v in self._versions.get(name, {}).items() if v.state == AVAILABLE})
                for name, plan in self._plans.items()
            }
        return there == wanted

    def reload(
        self,
        plans: Sequence[ModelPlan],
        wait_s: float = 60.0,
        *,
        early_labels: bool = False,
        retry_failed: bool = True,
    ) -> None:
        """Serve exactly ``plans``. Versions load in the background; only a *model* that is new is waited for.

        ``early_labels`` lets a label stand before its version is available, which is for starting up;
        ``retry_failed`` loads versions once more that did not load before.
        Raises StatusError: FAILED_PRECONDITION for a label on a version that is not available (nothing changes then),
        UNKNOWN when a new model does not become available (its states stay to be asked for).
        """
        with self._reloading:
            with self._changed:
                for plan in plans:
                    self._check_labels(plan, early_labels)
                new = [plan.name for plan in plans if plan.name not in self._plans]
                self._plans = {plan.name: plan for plan in plans}
                self._settle(retry_failed=retry_failed)
            self._await_models(new, time.monotonic() + wait_s)

    def _check_labels(self, plan: ModelPlan, early_labels: bool) -> None:
        there = self._versions.get(plan.name, {})
        for version in plan.labels.values():
            available = version in there and there[version].state == AVAILABLE
            if not available and not early_labels:
                raise StatusError(
                    FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {plan.name}, which is not currently"
                    " available for inference",
                )

    def _await_models(self, names: Sequence[str], deadline: float) -> None:
        with self._changed:
            while pending := [name for name in names if self._loading(name)]:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise StatusError(UNKNOWN, f"{len(pending)} model(s) did not become available: {pending}")
            failed = {
                f"{{name: {name} version: {v.version}}} due to error: {v.error}"
                for name in names
                for v in self._versions.get(name, {}).values()
                if v.error is not None and not self._any_available(name)
            }
        if failed:
            raise StatusError(UNKNOWN, f"{len(failed)} model(s) did not become available: {', '.join(sorted(failed))}")

    def _loading(self, name: str) -> bool:
        return any(v.state in (START, LOADING) for v in self._versions.get(name, {}).values())

    def _any_available(self, name: str) -> bool:
        return any(v.state == AVAILABLE for v in self._versions.get(name, {}).values())

    def refresh(self) -> None:
        """Look again for version folders, where a plan's policy leaves the choice to the disk."""
        with self._changed:
            self._settle(retry_failed=False)

    def _settle(self, *, retry_failed: bool) -> None:
        """Move every version towards the plans; the caller holds the lock."""
        for name, plan in self._plans.items():
            there = self._versions.setdefault(name, {})
            for number in sorted(plan.wanted()):
                known = there.get(number)
                if known is not None and known.state == UNLOADING:
                    known.state = AVAILABLE  # wanted again while its last requests run
                ended = known is not None and known.state == END and (known.error is None or retry_failed)
                if known is None or ended:
                    there[number] = ServedVersion(name, number, plan.base / str(number))
                    self._loaders.submit(self._load_one, there[number])
        for name, there in self._versions.items():
            plan_or_none = self._plans.get(name)
            wanted = plan_or_none.wanted() if plan_or_none else set()
            ready = not wanted or any(n in wanted and v.state == AVAILABLE for n, v in there.items())
            for number, served in there.items():
                if served.state == AVAILABLE and number not in wanted and ready:
                    served.state = UNLOADING
                    self._free_if_idle(served)

    def _free_if_idle(self, served: ServedVersion) -> None:
        if served.state == UNLOADING and served.running == 0:
            served.model, served.state = None, END
            _log.info("unloaded %s version %d", served.name, served.version)
            self._changed.notify_all()
            # A SavedModel holds itself in cycles: without this, several of them wait in memory for the collector.
            with contextlib.suppress(RuntimeError):  # closed: there is no need any more
                self._loaders.submit(gc.collect)

    def _load_one(self, served: ServedVersion) -> None:
        with self._changed:
            served.state = LOADING
        start, model, error = time.monotonic(), None, None
        try:
            model = self._load(served.folder)
        except StatusError as refused:
            error = refused
        except Exception as unexpected:
            error = StatusError(INTERNAL, f"{type(unexpected).__name__}: {unexpected}")
        with self._changed:
            served.model, served.error = model, error
            served.state = AVAILABLE if error is None else END
            if error is None:
                _log.info("loaded %s version %d in %.1f s", served.name, served.version, time.monotonic() - start)
            else:
                _log.error("%s version %d does not load: %s", served.name, served.version, error)
            self._settle(retry_failed=False)
            self._changed.notify_all()

    def close(self) -> None:
        """Start no further load; requests that run are the callers' to wait for."""
        self._loaders.shutdown(wait=False, cancel_futures=True)
