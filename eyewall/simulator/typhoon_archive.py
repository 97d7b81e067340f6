"""A stand-in for the Digital Typhoon data set: its folders, names, columns and types, with painted storms inside.

    image/197801/1978060100-197801-GMS1-1.h5    512 × 512 float64, kelvin, data set "Infrared", gzip
    metadata/197801.csv                         a line for each hour: position, intensity, file_1, mask_1, mask_1_pct
    metadata.json                               storms: season, number, first and last day, number of pictures

Hour by hour, as the data set has it since 1978: storms live a week, so that a picture more is a fix more. Every sixth
hour is an analysis, the others are marked as interpolated. A storm is a cold shield with spiral bands and, when strong,
an eye, over a warm sea with scattered cloud; texture comes from a few fields that are shifted at random. Temperatures
have steps of 0.5 K, as the older satellites' had, so that a picture packs to about 130 kB (real ones: 200 to 450 kB at
gzip 9). For sizes, speeds and faults: nothing can be learnt from it about typhoons.

Equal arguments give equal bytes.
"""

import csv
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import destination

PX: Final = 512
_KM_PER_PX: Final = 2600 / PX
_STEP_K: Final = 0.5
_TEXTURES: Final = 12
_COLUMNS: Final = (
    "year", "month", "day", "hour", "grade", "lat", "lng", "pressure", "wind", "dir50", "long50", "short50", "dir30",
    "long30", "short30", "landfall", "intp", "file_1", "mask_1", "mask_1_pct",
)  # fmt: skip

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Storm:
    """One storm: its id (``197801``), first hour, and by hour position (degrees), wind (kt) and pressure (hPa)."""

    id: str
    begin: datetime
    lat_deg: Floats
    lon_deg: Floats
    wind_kt: Floats
    pressure_hpa: Floats

    def hours(self) -> Iterator[tuple[int, datetime]]:
        """Number and time (UTC) of every hour."""
        for number in range(len(self.lat_deg)):
            yield number, self.begin + timedelta(hours=number)

    def file_name(self, time: datetime) -> str:
        """The picture of an hour, by the satellite that would have taken it."""
        satellite = "GMS1" if time.year < 1995 else "MTS1" if time.year < 2015 else "HMW8"
        return f"{time:%Y%m%d%H}-{self.id}-{satellite}-1.h5"


def make_storms(
    frames: int, *, seed: int = 0, first_season: int = 1978, storms_per_season: int = 10, hours: int = 168
) -> list[Storm]:
    """Storms whose hours are ``frames`` in all; the last one may be shorter than ``hours``."""
    storms: list[Storm] = []
    left = frames
    while left > 0:
        season, number = first_season + len(storms) // storms_per_season, len(storms) % storms_per_season
        storms.append(_storm(seed, season, number, storms_per_season, min(hours, left)))
        left -= hours
    return storms


def _storm(seed: int, season: int, number: int, storms_per_season: int, hours: int) -> Storm:
    rng = np.random.default_rng([seed, season, number])
    hour = np.arange(hours, dtype=np.float64)
    first = int((120 + 180 * number / storms_per_season) * 24)
    begin = datetime(season, 1, 1, tzinfo=UTC) + timedelta(hours=first - first % 6)
    bearing = np.radians(rng.uniform(275, 320)) + rng.uniform(0, 1) * hour / 120
    speed_kmh = rng.uniform(12, 22)
    east = np.concatenate([[0.0], np.cumsum(speed_kmh * np.sin(bearing))[:-1]])
    north = np.concatenate([[0.0], np.cumsum(speed_kmh * np.cos(bearing))[:-1]])
    lat_deg, lon_deg = destination(rng.uniform(8, 16), rng.uniform(132, 160), east, north)
    wind_kt = 30 + rng.uniform(25, 75) * np.sin(np.pi * np.clip((hour + 12) / (hours + 24), 0, 1))
    return Storm(f"{season}{number + 1:02d}", begin, lat_deg, lon_deg, wind_kt, 1010 - 0.9 * (wind_kt - 20))


# --- pictures


@lru_cache(maxsize=1)
def _textures(seed: int) -> npt.NDArray[np.float32]:
    """Smooth noise [texture, y, x] of mean 0 and deviation 1, from a red spectrum; it has no seams."""
    rng = np.random.default_rng([seed, 7])
    wave = np.hypot(*np.meshgrid(np.fft.rfftfreq(PX) * PX, np.fft.fftfreq(PX) * PX))
    fields = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(_TEXTURES, PX, PX))) / (4 + wave) ** 2.2, s=(PX, PX))
    fields /= fields.std(axis=(1, 2), keepdims=True)
    return fields.astype(np.float32)


