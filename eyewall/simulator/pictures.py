"""The satellite files of a season: which there are, where the Target Area points, and the writing of them all."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from eyewall.contracts.errors import InputError
from eyewall.contracts.jobs import SimulateJob
from eyewall.progress import progress
from eyewall.simulator import damage, hsd, image
from eyewall.simulator.disk import Sector, lat_lon, target_sector
from eyewall.simulator.season import Imaging, view_at

#: The Target Area is placed by an earlier forecast: its centre misses the storm's by this much (standard deviation).
_AIM_ERROR_DEG = 0.45
_MIN_CADENCE_WITH_DAMAGE = 30
_PROCESSES = 2
_SMALL = 12  # files below which a second process is not worth its start


@dataclasses.dataclass(frozen=True)
class Picture:
    """One file to write: what is seen, where the Target Area points, and what spoils it."""

    view: image.View
    sector: Sector
    slot: datetime
    damage: str | None = None

    def write(self, folder: Path) -> str:
        """Write the file below ``folder``; returns its path relative to it."""
        lat, lon = lat_lon(self.sector)
        bt_k = image.brightness_temperature_k(lat, lon, self.view)
        day = folder / f"{self.slot:%Y%m%d}"
        day.mkdir(exist_ok=True)
        if self.damage is None:
            path = hsd.write_hsd(day, bt_k, self.sector, self.slot, outside_scan=~np.isfinite(lat))
        else:
            proper = hsd.file_name(self.sector, self.slot) + ".bz2"
            content, name = damage.KINDS[self.damage](hsd.encode(bt_k, self.sector, self.slot), proper)
            path = day / name
            path.write_bytes(content)
        return path.relative_to(folder).as_posix()


def _write(picture: Picture, folder: Path) -> str:
    return picture.write(folder)


def _picture(imaging: Imaging, slot: datetime, seed: int, kind: str | None = None) -> Picture:
    storm = imaging.storm
    view = view_at(storm, slot, seed)
    rng = np.random.default_rng([seed, storm.season, storm.number, int(slot.timestamp())])
    aim = rng.normal(0, _AIM_ERROR_DEG, size=2)
    return Picture(view, target_sector(view.lat_deg + aim[0], view.lon_deg + aim[1]), slot, kind)


def plan(job: SimulateJob, imaged: Sequence[Imaging]) -> list[Picture]:
    """Good files of all slots, and damaged ones of slots halfway between, spread over the seasons."""
    regular = [(imaging, slot) for imaging in imaged for slot in imaging.slots]
    pictures = [_picture(imaging, slot, job.seed) for imaging, slot in regular]
    if not regular or not job.bad_files:
        return pictures
    if job.cadence_minutes < _MIN_CADENCE_WITH_DAMAGE:
        raise InputError(
            f"cadence_minutes = {job.cadence_minutes} leaves no time between slots for damaged files: "
            f"take {_MIN_CADENCE_WITH_DAMAGE} or more, or --bad-files=0"
        )
    between = [(imaging, slot) for imaging in imaged for slot in imaging.slots[:-1]]
    if len(between) < job.bad_files:
        raise InputError(
            f"bad_files = {job.bad_files} is more than the {len(between)} gaps between slots: ask for fewer"
        )
    half = timedelta(minutes=job.cadence_minutes // 20 * 10)
    places = (
        np.linspace(0, len(between), job.bad_files, endpoint=False).astype(int) + len(between) // job.bad_files // 2
    )
    for kind, place in zip(damage.KINDS, places, strict=False):
        imaging, slot = between[place]
        pictures.append(_picture(imaging, slot + half, job.seed, kind))
    return pictures


def write_all(pictures: Sequence[Picture], folder: Path) -> list[str]:
    """Write every picture, in two processes when there are many; returns their paths in the order of ``pictures``."""
    folder.mkdir()
    with progress("simulate", total=len(pictures), unit="satellite files") as advance:
        if len(pictures) < _SMALL or (os.cpu_count() or 1) < _PROCESSES:
            names = []
            for picture in pictures:
                names.append(picture.write(folder))
                advance()
            return names
        with ProcessPoolExecutor(_PROCESSES) as pool:
            futures = [pool.submit(_write, picture, folder) for picture in pictures]
            for future in as_completed(futures):
                future.result()
                advance()
        return [future.result() for future in futures]
