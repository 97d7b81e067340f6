"""Any reader of satpy, by name: satpy reads and calibrates; what to read, and whether it is whole, is settled before.

satpy fails a whole Scene for one bad file and does not say which. So when it fails on files that passed their checks,
each is read by itself (with its prologue and epilogue), and those that fail alone are handed back as the culprits.

Dependence on satpy 0.60 beyond its documented API: ``pad_data=False`` of its segmented readers (missing segments are
put in as NaN by `geometry.join`, and only between those that are there), and the readers' YAML (`satpy_names`).
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.fields import Area
from eyewall.satellite import checks, hrit, hsd, segments
from eyewall.satellite.formats import (
    Choice,
    LocalFile,
    NameFacts,
    Picture,
    UnreadableFiles,
    WrongRequest,
    near,
    sentence,
)
from eyewall.satellite.geometry import join, north_up
from eyewall.satellite.satpy_names import Channel, check_installed, describe, facts_of

#: The window channel: between the instruments' 10.35 and 10.8 µm, nearer to each than to its dirty neighbour at 11–12.
WINDOW_UM: Final = 10.6
#: Channels below see reflected sunlight; they have no brightness temperature by day.
_THERMAL_UM: Final = 3.5
_SUFFIXES_OF_CONTAINERS: Final = {".nc", ".nc4", ".h5", ".hdf", ".hdf5", ".HDF"}


@lru_cache(maxsize=1)
def reader_names() -> tuple[str, ...]:
    """Names of the installed readers, from the names of their descriptions."""
    from satpy.readers.core.config import configs_for_reader

    return tuple(sorted(Path(files[0]).stem for files in configs_for_reader()))  # type: ignore[no-untyped-call]


class SatpyFormat:
    """One satpy reader; see `formats.Format`."""

    def __init__(self, reader: str) -> None:
        """``reader``: a known one, as `formats.format_for` sees to. Raises InputError when it lacks a package."""
        self.reader = reader
        check_installed(reader)
        self._description = describe(reader)

    # --- names -------------------------------------------------------------------------------------------------------

    def facts(self, name: str) -> NameFacts | None:
        """What the file name says."""
        return facts_of(self.reader, name)

    def resembles(self, name: str, kinds: frozenset[str]) -> bool:
        """Whether the name has the marks and the extension of a pattern, though it does not follow it."""
        channels = self._description.channels.values()
        kinds = kinds or frozenset().union(*(channel.kinds for channel in channels if channel.in_kelvin))
        return any(self._description.kinds[kind].resembles(name) for kind in kinds & self._description.kinds.keys())

    def expected_names(self) -> str:
        """A pattern or two of the reader's window channel."""
        channels = [c for c in self._description.channels.values() if c.wavelength_um is not None and c.in_kelvin]
        best = min(channels, key=_from_window, default=None)
        kinds = [self._description.kinds[k] for k in sorted(best.kinds) if k in self._description.kinds] if best else []
        kinds.sort(key=lambda kind: -(kind.segments or 0))  # the usual delivery first
        patterns = [pattern for kind in kinds or self._description.kinds.values() for _, pattern in kind.patterns]
        return f"satpy's reader {self.reader} expects names like {' or '.join(patterns[:2])}"

    def may_hold(self, folder: str, start: datetime, end: datetime) -> bool:
        """Any folder may."""
        return True

    def choose(self, present: Sequence[NameFacts], dataset: str | None) -> Choice:
        """``dataset``, or the thermal channel among the files that is nearest to the window."""
        channels = self._description.channels
        kinds = {facts.kind for facts in present}
        if dataset is None:
            thermal = [c for c in channels.values() if c.in_kelvin and (c.wavelength_um or 0) > _THERMAL_UM]
            # A channel without kinds may be in any file of its reader.
            here = [c for c in thermal if c.kinds & kinds or not c.kinds]
            if not here:
                raise InputError(
                    f"no thermal channel among the files of reader {self.reader}: they hold "
                    f"{', '.join(sorted(kinds))}; give files of a channel in kelvin, or --dataset"
                )
            return self._choice(min(here, key=_from_window), kinds)
        if dataset not in channels:
            if channels:
                raise InputError(f"reader {self.reader} has no dataset {dataset!r}: {near(dataset, channels)}")
            return Choice(dataset, frozenset(kinds))
        channel = channels[dataset]
        if not channel.in_kelvin:
            raise InputError(f"dataset {dataset!r} of reader {self.reader} is not in kelvin: take a thermal channel")
        if channel.kinds and not channel.kinds & kinds:
            raise InputError(
                f"no file holds dataset {dataset!r}: the files hold {', '.join(sorted(kinds)) or 'nothing'}"
            )
        return self._choice(channel, kinds)

    def _choice(self, channel: Channel, present: set[str]) -> Choice:
        kinds = (channel.kinds or frozenset(self._description.kinds)) & present
        known = [self._description.kinds[kind] for kind in kinds if kind in self._description.kinds]
        return Choice(channel.name, kinds, frozenset().union(*(kind.requires for kind in known)))

    # --- segments and checks -----------------------------------------------------------------------------------------

    def segments(self, area: Area, count: int, heads: Callable[[], Iterable[bytes]]) -> frozenset[int] | None:
        """Segments of a full disk that show the area; None where the format's geometry is not known beforehand."""
        disk = segments.FULL_DISKS.get(self.reader)
        if disk is None or count <= 1:
            return None
        if self.reader == "seviri_l1b_hrit":
            found = (hrit.sub_longitude_deg(start) for start in heads())
            longitude = next((value for value in found if value is not None), None)
            if longitude is None or count != 8:  # the 24 segments of HRV lie in two moving windows
                return None
            disk = segments.FullDisk(longitude, disk.height_m, disk.first)
        return segments.needed(disk, count, area)

    def check(self, plain: Path, facts: NameFacts) -> None:
        """Header blocks of HSD and HRIT, signatures of netCDF and HDF5; satpy alone judges other formats."""
        if self.reader == "ahi_hsd":
            hsd.check(plain, facts)
        elif self.reader.endswith("_hrit"):
            hrit.check(plain, facts)
        elif plain.suffix in _SUFFIXES_OF_CONTAINERS:
            checks.check_container(plain)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, files: Sequence[LocalFile], choice: Choice, cut: bool) -> Picture:
        """Files → picture in kelvin, north up, lazily. See `formats.Format.read`."""
        return _picture(self._load([file.plain for file in files], choice, cut))

    def _load(self, paths: Sequence[Path], choice: Choice, cut: bool) -> Any:
        import satpy

        # Space is outside of the grid that is looked at, so finding it in the whole disk is a waste then.
        kwargs = {"mask_space": not cut} if self.reader == "ahi_hsd" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene: Any = satpy.Scene(  # type: ignore[attr-defined,no-untyped-call]
                filenames=[str(path) for path in paths], reader=self.reader, reader_kwargs=kwargs
            )
            if choice.dataset not in scene.available_dataset_names():
                raise ValueError(f"satpy finds no dataset {choice.dataset} in the files")
            scene.load([choice.dataset], pad_data=False)  # in kelvin, where the reader has a choice
            if choice.dataset not in scene:
                raise ValueError(f"satpy could not load dataset {choice.dataset}")
        data = scene[choice.dataset]
        if data.attrs.get("units") != "K":
            raise InputError(f"dataset {choice.dataset!r} comes in {data.attrs.get('units')!r}: take one in kelvin")
        return data

    def blame(self, files: Sequence[LocalFile], choice: Choice, error: Exception) -> EyewallError:
        """Each file is read by itself, with its companions; those that fail alone are the culprits."""
        if isinstance(error, ImportError):
            return WrongRequest(f"satpy's reader {self.reader} cannot work here: {error}; install what it names")
        companions = [file for file in files if file.facts.kind in choice.companions]
        images = [file for file in files if file not in companions]
        reasons = {}
        for file in images:
            try:
                self._load([each.plain for each in (*companions, file)], choice, cut=True).compute()
            except MemoryError:
                raise
            except Exception as alone:  # satpy lets everything through: KeyError, ValueError, struct.error …
                reasons[file.name] = sentence(alone)
        # Where all of them fail together with a prologue, the prologue is as likely to be the bad one.
        if reasons and (len(reasons) < len(images) or not companions):
            return UnreadableFiles(reasons)
        return InputError(f"satpy's reader {self.reader} cannot read the slot: {sentence(error)}")


