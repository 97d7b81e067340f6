"""File names of satpy's readers, and their data sets, from the readers' own YAML descriptions: nothing is opened.

Nominal time, sector and segment of the formats, each as its manual has it:
- AHI HSD (HS_H09_20200905_0000_B13_R301_R20_S0101.DAT): HHMM is the ten-minute slot. The full disk (FLDK) is scanned
  once in it; Japan (JP01–JP04) and the regions R1–R3 (R301–R304 is the Target Area) four times, every 150 s, and the
  landmark regions R4 and R5 twenty times, every 30 s: the number gives the nominal time within the slot. S0110 is
  segment 1 of 10. (Himawari-8/9 Himawari Standard Data User's Guide 1.3, section 4.)
- JMA HRIT (IMG_DK01B13_202009201110_010): the slot, and segment 10 of 10 from the north; DK01 is the full disk.
- SEVIRI HRIT: the repeat cycle, and the segment of 8 from the south. (EUMETSAT, MSG Level 1.5 Image Data Format.)
- FCI: chunks carry their own times; the repeat cycle of ten minutes in the day names the slot.
- Anything else: the start time in the name.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from string import Formatter
from typing import Any

from eyewall.contracts.errors import InputError
from eyewall.satellite.formats import NameFacts

#: AHI observation areas that are scanned several times in a slot: name without number → seconds between two scans.
_AHI_REPEAT_S = {"JP": 150, "R1": 150, "R2": 150, "R3": 150, "R4": 30, "R5": 30}
_FCI_CYCLE_MINUTES = 10
#: Fields for the time of a picture, the first one found counts; times of processing never do.
_MARKS_LENGTH = 6  # literal characters below which a pattern says too little about whose file it is
_TIME_FIELDS = ("start_time", "nominal_time", "observation_time", "time", "end_time")


@dataclass(frozen=True)
class Channel:
    """A data set: its central wavelength in µm (None: not a channel), its file kinds, whether it comes in kelvin."""

    name: str
    wavelength_um: float | None
    kinds: frozenset[str]
    in_kelvin: bool


@dataclass(frozen=True)
class Kind:
    """A file type: name patterns (globbed, and parsed by trollsift), segments of a whole image, what it requires."""

    name: str
    patterns: tuple[tuple[re.Pattern[str], str], ...]
    segments: int | None
    requires: frozenset[str]
    marks: frozenset[re.Pattern[str]]  #: what a name has that was meant to follow one of the patterns

    def resembles(self, name: str) -> bool:
        """Whether a name was meant to be one of these: it has the marks of a pattern, or fits it but for its time."""
        return any(mark.fullmatch(name) for mark in self.marks) or any(
            glob.fullmatch(name) for glob, _ in self.patterns
        )


@dataclass(frozen=True)
class Description:
    """A reader's YAML, as far as it is needed here."""

    kinds: Mapping[str, Kind]
    channels: Mapping[str, Channel]

    def facts(self, name: str) -> NameFacts | None:
        """What a file name says; None when no pattern of the reader matches."""
        for kind, info in self._matches(name):
            time = _time(info)
            if time is None:
                continue
            count = info.get("total_segments", kind.segments)
            segment = info.get("segment", info.get("count_in_repeat_cycle"))
            return NameFacts(
                time=time + _offset(info),
                part=_sector(info),
                kind=kind.name,
                platform=str(info.get("platform_shortname", "")),
                segment=int(segment) if segment is not None else None,
                segments=int(count) if count is not None and segment is not None else None,
            )
        return None

    def _matches(self, name: str) -> Iterator[tuple[Kind, dict[str, Any]]]:
        from trollsift import parse

        for kind in self.kinds.values():
            for glob, pattern in kind.patterns:
                if glob.fullmatch(name):
                    try:
                        yield kind, parse(pattern, name)
                    except ValueError:  # the glob is wider than the pattern
                        continue


@lru_cache(maxsize=2**17)
def facts_of(reader: str, name: str) -> NameFacts | None:
    """What a file name of a reader says; remembered, since a listing is gone through more than once."""
    return describe(reader).facts(name)


