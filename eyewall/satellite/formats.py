"""What a reader has to give: how its files are named, which of them are needed, how one is checked and how it is read.

    name    YYYYMMDD…            formats.NameFacts: time, sector, band, segment, told from the file name alone
    choice  which band           formats.Choice: the data set and the kinds of files that it is made from
    check   is this file whole   raises CorruptFile, before any reader sees it
    read    files → picture      formats.Picture: values and geometry, not yet on the wanted area

satpy's readers share one implementation (`satpy_format`); storm-centred archives and fixed-map pictures have their own.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from eyewall.contracts.errors import EyewallError, InputError
from eyewall.contracts.fields import Area
from eyewall.satellite.frame import Quantity


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What a file name says.

    ``time`` is the nominal time (aware, UTC); ``part`` tells apart pictures of one time (a sector, a storm), "" for the
    full disk; ``kind`` the reader's file type (a band, a prologue …); ``segment`` counts from 1 of ``segments``.
    """

    time: datetime
    part: str = ""
    kind: str = ""
    platform: str = ""
    segment: int | None = None
    segments: int | None = None


@dataclass(frozen=True)
class Choice:
    """One data set of a reader: the file kinds that hold it, and those without which they cannot be read."""

    dataset: str
    kinds: frozenset[str]
    companions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LocalFile:
    """A file that passed its checks: ``plain`` is decompressed, ``origin`` where it lay, ``name`` as it was called."""

    name: str
    origin: Path
    plain: Path
    facts: NameFacts


@dataclass(frozen=True)
class Picture:
    """What a reader gives: ``data`` [y, x] (NumPy or dask) on ``area``, with the times of observation, aware UTC.

    ``observation_start``/``_end`` are None where the format does not tell; ``extra`` are numbers for the quality.
    """

    data: Any
    area: Any
    quantity: Quantity
    platform: str
    sensor: str
    observation_start: datetime | None = None
    observation_end: datetime | None = None
    extra: dict[str, float | int] = field(default_factory=dict)


class UnreadableFiles(EyewallError):
    """Files that passed every check, and that the reader still cannot read: name → reason. Never leaves the room."""

    def __init__(self, reasons: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons


class WrongRequest(InputError):
    """What is asked for cannot be had from such files, however good they are: the job, or what lies beside them."""


class Format(Protocol):
    """One reader's files."""

    reader: str

    def facts(self, name: str) -> NameFacts | None:
        """What the file name says; None when this reader has no such files."""
        ...

    def resembles(self, name: str, kinds: frozenset[str]) -> bool:
        """Whether a name that says nothing was plainly meant to be a file of one of ``kinds``: spoilt, no stranger.

        No kinds stand for all from which a frame can be made.
        """
        ...

    def expected_names(self) -> str:
        """Half a sentence for a file with another name."""
        ...

    def may_hold(self, folder: str, start: datetime, end: datetime) -> bool:
        """Whether a folder of this name below a source may hold files of the interval; no other one is looked into."""
        ...

    def choose(self, present: Sequence[NameFacts], dataset: str | None) -> Choice:
        """The wanted data set, or the one nearest to the window. Raises InputError when it is not among the files."""
        ...

    def segments(self, area: Area, count: int, heads: Callable[[], Iterable[bytes]]) -> frozenset[int] | None:
        """Segments that show ``area``, of ``count``; None for all of them. ``heads`` gives first bytes of the files.

        Raises InputError when the satellite does not see the area at all.
        """
        ...

    def check(self, plain: Path, facts: NameFacts) -> None:
        """Raises CorruptFile when the decompressed file is not whole, or is not what its name says."""
        ...

    def read(self, files: Sequence[LocalFile], choice: Choice, cut: bool) -> Picture:
        """Files → picture; ``cut`` says that only a part of it will be looked at.

        Raises InputError when the files are whole and still do not suffice. Anything else that it raises, also later
        when a lazy picture is computed, goes to `blame`.
        """
        ...

    def blame(self, files: Sequence[LocalFile], choice: Choice, error: Exception) -> EyewallError:
        """What to raise for ``error``: UnreadableFiles naming the culprits among ``files``, or InputError."""
        ...


def sentence(error: Exception) -> str:
    """A foreign exception as part of one sentence: its class and its text on one line, not too long."""
    text = " ".join(str(error).split()) or "no reason given"
    return f"{type(error).__name__}: {text}"[:300]


def format_for(reader: str) -> Format:
    """The format of a reader by name. Raises InputError for an unknown one, with the names that come near."""
    if reader == "digital_typhoon":
        from eyewall.satellite.digital_typhoon import DigitalTyphoon

        return DigitalTyphoon()
    if reader == "map_picture":
        from eyewall.satellite.map_picture import MapPicture

        return MapPicture()
    from eyewall.satellite.satpy_format import SatpyFormat, reader_names  # satpy takes seconds to import

    names = [*reader_names(), "digital_typhoon", "map_picture"]
    if reader not in names:
        raise InputError(f"reader {reader!r} is not known: {near(reader, names)}")
    return SatpyFormat(reader)


def near(text: str, names: Iterable[str]) -> str:
    """Half a sentence with what ``text`` may have meant among ``names``."""
    names = sorted(names)
    close = difflib.get_close_matches(text, names, n=4, cutoff=0.5) or [n for n in names if text.lower() in n.lower()]
    return f"did you mean {' or '.join(close[:4])}?" if close else f"there are {', '.join(names)}"
