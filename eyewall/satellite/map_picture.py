"""Pictures of one fixed map (JPEG or PNG) with the projection fitted to it in ``projection.json`` beside or above them.

    frames256/199808030200.jpg        time (UTC) as twelve digits at the end of the name
    projection.json                   {"cone_constant": n, "lon0": …, "scale_px": …, "pole_x_px": …, "pole_y_px": …}

The fit is the spherical Lambert conformal conic (Snyder 1987, ch. 15) in pixels of a picture 512 pixels wide, with
pixel centres at whole numbers:

    rho = scale_px · tan(π/4 − φ/2)ⁿ    x = pole_x_px + rho · sin n(λ − λ0)    y = pole_y_px + rho · cos n(λ − λ0)

which is a proper map projection in metres: with one standard parallel φ1 = arcsin n on a sphere of radius R,
rho[m] = R·F·tan(π/4 − φ/2)ⁿ, F = cos φ1 · tan(π/4 + φ1/2)ⁿ / n, so a pixel is R·F/scale_px metres. A picture of another
width is the same map in larger pixels: edges scale, centres move by half a pixel.

Grey levels are kept as they are: they cannot be made kelvin without the calibration that the picture has lost.

Nominal and observation time: the name's time is the only one there is, so it is both. Actual and nominal position: the
map is what it was drawn as; the satellite is not told.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError

from eyewall.besttrack.sphere import EARTH_RADIUS_KM
from eyewall.contracts.errors import CorruptFile, EyewallError, InputError
from eyewall.contracts.fields import Area
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

_NAME: Final = re.compile(r"(?:.*\D)?(?P<time>\d{12})\.(?:jpe?g|png)", re.IGNORECASE)
_SPOILT_NAME: Final = re.compile(r"(?:\D*\d){8,}.*\.(?:jpe?g|png)", re.IGNORECASE)
DATASET: Final = "picture"
FITTED_PX: Final = 512
_MAX_PX: Final = 8192
_LEVELS_UP: Final = 3


class Fit(BaseModel):
    """``projection.json``: the fit in pixels; other keys are notes."""

    cone_constant: float = Field(gt=0, lt=1)
    lon0: float = Field(ge=-360, le=360)
    scale_px: float = Field(gt=0)
    pole_x_px: float
    pole_y_px: float

    def area(self, columns: int, rows: int) -> Any:
        """The map as a pyresample AreaDefinition for a picture of ``columns`` × ``rows`` pixels."""
        n = self.cone_constant
        parallel = math.asin(n)
        radius_m = 1000 * EARTH_RADIUS_KM
        factor = math.cos(parallel) * math.tan(math.pi / 4 + parallel / 2) ** n / n
        m_per_px = radius_m * factor / self.scale_px
        # The projection's own origin is at φ1 on the middle meridian, rho(φ1) south of the pole.
        rho_origin_m = radius_m * factor * math.tan(math.pi / 4 - parallel / 2) ** n
        left = (-0.5 - self.pole_x_px) * m_per_px
        top = rho_origin_m - (-0.5 - self.pole_y_px) * m_per_px
        width = FITTED_PX * m_per_px
        projection = {
            "proj": "lcc",
            "lat_1": math.degrees(parallel),
            "lat_0": math.degrees(parallel),
            "lon_0": (self.lon0 + 180) % 360 - 180,
            "R": radius_m,
        }
        extent = (left, top - width * rows / columns, left + width, top)
        return grid("map_picture", projection, (rows, columns), extent)


class MapPicture:
    """See `formats.Format`."""

    reader = "map_picture"

    def facts(self, name: str) -> NameFacts | None:
        """The time at the end of the name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            time = datetime.strptime(match["time"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        except ValueError:
            return None
        return NameFacts(time, kind=DATASET)

    def resembles(self, name: str, kinds: frozenset[str]) -> bool:
        """Whether it is a picture with digits enough for a date in its name."""
        return bool(_SPOILT_NAME.fullmatch(name))

    def expected_names(self) -> str:
        """Half a sentence with an example."""
        return "map pictures have names that end with YYYYMMDDHHMM.jpg or .png"

    def may_hold(self, folder: str, start: datetime, end: datetime) -> bool:
        """Any folder may."""
        return True

    def choose(self, present: Sequence[NameFacts], dataset: str | None) -> Choice:
        """A picture holds one thing."""
        if dataset not in (None, DATASET):
            raise InputError(f"a map picture has no dataset {dataset!r}: it has {DATASET!r}")
        return Choice(DATASET, frozenset({DATASET}))

    def segments(self, area: Area, count: int, heads: Callable[[], Iterable[bytes]]) -> None:
        """A picture is one file."""

    def check(self, plain: Path, facts: NameFacts) -> None:
        """Decodes to its last row, and shows something."""
        levels = _levels(plain)
        if levels.min() == levels.max():
            raise CorruptFile(f"every pixel has the grey level {levels.min()}: the picture is blank")

    def read(self, files: Sequence[LocalFile], choice: Choice, cut: bool) -> Picture:
        """One file → grey levels 0–255 on the fitted map. Raises InputError when the fit is not there."""
        (file,) = files
        levels = _levels(file.plain)
        return Picture(
            data=levels.astype(np.float32),
            area=_fit_for(file.origin).area(levels.shape[1], levels.shape[0]),
            quantity="grey_level",
            platform="unknown",
            sensor="imager",
        )

    def blame(self, files: Sequence[LocalFile], choice: Choice, error: Exception) -> EyewallError:
        """There is one file."""
        return UnreadableFiles({file.name: sentence(error) for file in files})


def _levels(path: Path) -> npt.NDArray[np.uint8]:
    """Grey levels [y, x]. Raises CorruptFile when the picture is none, or is cut short."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            if max(picture.size) > _MAX_PX:
                raise CorruptFile(f"the picture has {picture.size[0]} x {picture.size[1]} pixels: {_MAX_PX} at most")
            levels = np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        raise CorruptFile("the file is neither JPEG nor PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CorruptFile(f"the picture does not decode to its end: {error}") from None
    with path.open("rb") as stream:
        stream.seek(-min(path.stat().st_size, 64), 2)
        tail = stream.read()
    if not any(end in tail for end in (b"\xff\xd9", b"IEND")):
        raise CorruptFile("the picture lacks its end marker: the file is truncated")
    return levels


def _fit_for(origin: Path) -> Fit:
    places = [folder / "projection.json" for folder in origin.resolve().parents[:_LEVELS_UP]]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise WrongRequest(
            f"no projection.json beside or above {origin.name}: the map of the picture is not known; put it there"
        )
    return _fit(found, found.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _fit(path: Path, changed_ns: int) -> Fit:
    try:
        return Fit.model_validate(json.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        raise WrongRequest(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, OSError) as error:
        raise WrongRequest(f"{path.name} is not valid JSON: {error}") from None