def check_installed(reader: str) -> None:
    """Raises InputError when a reader needs a package that is not here; satpy would blame the files for that."""
    import yaml
    from satpy.readers.core.config import configs_for_reader, read_reader_config

    try:
        for files in configs_for_reader(reader):  # type: ignore[no-untyped-call]
            read_reader_config(files)  # type: ignore[no-untyped-call]  # imports the classes that it names
    except (ImportError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise InputError(f"satpy's reader {reader} cannot work here: {reason}; install that package") from None


@lru_cache(maxsize=8)
def describe(reader: str) -> Description:
    """The description of an installed satpy reader."""
    import yaml
    from satpy.readers.core.config import configs_for_reader
    from satpy.readers.core.yaml_reader import load_yaml_configs

    # BaseLoader keeps everything as text: the reader's classes are not imported for their names.
    files = next(iter(configs_for_reader(reader)))  # type: ignore[no-untyped-call]
    config = load_yaml_configs(*files, loader=yaml.BaseLoader)  # type: ignore[no-untyped-call]
    kinds = {name: _kind(name, entry) for name, entry in config.get("file_types", {}).items()}
    channels: dict[str, Channel] = {}
    for key, entry in config.get("datasets", {}).items():
        channel = _channel(str(entry.get("name", key)), entry)
        known = channels.get(channel.name)
        if known is not None:  # one data set in several resolutions
            channel = Channel(
                channel.name, known.wavelength_um, known.kinds | channel.kinds, known.in_kelvin or channel.in_kelvin
            )
        channels[channel.name] = channel
    return Description(kinds, channels)


def _kind(name: str, entry: Mapping[str, Any]) -> Kind:
    import fnmatch

    from trollsift import globify

    patterns = [str(pattern).replace("\\", "/").rsplit("/", 1)[-1] for pattern in entry.get("file_patterns", [])]
    count = entry.get("expected_segments")
    return Kind(
        name,
        tuple((re.compile(fnmatch.translate(globify(pattern))), pattern) for pattern in patterns),
        int(count) if count is not None else None,
        frozenset(entry.get("requires", [])),
        frozenset(mark for mark in map(_marks, patterns) if mark is not None),
    )


def _marks(pattern: str) -> re.Pattern[str] | None:
    """The first two literal parts of a pattern that say something, in order, and its extension; None for fewer.

    HS_…_B13_….DAT.bz2, IMG_DK…B13_…, …_le1b_ir105_….nc: what sets a reader's files apart from its neighbours'. The
    extension belongs to it, so that a checksum beside a file, or a transfer still under way (.part), is not taken.
    """
    texts = [text for text, *_ in Formatter().parse(pattern)]
    telling = [text.rstrip("_-") for text in texts if sum(map(str.isalnum, text)) >= 2]
    name_parts = [text for text in telling if not text.startswith(".")][:2]
    extension = "." + texts[-1].rpartition(".")[2] if texts and "." in texts[-1] else ""
    if sum(len(part) for part in name_parts) < _MARKS_LENGTH:
        return None
    lead = "" if pattern.startswith(name_parts[0]) else ".{0,12}"
    middle = ".*".join(map(re.escape, name_parts))
    return re.compile(f"{lead}{middle}.*{re.escape(extension)}" if extension else f"{lead}{middle}[^.]*")


def _channel(name: str, entry: Mapping[str, Any]) -> Channel:
    wavelength = entry.get("wavelength")
    kinds = _texts(entry.get("file_type"))
    resolution = entry.get("resolution")
    if isinstance(resolution, Mapping):  # FCI: kinds by resolution
        kinds |= {kind for each in resolution.values() for kind in _texts(each.get("file_type"))}
    calibration = entry.get("calibration", {})
    standard_name = str(entry.get("standard_name", ""))
    in_kelvin = "brightness_temperature" in calibration or standard_name.endswith("brightness_temperature")
    central = float(wavelength[1]) if isinstance(wavelength, list) and len(wavelength) == 3 else None
    return Channel(name, central, frozenset(kinds), in_kelvin)


def _texts(value: Any) -> set[str]:
    if value is None:
        return set()
    return {value} if isinstance(value, str) else set(value)


def _time(info: Mapping[str, Any]) -> datetime | None:
    if "repeat_cycle_in_day" in info and isinstance(info.get("start_time"), datetime):
        day = info["start_time"].replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
        return _fci_slot(day, int(info["repeat_cycle_in_day"]), info["start_time"].replace(tzinfo=UTC))
    for field in _TIME_FIELDS:
        time = info.get(field)
        if isinstance(time, datetime):
            return time.replace(tzinfo=UTC)
    return None


def _fci_slot(day: datetime, cycle: int, start: datetime) -> datetime:
    """Start of a repeat cycle; one that ends after midnight still belongs to the day before."""
    slot = day + timedelta(minutes=_FCI_CYCLE_MINUTES * (cycle - 1))
    return slot - timedelta(days=1) if slot - start > timedelta(hours=12) else slot


def _offset(info: Mapping[str, Any]) -> timedelta:
    area = info.get("area")
    if isinstance(area, str) and area[:2] in _AHI_REPEAT_S and area[2:].isdigit() and int(area[2:]) > 0:
        return timedelta(seconds=_AHI_REPEAT_S[area[:2]] * (int(area[2:]) - 1))
    return timedelta(0)


def _sector(info: Mapping[str, Any]) -> str:
    """A short name of the sector, empty for the full disk."""
    area = info.get("area", info.get("sector_info", info.get("scene_abbr")))
    if area is None or area in (1, "FLDK", "fd", "F"):
        return ""
    if isinstance(area, int):
        return f"DK{area:02d}"
    return area[:2] if area[:2] in _AHI_REPEAT_S else str(area)
