"""Frames of the Digital Typhoon archive: storm-centred infrared pictures in kelvin, one HDF5 file each.

    image/200717/2007100300-200717-MTS1-1.h5     hour (UTC), storm (JMA number), satellite, channel 1 = infrared
    metadata/200717.csv                          the data set's own positions and pixel masks, beside the image folder
    jma/200717.tsv                               hourly positions of the storm, where there is no such CSV

The data set of the picture is called ``infrared`` in the archive, ``Infrared`` in the data set's first two versions and
``Data`` in its third (their loaders, kitamoto-lab/pyphoon2 and pyphoon3, name them). The CSV has a line for each hour:
year, month, day, hour, grade, lat, lng, …, intp, file_1, mask_1 and mask_1_pct, of which the last two are number and
percentage of the corrupted pixels of the hour's picture. Which ones they are it does not say.

Source: A. Kitamoto, "Creation of the Typhoon Image Collection" (National Institute of Informatics): Lambert azimuthal
equal-area about the best-track centre, 2600 km wide and high; with 512 × 512 pixels (Kitamoto et al. 2023, "Digital
Typhoon: Long-term Satellite Image Dataset …") that is 5.08 km a pixel, which the papers round to 5 km. Laid over
pictures of the same scans with a burnt-in graticule, Podul's frames fit best at 5.08 ± 0.03 km a pixel; a test repeats
it. Brightness temperature in kelvin; north up.

Nominal and observation time. The hour in the name is the hour of the best track for which the picture was made; the
scan was the nearest one of its satellite. The archive keeps no scan times: frames say the nominal hour for both.

Actual and nominal position. The centre of the picture is the best track's, to the hour; where the satellite was is not
told, and after the projection it no longer matters.

The corrupt ones. A few old frames hold a banner or the noise of a lost transmission as if it were temperature. A few
wild pixels are speckle: they become missing. More than `MAX_WILD_FRACTION` of them is no picture of a cloud. What the
CSV calls corrupted need not look wild: beyond `MAX_MASKED_FRACTION` the hour is refused, its file is not called bad.

A storm's pictures lie in a folder of its number, so that of a long archive only the folders of the seasons about the
wanted interval are listed.
"""

import csv
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import CorruptFile, EyewallError, InputError
from eyewall.contracts.fields import Area
from eyewall.satellite.checks import check_container
from eyewall.satellite.formats import (
    Choice,
    LocalFile,
    NameFacts,
    Picture,
    UnreadableFiles,
    WrongRequest,
    sentence,
)
from eyewall.satellite.geometry import grid

_NAME: Final = re.compile(r"(?P<hour>\d{10})-(?P<storm>\d{6})-(?P<satellite>[A-Z0-9]{3,6})-(?P<channel>\d)\.h5")
_SPOILT_NAME: Final = re.compile(r"(?:\D*\d){8,}.*\.(?:h5|hdf5?)", re.IGNORECASE)
DATASET: Final = "infrared"
#: What the picture is called in the files, in lower case.
_NAMES_INSIDE: Final = (DATASET, "data")
PX: Final = 512
HALF_WIDTH_M: Final = 1_300_000.0
#: The coldest cloud tops ever seen from space had 162 K (Proud and Bachmeier, 2021); the hottest ground has 345 K.
COLDEST_K, HOTTEST_K = 140.0, 350.0
#: A lost scan line of 512 is 0.2 %: less than half of one is speckle.
MAX_WILD_FRACTION: Final = 0.001
#: Five lost lines of 512; they may lie anywhere, and look like cloud.
MAX_MASKED_FRACTION: Final = 0.01
_STORM_FOLDER: Final = re.compile(r"((?:19|20)\d{2})\d{2}")
_PLATFORMS: Final = {"MTS": "MTSAT-", "HMW": "Himawari-", "GMS": "GMS-", "GOE": "GOES-"}

Floats = npt.NDArray[np.float64]


