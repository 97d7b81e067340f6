"""Seasons of storms, and which of them the satellite's Target Area follows, and when.

Tracks are cheap: every season has them. Images are not: in an imaged season a few storms get them, one after the other
with about half a day between, because there is one Target Area; so the slots of a season lie on few, adjoining days.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from eyewall.besttrack.sphere import interpolate
from eyewall.contracts.errors import InputError
from eyewall.simulator.image import View
from eyewall.simulator.storm import FIX_H, Storm, simulate

#: Names by number within a season: the spelling alphabet, so that no agency's list is mistaken for ours.
NAMES = (
    "ALFA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL", "INDIA", "JULIETT", "KILO", "LIMA", "MIKE",
    "NOVEMBER", "OSCAR", "PAPA", "QUEBEC", "ROMEO", "SIERRA", "TANGO", "UNIFORM", "VICTOR", "WHISKEY", "XRAY", "YANKEE",
    "ZULU",
)  # fmt: skip
_GAP_H = 12  # between the last slot of one storm and the first of the next
_MAX_GAP_H = 36
_GENESIS_DAYS = 117  # July to late October


@dataclass(frozen=True)
class Imaging:
    """An imaged storm and the nominal times (UTC) of its slots."""

    storm: Storm
    slots: tuple[datetime, ...]


@dataclass(frozen=True)
class Season:
    """All storms of a season by number, and those with images in the order of their slots."""

    year: int
    storms: tuple[Storm, ...]
    imaged: tuple[Imaging, ...]


def view_at(storm: Storm, time: datetime, seed: int) -> View:
    """What the clouds of ``storm`` show at a time within its life."""
    hours = np.array([(t - storm.times[0]) / timedelta(hours=1) for t in storm.times])
    hour = (time - storm.times[0]) / timedelta(hours=1)
    i = int(np.clip(np.searchsorted(hours, hour, side="right") - 1, 0, len(hours) - 2))
    part = (hour - hours[i]) / (hours[i + 1] - hours[i])
    lats, lons = storm.true_lat_deg, storm.true_lon_deg
    lat, lon = interpolate(lats[i], lons[i], lats[i + 1], lons[i + 1], part)
    ends = np.exp(1j * storm.wave_phase_rad[i : i + 2])
    return View(
        lat_deg=float(lat),
        lon_deg=float(lon),
        wind_kt=float(np.interp(hour, hours, storm.wind_kt)),
        hour=hour,
        outlook_m_s=complex(np.interp(hour, hours, storm.outlook_m_s)),
        wave_phase_rad=float(np.angle(ends[0] * (1 - part) + ends[1] * part)),
        utc_hour=time.hour + time.minute / 60,
        seed=seed + 7919 * storm.season + storm.number,
    )


def slots_of(storm: Storm, cadence_minutes: int, imaged_hours: int) -> tuple[datetime, ...]:
    """Slot times of a storm: from its first fix as a tropical storm, on the cadence's grid from 00 UTC."""
    first, last = storm.strong()
    if last < first:
        return ()
    step = timedelta(minutes=cadence_minutes)
    midnight = storm.times[first].replace(hour=0, minute=0)
    start = midnight + step * -(-(storm.times[first] - midnight) // step)
    end = min(storm.times[last], start + timedelta(hours=imaged_hours))
    return tuple(start + step * k for k in range((end - start) // step + 1)) if end >= start else ()


def _id_taken(storm: Storm, storms: list[Storm]) -> bool:
    return any(storm.sid == other.sid for other in storms if other.number != storm.number)


def _plain_season(seed: int, year: int, count: int) -> list[Storm]:
    """Storms in the order of their genesis, numbered from 1, no two with one id."""
    rng = np.random.default_rng([seed, year])
    steps = np.sort(rng.integers(0, _GENESIS_DAYS * 24 // FIX_H, size=count))
    storms: list[Storm] = []
    for number, step in enumerate(steps, start=1):
        genesis = datetime(year, 7, 1, tzinfo=UTC) + timedelta(hours=FIX_H * int(step))
        for attempt in range(10):
            storm = simulate(seed, year, number, NAMES[(number - 1) % len(NAMES)], genesis, attempt)
            if not _id_taken(storm, storms):
                break
        storms.append(storm)
    return storms


def _begun_after(
    storm: Storm, after: datetime, seed: int, cadence_minutes: int, imaged_hours: int
) -> tuple[Storm, tuple[datetime, ...]] | None:
    """The same storm with its genesis moved so that its slots begin soon after ``after``; None when it will not fit.

    The date shifts sea and ridge a little, and with them the hours until the first slot: hence a few tries.
    """
    wanted = after + timedelta(hours=_GAP_H)
    for _ in range(6):
        slots = slots_of(storm, cadence_minutes, imaged_hours)
        if not slots:
            return None
        late = slots[0] - after
        if timedelta(hours=FIX_H) <= late <= timedelta(hours=_MAX_GAP_H):
            return storm, slots
        fixes = round((slots[0] - wanted) / timedelta(hours=FIX_H))
        storm = simulate(seed, storm.season, storm.number, storm.name, storm.times[0] - fixes * timedelta(hours=FIX_H))
    return None


def make_season(
    seed: int, year: int, count: int, imaged_storms: int = 0, cadence_minutes: int = 360, imaged_hours: int = 102
) -> Season:
    """The season ``year`` of ``seed`` with ``count`` storms, ``imaged_storms`` of which get slots.

    The imaged ones are those that stay tropical storms longest. Raises InputError when the season does not hold as
    many that can be followed one after the other.
    """
    storms = _plain_season(seed, year, count)

    def length(storm: Storm) -> int:
        first, last = storm.strong()
        return last - first

    candidates = sorted(storms, key=lambda s: (-length(s), s.number))
    chosen: list[Imaging] = []
    for storm in sorted(candidates[:imaged_storms], key=lambda s: s.number) + candidates[imaged_storms:]:
        if len(chosen) == imaged_storms:
            break
        if not chosen:
            slots = slots_of(storm, cadence_minutes, imaged_hours)
            fitted = (storm, slots) if slots else None
        else:
            fitted = _begun_after(storm, chosen[-1].slots[-1], seed, cadence_minutes, imaged_hours)
        if fitted is None or fitted[1][-1].year != year or _id_taken(fitted[0], storms):
            continue
        moved = fitted[0]
        storms[moved.number - 1] = moved
        chosen.append(Imaging(*fitted))
    if len(chosen) < imaged_storms:
        raise InputError(
            f"season {year} has only {len(chosen)} storms that can be imaged one after the other, {imaged_storms} are "
            "wanted: ask for fewer --imaged-storms, or more --storms-per-season"
        )
    return Season(year, tuple(storms), tuple(chosen))


def make_seasons(
    seed: int,
    years: Iterable[int],
    count: int,
    imaged_years: Iterable[int] = (),
    imaged_storms: int = 0,
    cadence_minutes: int = 360,
    imaged_hours: int = 102,
) -> list[Season]:
    """`make_season` for each of ``years``, with images in those of ``imaged_years``."""
    imaged = set(imaged_years)
    return [
        make_season(seed, year, count, imaged_storms if year in imaged else 0, cadence_minutes, imaged_hours)
        for year in years
    ]
