"""GPUs as NVML sees them, judged: which may be offered to jobs, which are broken, which somebody else uses."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eyewall.jobs.nvml_view import view
from eyewall.jobs.runner import Found

#: Compute capability → architecture (CUDA C++ Programming Guide, "Compute Capabilities"); for names that say nothing.
_ARCHITECTURE = {
    (3,): "kepler", (5,): "maxwell", (6,): "pascal", (7, 5): "turing", (7,): "volta", (8, 9): "ada", (8,): "ampere",
    (9,): "hopper", (10,): "blackwell", (12,): "blackwell",
}  # fmt: skip
#: "NVIDIA A100-SXM4-40GB", "Tesla T4", "NVIDIA GeForce RTX 3090 Ti"; an amount of memory is no model.
_MODEL = re.compile(
    r"\b(?:(RTX|GTX)\s+)?([A-Z]{0,3})(\d{1,4}[A-Z]{0,2})(?<!GB)\b(?:\s+(Ti|SUPER)\b)?", re.IGNORECASE | re.ASCII
)
#: Says in the environment of a process that it is a job of a platform like this.
_MARK = b"\0EYEWALL_ATTEMPT="

Ours = Callable[[Mapping[str, Any]], bool]


def read_gpus(nvml: Any, ours: Ours | None = None) -> list[Found]:
    """GPUs of this machine, by number; none where there is no driver. ``nvml``: the module pynvml, or one like it.

    ``ours`` says of a process (pid, cgroup) whether it is a job's; default: by its environment, on this machine.
    """
    return judge(view(nvml) or [], ours or _is_a_job)


def judge(gpus: Sequence[Mapping[str, Any]], ours: Ours) -> list[Found]:
    """From `nvml_view.view`'s values to what the table gpu takes. A process that has ended meanwhile is nobody's."""
    return [_judged(gpu, ours) for gpu in gpus]


def _judged(gpu: Mapping[str, Any], ours: Ours) -> Found:
    foreign = [each["pid"] for each in gpu["processes"] if each["cgroup"] is not None and not ours(each)]
    found = Found(
        number=int(gpu["number"]),
        uuid=str(gpu["uuid"]),
        model=str(gpu["name"]),
        generation=generation_of(str(gpu["name"]), (int(gpu["capability"][0]), int(gpu["capability"][1]))),
        memory_mb=int(gpu["memory_mb"]),
        state="ok",
        reason="",
        declared=False,
    )
    if gpu["trouble"]:
        return found._replace(state="failed", reason=str(gpu["trouble"])[:500])
    if foreign:
        who = ", ".join(map(str, foreign[:5])) + (" and more" if len(foreign) > 5 else "")
        return found._replace(state="foreign", reason=f"used by process {who}, which is no job of this platform")
    return found


def generation_of(name: str, capability: tuple[int, int]) -> str:
    """What jobs ask for: ``h100``, ``a100``, ``rtx3090ti``; for a name without a number ``volta`` and the like.

    >>> generation_of("NVIDIA H100 80GB HBM3", (9, 0))
    'h100'
    >>> generation_of("NVIDIA TITAN V", (7, 0))
    'volta'
    """
    match = _MODEL.search(name)
    if match is None:
        return _ARCHITECTURE.get(capability) or _ARCHITECTURE.get(capability[:1], "any")
    series, letters, number, suffix = (part or "" for part in match.groups())
    ada = "-ada" if re.search(r"\bAda\b", name) else ""  # the RTX 6000 is of two generations
    return f"{'' if letters else series}{letters}{number}{suffix}{ada}".lower()


def _is_a_job(process: Mapping[str, Any]) -> bool:
    try:
        return _MARK in b"\0" + Path(f"/proc/{process['pid']}/environ").read_bytes()
    except OSError:  # another user's, or gone
        return False