@lru_cache(maxsize=1)
def _polar() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Distance (km) and angle (radians) from the middle of the picture, each [y, x]."""
    axis = (np.arange(PX, dtype=np.float32) - (PX - 1) / 2) * np.float32(_KM_PER_PX)
    east, north = np.meshgrid(axis, -axis)
    return np.hypot(east, north), np.arctan2(north, east)


def picture(storm: Storm, number: int, seed: int = 0) -> Floats:
    """Brightness temperature [512, 512] in K about the storm in its hour ``number``, in steps of 0.5 K."""
    rng = np.random.default_rng([seed, int(storm.id), number])
    fields, (radius, angle) = _textures(seed), _polar()
    shift = tuple(int(n) for n in rng.integers(0, PX, 2))
    texture = np.roll(fields[rng.integers(0, len(fields))], shift, axis=(0, 1))
    strength = np.float32(np.clip((storm.wind_kt[number] - 20) / 80, 0, 1))
    band = np.cos(2 * (angle + np.log(radius + 20) * 2.4) - np.float32(number / 8))
    shield = np.exp(-(((radius + 60 * texture) / (220 + 160 * strength)) ** 2))
    cold = 85 * strength * shield * (0.8 + 0.2 * band) + 14 * np.clip(texture - 0.6, 0, None)
    eye = 60 * np.float32(storm.wind_kt[number] > 64) * np.exp(-((radius / 25) ** 2))
    kelvin = np.clip(294 - cold + eye * (cold > 40), 185, 300)
    return np.asarray(np.rint(kelvin / _STEP_K) * _STEP_K, dtype=np.float64)


# --- files


def write_archive(
    folder: Path,
    frames: int,
    *,
    seed: int = 0,
    first_season: int = 1978,
    storms_per_season: int = 10,
    hours: int = 168,
    every_h: int = 1,
    gzip: int = 4,
    processes: int = 1,
) -> list[Storm]:
    """Write the data set into ``folder``: pictures of every ``every_h``-th hour, metadata of all hours.

    ``frames`` counts hours. ``gzip`` is the level, 1 to 9 (the archive itself has 9, which takes ten times as long to
    write and is read as fast). Several ``processes`` write several storms at once.
    """
    storms = make_storms(frames, seed=seed, first_season=first_season, storms_per_season=storms_per_season, hours=hours)
    work = [(folder, storm, seed, every_h, gzip) for storm in storms]
    if processes > 1:
        with ProcessPoolExecutor(processes) as pool:
            counts = list(pool.map(_write_storm, work))
    else:
        counts = [_write_storm(each) for each in work]
    about = {storm.id: _about(storm, count) for storm, count in zip(storms, counts, strict=True)}
    (folder / "metadata.json").write_text(json.dumps(about, sort_keys=True, indent=1) + "\n")
    return storms


def _about(storm: Storm, images: int) -> dict[str, Any]:
    last = storm.begin + timedelta(hours=len(storm.lat_deg) - 1)
    return {
        "id": storm.id,
        "year": int(storm.id[:4]),
        "number": int(storm.id[4:]),
        "name": "",
        "start": f"{storm.begin:%Y-%m-%d}",
        "end": f"{last:%Y-%m-%d}",
        "images": images,
    }


def _write_storm(work: tuple[Path, Storm, int, int, int]) -> int:
    folder, storm, seed, every_h, gzip = work
    for inner in (folder / "image" / storm.id, folder / "metadata"):
        inner.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / "metadata" / f"{storm.id}.csv").open("w", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for number, time in storm.hours():
            name = storm.file_name(time) if number % every_h == 0 else ""
            if name:
                write_picture(folder / "image" / storm.id / name, picture(storm, number, seed), gzip)
                count += 1
            rows.writerow(_row(storm, number, time, name))
    return count


def _row(storm: Storm, number: int, time: datetime, name: str) -> list[object]:
    wind_kt = round(float(storm.wind_kt[number]), 1)
    known = wind_kt if wind_kt >= 35 else 0
    return [
        time.year, time.month, time.day, time.hour, 3 if known else 2, round(float(storm.lat_deg[number]), 2),
        round(float(storm.lon_deg[number]), 2), round(float(storm.pressure_hpa[number]), 1), known, *[0] * 6, 0,
        int(time.hour % 6 != 0), name, 0 if name else "", 0.0 if name else "",
    ]  # fmt: skip


def write_picture(path: Path, kelvin: Floats, gzip: int = 4) -> None:
    """One file of the data set: ``kelvin`` [y, x] in quarters, each deflated by itself."""
    import h5py

    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "Infrared", data=kelvin, chunks=(PX // 2, PX // 2), compression="gzip", compression_opts=gzip
        )
        data.attrs["units"], data.attrs["long_name"] = np.bytes_("kelvin"), np.bytes_("temperature")
