"""NVML's view of a machine's GPUs as plain values. The standard library only, of Python 3.8 on, beside pynvml.

Run as a program it prints one line of JSON: so it is put into a container of a host whose GPUs are to be seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Recovery actions of NVML's field 230 (drivers from 570 on): what the driver itself says a GPU needs after an XID.
_RECOVERY = {1: "a reset", 2: "a reboot of its host", 3: "to be drained", 4: "to be drained and reset"}
_RECOVERY_FIELD = 230


def view(nvml: Any) -> list[dict[str, Any]] | None:
    """GPUs as dicts: number, uuid, name, capability, memory_mb, processes (pid, cgroup), trouble ("": none).

    None where there is no NVML or no driver. A GPU that does not even tell its UUID is not in the list.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        found = []
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(number)
                uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            except nvml.NVMLError:
                continue
            found.append(_gpu(nvml, handle, number, uuid))
        return found
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any, number: int, uuid: str) -> dict[str, Any]:
    gpu = {"number": number, "uuid": uuid, "name": "", "capability": [0, 0], "memory_mb": 0, "processes": []}
    try:
        gpu["name"] = _text(nvml.nvmlDeviceGetName(handle))
        gpu["memory_mb"] = nvml.nvmlDeviceGetMemoryInfo(handle).total >> 20
        gpu["capability"] = list(nvml.nvmlDeviceGetCudaComputeCapability(handle))
        pids = sorted(process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
        gpu["processes"] = [{"pid": pid, "cgroup": _cgroup(pid)} for pid in pids]
        gpu["trouble"] = _trouble(nvml, handle)
    except nvml.NVMLError as error:  # such as "GPU is lost": it fell off the bus (XID 79)
        gpu["trouble"] = f"NVML: {error}"
    return gpu


def _trouble(nvml: Any, handle: Any) -> str:
    """What makes a GPU unfit for a job, in words."""
    kind = (nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC)
    if errors := _asked(nvml, lambda: nvml.nvmlDeviceGetTotalEccErrors(handle, *kind)):
        return f"{errors} uncorrected ECC errors since its driver was loaded: reset it"
    _, _, pending, failure = _asked(nvml, lambda: nvml.nvmlDeviceGetRemappedRows(handle)) or (0, 0, 0, 0)
    if failure:
        return "its memory has more bad rows than spare ones (XID 64): replace it"
    if pending:
        return "bad rows of its memory wait to be remapped (XID 63): reset it"
    if _asked(nvml, lambda: nvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)):
        return "bad pages of its memory wait to be retired (XID 63): reset it"
    if action := _asked(nvml, lambda: _recovery_action(nvml, handle)):
        return f"its driver says that it needs {_RECOVERY.get(action, f'help ({action})')}"
    return ""


def _asked(nvml: Any, question: Callable[[], Any]) -> Any:
    """An answer; None where this GPU or this driver does not know, which is no trouble. A lost GPU is an error."""
    try:
        return question()
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_GPU_IS_LOST, nvml.NVML_ERROR_RESET_REQUIRED):
            raise
        return None


def _recovery_action(nvml: Any, handle: Any) -> int:
    value = nvml.nvmlDeviceGetFieldValues(handle, [_RECOVERY_FIELD])[0]
    return 0 if value.nvmlReturn else int(value.value.uiVal)


def _cgroup(pid: int) -> str | None:
    """The control group of a process: the id of its container is in it. None where it has gone meanwhile."""
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    import pynvml

    sys.stdout.write(json.dumps({"gpus": view(pynvml)}) + "\n")
