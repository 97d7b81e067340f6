"""``eyewall.report(step, value, loss=…)``: how a training tells the job platform what it has reached.

A line on stdout is all that it does, and any program in any language may print that line itself:

    eyewall-report {"step": 3, "metric": "loss", "value": 0.12}

A trial that is pruned gets a SIGTERM: the next report then ends the program with exit code 0, as by sys.exit, so that
what it has in ``finally`` and ``with`` is done. Standard library only: it starts within every framework's container.
"""

import json
import operator
import signal
import sys
import threading
from types import FrameType, ModuleType
from typing import Any, SupportsFloat, SupportsIndex

#: The metric that a value without a name is.
DEFAULT_METRIC = "value"
_asked_to_end = threading.Event()
_listening = False


def report(step: SupportsIndex, value: SupportsFloat | None = None, /, **metrics: SupportsFloat) -> None:
    """Report ``value``, and others by name, as reached at ``step`` (an epoch or a count of updates).

    The first call, where it is in the main thread, takes over SIGTERM unless the program handles it itself. Raises
    SystemExit(0) once the program was asked to end; TypeError and ValueError for what is no number.
    """
    _listen()
    values: dict[str, SupportsFloat] = ({} if value is None else {DEFAULT_METRIC: value}) | metrics
    number = operator.index(step)
    lines = [json.dumps({"step": number, "metric": name, "value": float(reached)}) for name, reached in values.items()]
    sys.stdout.write("".join(f"eyewall-report {line}\n" for line in lines))
    sys.stdout.flush()
    if _asked_to_end.is_set():
        raise SystemExit(0)


def _listen() -> None:
    global _listening
    if _listening or threading.current_thread() is not threading.main_thread():
        return
    _listening = True
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end_at_next_report)


def _end_at_next_report(_number: int, _frame: FrameType | None) -> None:
    _asked_to_end.set()


class _CallableModule(ModuleType):
    """``eyewall.report`` is this module as soon as somebody imports it: calling it has to work all the same."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        report(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