def _from_window(channel: Channel) -> float:
    return abs((channel.wavelength_um or 0.0) - WINDOW_UM)


def _picture(data: Any) -> Picture:
    attrs = data.attrs
    area = attrs["area"]
    values = data.data
    if hasattr(area, "defs"):  # strips with a gap between them
        values, area = join(values, area.defs)
    if hasattr(area, "area_extent"):
        values, area = north_up(values, area)
    start, end = _observation(data)
    position = attrs.get("orbital_parameters", {})
    extra = {
        f"satellite_{name}_deg": float(position[f"satellite_actual_{key}"])
        for name, key in (("lon", "longitude"), ("lat", "latitude"))
        if position.get(f"satellite_actual_{key}") is not None
    }
    return Picture(
        data=values,
        area=area,
        quantity="brightness_temperature_k",
        platform=str(attrs.get("platform_name", "unknown")),
        sensor=_sensor(attrs.get("sensor", "unknown")),
        observation_start=start,
        observation_end=end,
        extra=extra,
    )


def _sensor(value: Any) -> str:
    return value if isinstance(value, str) else "-".join(sorted(map(str, value)))


def _observation(data: Any) -> tuple[datetime | None, datetime | None]:
    """Start and end of the scan: by line where the reader tells (JMA HRIT), else as its attributes have it."""
    if "acq_time" in data.coords:
        lines = data.coords["acq_time"].values
        return _utc(lines.min().astype("datetime64[us]").item()), _utc(lines.max().astype("datetime64[us]").item())
    times = data.attrs.get("time_parameters", {})
    start = times.get("observation_start_time", data.attrs.get("start_time"))
    end = times.get("observation_end_time", data.attrs.get("end_time"))
    return _utc(start), _utc(end)


def _utc(time: Any) -> datetime | None:
    if not isinstance(time, datetime):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
