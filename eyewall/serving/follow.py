"""The server follows models.json: at its start, and whenever it serves something else.

What a HandleReloadConfigRequest changed is put back when models.json does not say so too, as with TensorFlow Serving's
own config file that is polled; while a publisher is at work, who sends such requests and writes models.json in the end,
the server leaves things as they are.

A label that moves does so in two halves, as with TensorFlow Serving: first the versions are loaded with the labels as
they were; only when they answer do the labels change. So a change that cannot be carried out leaves the old one served.
It is tried again after a pause, since a disk may have been full or a store away; the pauses double up to five minutes.

Only a models.json that is there and valid can make the server let go of a model. Missing or damaged, it says nothing
about what should be served, and what is loaded stays.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from eyewall.contracts.errors import EyewallError, StorageError
from eyewall.serving.backoff import Backoff
from eyewall.serving.index import INDEX_PATH, Index, find_index, orphaned_versions
from eyewall.serving.lock import while_unchanged
from eyewall.serving.manager import AVAILABLE, ModelManager
from eyewall.serving.plan import ModelPlan, plans_of_index, without_labels_to
from eyewall.serving.status import StatusError
from eyewall.storage import Store

_log = logging.getLogger(__name__)
_LOAD_TIMEOUT_S = 300.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0
_STAYS = "what was served before stays"


class Follower:
    """Applies models.json of ``store`` to a manager."""

    def __init__(self, manager: ModelManager, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._manager, self._store = manager, store
        self._root = Path(store.full("serving"))
        self._failing = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, clock)  #: plans that could not be carried out
        self._unreadable = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S, clock)  #: sentences, so that none fills the log
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve what the index says now; nothing, when there is none. Raises ContractError when it is damaged."""
        index = find_index(self._store)
        if index is None and (there := orphaned_versions(self._store)):
            _log.error(
                "%s is missing although %s are there: nothing is served until it is restored from a copy, or a model"
                " is published again",
                INDEX_PATH,
                ", ".join(there),
            )
        plans = plans_of_index(index or Index(), self._root)
        try:
            self._manager.reload(plans, _LOAD_TIMEOUT_S, early_labels=True)
        except StatusError as error:  # the other models and versions serve all the same
            _log.error("at start: %s; tried again in %g s", error, self._failing.failed(plans))

    def watch(self, poll_s: float) -> None:
        """Look again every ``poll_s`` seconds, until `close`."""
        self._thread = threading.Thread(target=self._watch, args=(poll_s,), name="follow", daemon=True)
        self._thread.start()

    def _watch(self, poll_s: float) -> None:
        while not self._stop.wait(poll_s):
            try:
                self.look()
                self._manager.refresh()
            except Exception:  # a thread that ends in silence would never follow again
                _log.exception("%s could not be followed; %s", INDEX_PATH, _STAYS)

    def look(self) -> None:
        """Follow the index once, unless a publisher is at work. Whatever goes wrong is said, and changes nothing."""
        try:
            with while_unchanged(self._store) as nobody_writes:
                if not nobody_writes:
                    return
                index = find_index(self._store)
                if index is None and self._manager.labels():
                    raise StorageError(f"{INDEX_PATH} is missing: restore it from a copy, or publish a model again")
                self.apply(index or Index())
            self._unreadable.clear()
        except (EyewallError, OSError) as error:
            self._say(f"{error}; {_STAYS}")

    def _say(self, sentence: str) -> None:
        if self._unreadable.due(sentence):
            self._unreadable.failed(sentence)
            _log.error("%s", sentence)

    def apply(self, index: Index) -> None:
        """Serve what ``index`` says, if that is not the case; what failed for the same index only after a pause."""
        plans = plans_of_index(index, self._root)
        if self._manager.serves(plans):
            self._failing.clear()
            return
        if not self._failing.due(plans):
            return
        try:
            self._carry_out(plans)
        except StatusError as error:
            pause_s = self._failing.failed(plans)
            _log.error(
                "%s, try %d: %s; %s, tried again in %g s", INDEX_PATH, self._failing.tries, error, _STAYS, pause_s
            )
            return
        if self._failing.tries:
            _log.info("%s is served as it says, after %d tries in vain", INDEX_PATH, self._failing.tries)
        self._failing.clear()

    def _carry_out(self, plans: list[ModelPlan]) -> None:
        """Load what is wanted, then move the labels of every model whose labelled versions answer.

        Raises StatusError when a version does not load; its model keeps its labels, the others get theirs.
        """
        standing = self._standing(self._manager.labels())
        loading = plans
        if any(plan.labels != standing.get(plan.name, {}) for plan in plans):
            loading = without_labels_to(plans, standing)
        failures: list[StatusError] = []
        try:
            self._manager.reload(loading, _LOAD_TIMEOUT_S)
        except StatusError as error:  # a new model does not load: the others are looked at all the same
            failures.append(error)
        failures = [*self._await_versions(plans)] or failures
        labelled = [
            plan if all(self._manager.available(plan.name, n) for n in plan.labels.values()) else kept
            for plan, kept in zip(plans, loading, strict=True)
        ]
        if labelled != loading:
            self._manager.reload(labelled, _LOAD_TIMEOUT_S, retry_failed=False)
        if failures:
            raise failures[0]

    def _standing(self, labels: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """Those labels whose version answers: the others could not be kept."""
        return {
            name: {label: n for label, n in of_model.items() if self._manager.available(name, n)}
            for name, of_model in labels.items()
        }

    def _await_versions(self, plans: list[ModelPlan]) -> list[StatusError]:
        """Wait for every version to load or to fail; the failures, with the version's name in each."""
        deadline = time.monotonic() + _LOAD_TIMEOUT_S
        failures = []
        for plan in plans:
            for version in sorted(plan.wanted()):
                what = f"{plan.name} version {version}"
                while (served := self._manager.status(plan.name, version)[0]).state != AVAILABLE:
                    if served.error is not None:
                        failures.append(StatusError(served.error.code, f"{what} does not load: {served.error}"))
                        break
                    if time.monotonic() > deadline or self._stop.is_set():
                        failures.append(StatusError("DEADLINE_EXCEEDED", f"{what} is not available yet"))
                        break
                    time.sleep(0.05)
        return failures

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