class DigitalTyphoon:
    """See `formats.Format`; a frame's ``part`` is the storm's JMA number."""

    reader = "digital_typhoon"

    def facts(self, name: str) -> NameFacts | None:
        """Hour, storm and satellite out of the name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            hour = datetime.strptime(match["hour"], "%Y%m%d%H").replace(tzinfo=UTC)
        except ValueError:
            return None
        # Two satellites saw some hours: the file with the lower name is kept, the other one is a duplicate.
        # An archive has some 200,000 names with few storms and satellites in them: each is kept in memory once.
        part, kind, platform = map(sys.intern, (match["storm"], f"channel-{match['channel']}", match["satellite"]))
        return NameFacts(hour, part=part, kind=kind, platform=platform)

    def resembles(self, name: str, kinds: frozenset[str]) -> bool:
        """Whether it is an HDF5 file with digits enough for a date in its name."""
        return bool(_SPOILT_NAME.fullmatch(name))

    def expected_names(self) -> str:
        """Half a sentence with an example."""
        return "Digital Typhoon frames have names like 2007100300-200717-MTS1-1.h5"

    def may_hold(self, folder: str, start: datetime, end: datetime) -> bool:
        """A storm's folder: its season is the year of the interval, or the one before or after (southern seasons)."""
        season = _STORM_FOLDER.fullmatch(folder)
        return season is None or start.year - 1 <= int(season[1]) <= end.year + 1

    def choose(self, present: Sequence[NameFacts], dataset: str | None) -> Choice:
        """The infrared channel, which is all that there is."""
        if dataset not in (None, DATASET):
            raise InputError(f"Digital Typhoon frames have no dataset {dataset!r}: they have {DATASET!r}")
        return Choice(DATASET, frozenset({"channel-1"}))

    def segments(self, area: Area, count: int, heads: Callable[[], Iterable[bytes]]) -> None:
        """A frame is one file."""

    def check(self, plain: Path, facts: NameFacts) -> None:
        """Opens as HDF5, has the data set in kelvin and of one shape, and plausible temperatures."""
        check_container(plain)
        values = _values(plain)
        wild = float(np.mean(_wild(values)))
        if wild > MAX_WILD_FRACTION:
            raise CorruptFile(
                f"{100 * wild:.1f} % of the pixels lie outside {COLDEST_K:g}–{HOTTEST_K:g} K "
                f"({values.min():.1f} to {values.max():.1f} K): no cloud or ground has such temperatures"
            )

    def read(self, files: Sequence[LocalFile], choice: Choice, cut: bool) -> Picture:
        """One file → picture about the storm's centre at that hour.

        Raises InputError when its track is not there, or calls too much of the picture corrupted.
        """
        (file,) = files
        hour = _hour(file.origin, file.facts)
        if hour.masked_fraction > MAX_MASKED_FRACTION:
            raise InputError(
                f"the data set's own metadata call {100 * hour.masked_fraction:.1f} % of {file.name} corrupted: "
                f"at most {100 * MAX_MASKED_FRACTION:g} % are taken"
            )
        values = _values(file.plain)
        wild = _wild(values)
        code = file.facts.platform
        platform = _PLATFORMS.get(code[:3], code[:3]) + code[3:]
        return Picture(
            data=np.where(wild, np.nan, values).astype(np.float32),
            area=_area(hour.lat_deg, hour.lon_deg),
            quantity="brightness_temperature_k",
            platform="MTSAT-1R" if platform == "MTSAT-1" else platform,
            sensor="imager",
            extra={
                "pixels_implausible": int(wild.sum()),
                "centre_lat_deg": hour.lat_deg,
                "centre_lon_deg": hour.lon_deg,
                **({"masked_fraction": hour.masked_fraction} if hour.masked_fraction else {}),
            },
        )

    def blame(self, files: Sequence[LocalFile], choice: Choice, error: Exception) -> EyewallError:
        """There is one file."""
        return UnreadableFiles({file.name: sentence(error) for file in files})


def _wild(values: Floats) -> npt.NDArray[np.bool_]:
    """Where ``values`` [y, x] are no temperature of this Earth; NaN is one of them."""
    return ~((values >= COLDEST_K) & (values <= HOTTEST_K))


