"""Run inside an environment, by its own Python: what is in it, whether the framework works. The standard library only.

    python -c "<this file>" MODULE CHECK          # prints one line of JSON last

It runs where nothing of Eyewall but `eyewall.report` is, and under other versions of Python than the project's.
"""

import contextlib
import importlib
import importlib.metadata
import io
import json
import os
import sys


def main(module: str, check: str) -> dict[str, object]:
    """Import ``module``, evaluate ``check`` with it; the versions of everything that is installed."""
    found: dict[str, object] = {
        "python": "{}.{}".format(*sys.version_info[:2]),
        "uid": os.getuid(),
        "packages": {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()},
        "unwritable": [p for p in ("/work/code", "/work/data", "/work/out") if not os.access(p, os.W_OK)],
    }
    try:
        imported = importlib.import_module(module)
        top = module.partition(".")[0]
        found["check"] = bool(eval(check, {top: sys.modules[top]})) if check else True  # noqa: S307 - the recipe's own
        found["version"] = getattr(imported, "__version__", "")
        report = importlib.import_module("eyewall").report
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            report(1, probe=0.5)
            importlib.import_module("eyewall").report(2, probe=0.25)  # still a function the second time
        found["reports"] = [line.partition(" ")[0] for line in said.getvalue().splitlines()]
    except BaseException as error:
        found["error"] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(main(*sys.argv[1:3])) + "\n")
