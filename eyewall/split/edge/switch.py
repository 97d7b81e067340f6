"""Which way frames go now: what `eyewall.split.planner` says of the link as it is measured, among the ways at hand.

A change is made between two packets and needs no restart. It must promise a tenth of the time and be proposed twice in
a row, so that an estimate that trembles around a break-even does not make the plan tremble with it.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from eyewall.contracts.errors import ContractError, InputError
from eyewall.contracts.split import Option, Plan, Profile
from eyewall.split.edge.ways import Way
from eyewall.split.planner import frame_s, plan

_log = logging.getLogger("eyewall.edge")
_WORTH = 0.9
_IN_A_ROW = 2


def read_profile(path: Path) -> Profile:
    """The profile that `eyewall split study` measured. Raises InputError, ContractError."""
    try:
        return Profile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"profile {str(path)!r} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ContractError(f"{str(path)!r} is no profile: {where}: {first['msg']}") from None


class Switch:
    """The way at hand that frames take; `way` and `consider` may be called from different threads."""

    def __init__(
        self,
        ways: Sequence[Way],
        profile: Profile | None = None,
        max_loss: float = float("inf"),
        *,
        probe_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the first of ``ways``; without a profile it stays.

        ``probe_s``: how often one packet is sent anyway while frames are answered here, to see what the link gives.
        Raises ContractError when the profile knows none of the ways, or when none is as good as ``max_loss``.
        """
        self._ways = {way.name: way for way in ways}
        self._lock = threading.Lock()
        self._max_loss, self._probe_s, self._clock = max_loss, probe_s, clock
        self._options: dict[str, Option] = {}
        self._profile: Profile | None = None
        self._current, self._proposed, self._times = ways[0], "", 0
        self._probed_at_s = clock()
        self.plan: Plan | None = None  #: the last one
        if profile is not None:
            self._match(profile)

    def _match(self, profile: Profile) -> None:
        for way in self._ways.values():
            rows = [option for option in profile.options if way.fits(option)]
            if rows:
                self._options[way.name] = rows[0]
            else:
                _log.warning("the profile has no row for %s: it is never planned", way.name)
        if not self._options:
            rows_text = ", ".join(option.name for option in profile.options[:8])
            raise ContractError(
                f"the profile of {profile.model!r} has rows for {rows_text} and none for {', '.join(self._ways)}:"
                " give the heads that were measured"
            )
        self._profile = profile.model_copy(update={"options": tuple(self._options.values())})
        good = [name for name, option in self._options.items() if option.loss <= self._max_loss]
        if not good:
            plan(self._profile, 1e6, 0.0, self._max_loss)  # says what the best one loses
        if self._current.name not in good:
            self._current = self._ways[good[0]]

    @property
    def name(self) -> str:
        """Of the way that frames go now."""
        return self._current.name

    @property
    def names(self) -> list[str]:
        """Of all ways at hand."""
        return list(self._ways)

    def tail_s(self, way: str) -> float:
        """The server's work on a frame, as the profile has it; 0 where nothing is known."""
        option = self._options.get(way)
        return option.tail_s if option is not None else 0.0

    def way(self) -> Way:
        """The way for the next packet; now and then another one, while nothing is sent, to measure the link."""
        with self._lock:
            others = [way for way in self._ways.values() if way.name != "client"]
            now = self._clock()
            if self._current.name != "client" or not others or self._profile is None:
                self._probed_at_s = now
                return self._current
            if now - self._probed_at_s < self._probe_s:
                return self._current
            self._probed_at_s = now
            return min(others, key=lambda way: o.bytes_up if (o := self._options.get(way.name)) else 2**62)

    def consider(self, bandwidth_bps: float | None, rtt_s: float) -> bool:
        """Plan for the link as it is; whether the way changed."""
        if self._profile is None or bandwidth_bps is None:
            return False
        proposed = plan(self._profile, bandwidth_bps, rtt_s, self._max_loss)
        name = next(name for name, option in self._options.items() if option == proposed.option)
        with self._lock:
            self.plan = proposed
            here = self._options.get(self._current.name)
            worth = here is None or proposed.expected_s < _WORTH * frame_s(here, bandwidth_bps, rtt_s)
            self._times = self._times + 1 if name == self._proposed else 1
            self._proposed = name
            if name == self._current.name or not worth or self._times < _IN_A_ROW:
                return False
            before, self._current = self._current.name, self._ways[name]
        _log.info(
            "plan: %s instead of %s, as the link gives %.3g Mbit/s at %.3g ms",
            name,
            before,
            bandwidth_bps / 1e6,
            rtt_s * 1e3,
        )
        return True