def _values(path: Path) -> Floats:
    """The data set, [y, x] in K. Raises CorruptFile when it is not there or not as published."""
    import h5py

    try:
        with h5py.File(path, "r") as content:
            name = next((name for name in content if name.lower() in _NAMES_INSIDE), None)
            if name is None:
                raise CorruptFile(f"the HDF5 file has no data set {DATASET!r}: it has {sorted(content)}")
            data = content[name]
            units = data.attrs.get("units", b"kelvin")
            units = units.decode() if isinstance(units, bytes) else str(units)
            if units.lower() not in ("kelvin", "k"):
                raise CorruptFile(f"data set {name!r} is in {units!r}: kelvin is expected")
            if data.shape != (PX, PX):
                raise CorruptFile(f"data set {name!r} has shape {data.shape}: ({PX}, {PX}) is expected")
            return np.asarray(data[()], dtype=np.float64)
    except (OSError, RuntimeError, AttributeError, TypeError, ValueError) as error:
        raise CorruptFile(f"data set {DATASET!r} cannot be read: {error}") from None


def _area(lat_deg: float, lon_deg: float) -> Any:
    projection = {"proj": "laea", "lat_0": lat_deg, "lon_0": (lon_deg + 180) % 360 - 180, "ellps": "WGS84"}
    extent = (-HALF_WIDTH_M, -HALF_WIDTH_M, HALF_WIDTH_M, HALF_WIDTH_M)
    return grid("digital_typhoon", projection, (PX, PX), extent)


class _Hour(NamedTuple):
    """What the track says of an hour; ``masked_fraction`` of its picture is corrupted, 0 where nothing is said."""

    lat_deg: float
    lon_deg: float
    masked_fraction: float = 0.0


def _hour(origin: Path, facts: NameFacts) -> _Hour:
    """The line of the storm's track at the frame's hour."""
    names = f"metadata/{facts.part}.csv", f"jma/{facts.part}.tsv"
    places = [folder / name for folder in origin.resolve().parents[:3] for name in names]
    track = next((place for place in places if place.is_file()), None)
    if track is None:
        raise WrongRequest(
            f"no track of storm {facts.part} for {origin.name}: put {names[0]} or {names[1]} beside image/"
        )
    try:
        hour = _track(track, track.stat().st_mtime_ns).get(facts.time)
    except OSError as error:  # not the picture's fault
        raise InputError(f"track {track.name} cannot be read: {error.strerror}; check its permissions") from None
    if hour is None:
        raise InputError(f"track {track.name} has no position at {facts.time:%Y-%m-%d %H} UTC for {origin.name}")
    return hour


@lru_cache(maxsize=64)
def _track(path: Path, changed_ns: int) -> dict[datetime, _Hour]:
    """What a storm's TSV or CSV says, by hour. Lines of which nothing is known are left out."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    found = {}
    for cells in _csv_cells(text) if path.suffix == ".csv" else _tsv_cells(text):
        try:
            year, month, day, hour = (int(float(cell)) for cell in cells[:4])
            lat_deg, lon_deg = float(cells[4]), float(cells[5])
            time = datetime(year, month, day, hour, tzinfo=UTC)
        except (ValueError, IndexError):
            continue  # a header line, or a row of which nothing is known
        if -90 <= lat_deg <= 90 and -180 <= lon_deg <= 360 and (lat_deg, lon_deg) != (-1.0, -1.0):
            found[time] = _Hour(lat_deg, lon_deg, _fraction(cells[6]))
    return found


def _tsv_cells(text: str) -> Iterator[list[str]]:
    """Year, month, day, hour, latitude, longitude and nothing about the picture, of each line."""
    for line in text.splitlines():
        cells = line.split("\t")
        yield [*cells[:4], *cells[5:7], ""]


def _csv_cells(text: str) -> Iterator[list[str]]:
    """Year, month, day, hour, latitude, longitude and percentage of corrupted pixels of each line, "" if not said."""
    for row in csv.DictReader(text.splitlines()):
        yield [str(row.get(name) or "") for name in ("year", "month", "day", "hour", "lat", "lng", "mask_1_pct")]


def _fraction(percent: str) -> float:
    """``"0.25"`` → 0.0025; 0 for anything that is no percentage."""
    try:
        value = float(percent) / 100
    except ValueError:
        return 0.0
    return value if 0 < value <= 1 else 0.0
