"""The server follows models.json: at its start, and whenever it serves something else.

What a HandleReloadConfigRequest changed is put back when models.json does not say so too, as with TensorFlow Serving's
own config file that is polled; while a publisher is at work, who sends such requests and writes models.json in the end,
the server leaves things as they are.

A label that moves does so in two halves, as with TensorFlow Serving: first the versions are loaded with the labels as
they were; only when they answer do the labels change. So a change that cannot be carried out leaves the old one served.
"""

import logging
import threading
import time
from pathlib import Path

from eyewall.contracts.errors import EyewallError
from eyewall.serving.index import INDEX_PATH, Index, read_index
from eyewall.serving.lock import while_unchanged
from eyewall.serving.manager import AVAILABLE, ModelManager
from eyewall.serving.plan import ModelPlan, plans_of_index, without_labels_to
from eyewall.serving.status import StatusError
from eyewall.storage import Store

_log = logging.getLogger(__name__)
_LOAD_TIMEOUT_S = 300.0


class Follower:
    """Applies models.json of ``store`` to a manager."""

    def __init__(self, manager: ModelManager, store: Store) -> None:
        self._manager, self._store = manager, store
        self._root = Path(store.full("serving"))
        self._given_up: list[ModelPlan] | None = None  #: plans that could not be carried out
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve what the index says now; nothing, when there is none. Raises ContractError when it is damaged."""
        plans = plans_of_index(read_index(self._store), self._root)
        try:
            self._manager.reload(plans, _LOAD_TIMEOUT_S, early_labels=True)
        except StatusError as error:  # the other models and versions serve all the same
            self._given_up = plans
            _log.error("at start: %s", error)

    def watch(self, poll_s: float) -> None:
        """Look again every ``poll_s`` seconds, until `close`."""
        self._thread = threading.Thread(target=self._watch, args=(poll_s,), name="follow", daemon=True)
        self._thread.start()

    def _watch(self, poll_s: float) -> None:
        while not self._stop.wait(poll_s):
            try:
                self._look()
                self._manager.refresh()
            except (EyewallError, StatusError, OSError) as error:
                _log.error("%s: %s; what was served before stays", INDEX_PATH, error)

    def _look(self) -> None:
        with while_unchanged(self._store) as nobody_writes:
            if nobody_writes:
                self.apply(read_index(self._store))

    def apply(self, index: Index) -> None:
        """Serve what ``index`` says, if that is not the case. Raises StatusError, once for the same index."""
        plans = plans_of_index(index, self._root)
        if plans == self._given_up or self._manager.serves(plans):
            return
        try:
            now = self._manager.labels()
            if any(plan.labels != now.get(plan.name, {}) for plan in plans):
                self._manager.reload(without_labels_to(plans, self._standing(now)), _LOAD_TIMEOUT_S)
                self._await_labelled(plans)
            self._manager.reload(plans, _LOAD_TIMEOUT_S)
        except StatusError:
            self._given_up = plans
            raise
        self._given_up = None

    def _standing(self, labels: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """Those labels whose version answers: the others could not be kept."""
        return {
            name: {label: n for label, n in of_model.items() if self._manager.available(name, n)}
            for name, of_model in labels.items()
        }

    def _await_labelled(self, plans: list[ModelPlan]) -> None:
        deadline = time.monotonic() + _LOAD_TIMEOUT_S
        for plan in plans:
            for version in plan.labels.values():
                while (served := self._manager.status(plan.name, version)[0]).state != AVAILABLE:
                    if served.error is not None:
                        raise served.error
                    if time.monotonic() > deadline or self._stop.is_set():
                        raise StatusError("DEADLINE_EXCEEDED", f"{plan.name} version {version} is not available yet")
                    time.sleep(0.05)

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
