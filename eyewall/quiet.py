"""TensorFlow imported in silence: its C++ libraries greet on file descriptor 2 at import, whatever the log level says.

Nothing heavy is imported here. Whoever imports TensorFlow first in a program calls `import_tensorflow` before it.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator

#: One redirection at a time: two that overlap in threads would leave the descriptor with the other's /dev/null.
_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Nothing reaches file descriptor 2 meanwhile, from any thread of this process. Python errors still raise."""
    with _one_at_a_time:
        try:
            kept = os.dup(2)
        except OSError:  # closed already: there is nothing to keep quiet
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def import_tensorflow() -> None:
    """Import TensorFlow (seconds) without its greetings; nothing happens when it has been imported before."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    if "tensorflow" in sys.modules:
        return
    with quiet_stderr():
        import tensorflow  # noqa: F401
