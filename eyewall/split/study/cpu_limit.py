"""A processor as slow as a small device's, for one process: the kernel's bandwidth control by a control group.

A share of 0.25 lets the process run for a quarter of each period of 10 ms. The period is short, so that a head of a
few milliseconds is slowed evenly instead of running at full speed until a long period's quota is used up.
Source: kernel documentation, scheduler/sched-bwc (version 1) and cgroup-v2, cpu.max (version 2).
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Self

_PERIOD_US = 10_000
_LEAST_QUOTA_US = 1_000  # the kernel takes no less
_ROOT = Path("/sys/fs/cgroup")


class CpuLimit:
    """The share of one core for processes that are added; their group is gone after the with block.

    Where this process may make no group, nothing is limited and `why_not` says why.
    """

    def __init__(self, share: float | None, root: Path = _ROOT) -> None:
        """``share`` of one core, None for no limit; ``root``: where the control groups are mounted."""
        self.share, self._root = share, root
        self.why_not: str | None = None
        self._group: Path | None = None

    def __enter__(self) -> Self:
        if self.share is not None:
            try:
                self._group = self._make(self.share)
            except OSError as error:
                self.why_not = error.strerror or str(error)
        return self

    def __exit__(self, *_: object) -> None:
        if self._group is not None:
            with contextlib.suppress(OSError):  # a process of it may still be ending
                self._group.rmdir()
            self._group = None

    @property
    def works(self) -> bool:
        """Whether processes that are added are slowed."""
        return self._group is not None

    def _make(self, share: float) -> Path:
        version_1 = self._root / "cpu"
        quota_us = max(_LEAST_QUOTA_US, round(share * _PERIOD_US))
        parent = version_1 if version_1.is_dir() else self._root
        group = parent / f"eyewall-{secrets.token_hex(4)}"
        group.mkdir()
        try:
            if parent == version_1:
                (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                if not (group / "cpu.max").exists():
                    raise OSError(0, "the control groups here have no cpu controller")
                (group / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
        except OSError:
            group.rmdir()
            raise
        return group

    def add(self, pid: int) -> None:
        """Slow that process, with all its threads, from now on."""
        if self._group is not None:
            (self._group / "cgroup.procs").write_text(str(pid))

    def describe(self) -> str:
        """What was done, in the report's words."""
        if self.share is None:
            return "client not limited"
        if self._group is None and self.why_not:
            return f"client not limited, as no control group could be made ({self.why_not})"
        return f"client limited to {self.share:g} of one of {os.cpu_count()} cores by a control group"
