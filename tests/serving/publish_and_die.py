"""Publish in a child that is killed with -9 at a named point; the parent imports TensorFlow once and forks for each.

Usage: publish_and_die.py STORE SERVER; then one line "GAIN POINT" on stdin for each child. POINT is
``before:module.name`` or ``after:module.name``: the child dies before or after that function's call; an optional
``*N`` takes the Nth call. Answers with the child's exit status, -9 when it died as wanted.
"""

import importlib
import os
import signal
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow  # noqa: F401  # once, for all children
import tensorflow_serving.apis.prediction_service_pb2_grpc  # noqa: F401
from tiny_models import Repository, saved_model


def die_at(point: str) -> None:
    """Replace the function at ``point`` by one that kills its process."""
    when, _, rest = point.partition(":")
    target, _, nth = rest.partition("*")
    path, _, name = target.rpartition(".")
    owner = importlib.import_module(path) if not path[path.rfind(".") + 1].isupper() else None
    if owner is None:
        module, _, cls = path.rpartition(".")
        owner = getattr(importlib.import_module(module), cls)
    original, left = getattr(owner, name), [int(nth or 1)]

    def dying(*args: object, **kwargs: object) -> object:
        left[0] -= 1
        if left[0] == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if left[0] == 0 and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


def main() -> None:
    """Fork one child a line."""
    url, server = sys.argv[1:]
    for line in sys.stdin:
        gain, point = line.split()
        child = os.fork()
        if child == 0:
            die_at(point)
            Repository(url).publish(float(gain), server=server)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    assert saved_model
    main()
