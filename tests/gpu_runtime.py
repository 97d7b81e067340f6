"""A GPU runtime for an engine of a test's own, in place of NVIDIA's container toolkit.

An engine offers GPUs where it finds the program nvidia-container-runtime-hook, and calls that before a container that
was given some begins. The one here puts a stand-in for NVML (`nvml_stub`) into the container, which tells of the GPUs
that the container was given.
"""

import os
import sys
from pathlib import Path

HOOK = """#!{python}
import json, os, shutil, sys
config_of = json.load(sys.stdin)["bundle"]
config = json.load(open(os.path.join(config_of, "config.json")))
root = os.path.join(config_of, config["root"]["path"])
environment = dict(each.split("=", 1) for each in config["process"]["env"])
given = environment.get("NVIDIA_VISIBLE_DEVICES", "")
lines = open("{folder}/gpus").read().splitlines()
if given != "all":
    known = [line.split("|")[0] for line in lines]
    for uuid in given.split(","):
        if uuid not in known:
            sys.exit("device error: " + uuid + ": unknown device")
    lines = [line for line in lines if line.split("|")[0] in given.split(",")]
shutil.copy("{folder}/libnvidia-ml.so.1", root + "/usr/lib/libnvidia-ml.so.1")
open(root + "/etc/nvml-stub", "w").write("".join(line + "\\n" for line in lines))
"""


def install(folder: Path) -> dict[str, str]:
    """Put the hook into ``folder``, where the library is; variables that an engine is to be started with."""
    hook = folder / "nvidia-container-runtime-hook"
    hook.write_text(HOOK.format(python=sys.executable, folder=folder))
    hook.chmod(0o755)
    set_gpus(folder)
    return {"PATH": f"{folder}:{os.environ['PATH']}:/usr/sbin:/sbin"}


def set_gpus(folder: Path, *lines: str) -> None:
    """From now on the host has these GPUs: lines as in `nvml_stub`."""
    (folder / "gpus").write_text("".join(f"{line}\n" for line in lines))
