"""A frame: one calibrated, georeferenced picture, kept as CF netCDF.

    variable  brightness_temperature (K) or grey_level (1), [y, x] float32; missing (space, a lost segment) is NaN
    axes      y, x (projection coordinates, m) or lat, lon (degrees); pixel centres, in the order of the scan
    crs       grid mapping with CF's parameters and crs_wkt
    time      nominal time: the slot that names the frame; observation_start/_end: when its pixels were scanned
    quality_* global attributes: valid_fraction, min, max, segments_wanted, segments_present, …

Longitudes rise from west to east and may exceed 360 where the box crosses Greenwich, so that the axis is monotonic.
Values are float32, deflated: int16 steps of 0.01 K would take 56 % of the space, but float32 keeps the calibration of
every satellite as its reader gave it. Equal frames are equal bytes: no time of writing, no path, no host is inside.
Conventions: CF-1.11, sections 4 (coordinates), 5.6 (grid mappings) and 9.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from eyewall import __version__
from eyewall.contracts.errors import CorruptFile, StorageError
from eyewall.contracts.manifest import FileEntry, Manifest
from eyewall.storage import Store
from eyewall.storage.store import storage_errors

Quantity = Literal["brightness_temperature_k", "grey_level"]
Image = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNITS: Final = "seconds since 1970-01-01 00:00:00"
#: Quantity → CF variable, standard name, long name, unit.
_VARIABLES: Final[dict[str, tuple[str, str | None, str, str]]] = {
    "brightness_temperature_k": (
        "brightness_temperature",
        "toa_brightness_temperature",
        "brightness temperature at the top of the atmosphere",
        "K",
    ),
    "grey_level": ("grey_level", None, "grey level of a picture, not calibrated", "1"),
}


@dataclass(frozen=True)
class Frame:
    """One picture with its geometry and times.

    ``data`` is [y, x] float32 in kelvin or grey levels, NaN where missing; ``area`` a pyresample AreaDefinition of the
    same shape; the three times are aware UTC; ``quality`` holds plain numbers.
    """

    data: Image
    area: Any
    quantity: Quantity
    nominal_time: datetime
    observation_start: datetime
    observation_end: datetime
    platform: str
    sensor: str
    reader: str
    dataset: str
    quality: dict[str, float | int] = field(default_factory=dict)


def value_quality(data: Image) -> dict[str, float | int]:
    """``valid_fraction``, and ``min`` and ``max`` of the valid pixels when there are any, of ``data`` [y, x]."""
    valid = np.isfinite(data)
    numbers: dict[str, float | int] = {"valid_fraction": float(valid.mean()) if data.size else 0.0}
    if valid.any():
        numbers |= {"min": float(np.nanmin(data)), "max": float(np.nanmax(data))}
    return numbers


# --- writing ---------------------------------------------------------------------------------------------------------


def write_frame(
    store: Store,
    path: str,
    frame: Frame,
    inputs: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write ``frame`` to ``path`` (…nc) and its manifest beside it (…json); returns the manifest.

    ``inputs`` is name → sha256 of the files it was made from, ``config`` the fields of the job that matter. The netCDF
    file goes last, in one rename: it is the commit marker, since frames are listed by it. Raises StorageError.
    """
    content = encode(frame)
    manifest = Manifest(
        kind="frame",
        code_version=__version__,
        inputs=dict(inputs or {}),
        config=dict(config or {}),
        files=(
            FileEntry(path=path.rsplit("/", 1)[-1], sha256=hashlib.sha256(content).hexdigest(), bytes=len(content)),
        ),
        extra={"quality": frame.quality, "shape": list(frame.data.shape)},
    )
    store.write_bytes(manifest_path(path), manifest.to_bytes())
    store.write_bytes(path, content)
    return manifest


def manifest_path(path: str) -> str:
    """Where the manifest of the frame at ``path`` is."""
    return path.removesuffix(".nc") + ".json"


def encode(frame: Frame) -> bytes:
    """``frame`` as the bytes of a netCDF-4 file. Raises StorageError when scratch is full."""
    import netCDF4

    # Not netCDF's in-memory file: that one is padded with whatever the memory held before.
    with storage_errors("scratch files"), tempfile.TemporaryDirectory(prefix="eyewall-frame-") as folder:
        file = Path(folder) / "frame.nc"
        try:
            with netCDF4.Dataset(file, mode="w", format="NETCDF4") as dataset:
                _fill(dataset, frame)
        except RuntimeError as error:  # HDF5's way to say that the disk is full
            raise StorageError(
                f"cannot write scratch files in {folder}: {error}; free some space or set TMPDIR"
            ) from error
        return file.read_bytes()


def _fill(dataset: Any, frame: Frame) -> None:
    if frame.data.shape != tuple(frame.area.shape):
        raise ValueError(f"data of shape {frame.data.shape} do not fit an area of shape {tuple(frame.area.shape)}")
    name, standard_name, long_name, units = _VARIABLES[frame.quantity]
    row_axis, column_axis = _write_axes(dataset, frame.area)
    variable = dataset.createVariable(
        name, "f4", (row_axis, column_axis), zlib=True, complevel=4, shuffle=True, fill_value=np.float32(np.nan)
    )
    variable.setncatts(
        {
            "long_name": long_name,
            "units": units,
            "grid_mapping": "crs",
            "coordinates": "time observation_start observation_end",
        }
    )
    if standard_name:
        variable.standard_name = standard_name
    variable[:] = frame.data
    _write_times(dataset, frame)
    dataset.setncatts(
        {
            "Conventions": "CF-1.11",
            "title": f"{frame.platform} {frame.sensor} {frame.dataset}",
            "quantity": frame.quantity,
            "platform": frame.platform,
            "sensor": frame.sensor,
            "reader": frame.reader,
            "dataset": frame.dataset,
            "area_id": str(frame.area.area_id),
        }
    )
    dataset.setncatts({f"quality_{key}": value for key, value in sorted(frame.quality.items())})


def _write_axes(dataset: Any, area: Any) -> tuple[str, str]:
    left, bottom, right, top = (float(edge) for edge in area.area_extent)
    rows, columns = area.shape
    geographic = bool(area.crs.is_geographic)
    names = ("lat", "lon") if geographic else ("y", "x")
    standard_names = ("latitude", "longitude") if geographic else ("projection_y_coordinate", "projection_x_coordinate")
    units = ("degrees_north", "degrees_east") if geographic else ("m", "m")
    centres = _centres(top, bottom, rows), _centres(left, right, columns)
    for axis, name in enumerate(names):
        dataset.createDimension(name, (rows, columns)[axis])
        variable = dataset.createVariable(name, "f8", (name,))
        variable.setncatts(
            {"standard_name": standard_names[axis], "units": units[axis], "axis": "YX"[axis]},
        )
        variable[:] = centres[axis]
    crs = dataset.createVariable("crs", "i4", ())
    crs.setncatts({key: value for key, value in area.crs.to_cf().items() if value is not None})
    # Edges as they are: from the centres of a one-pixel axis they could not be had back.
    crs.area_extent = np.array([left, bottom, right, top])
    return names


def _centres(first_edge: float, last_edge: float, count: int) -> Floats:
    """Pixel centres along an axis, from its first pixel to its last."""
    return first_edge + (np.arange(count) + 0.5) * (last_edge - first_edge) / count


def _write_times(dataset: Any, frame: Frame) -> None:
    for name, time, long_name in (
        ("time", frame.nominal_time, "nominal time: the slot that names the frame"),
        ("observation_start", frame.observation_start, "start of the scan"),
        ("observation_end", frame.observation_end, "end of the scan"),
    ):
        variable = dataset.createVariable(name, "f8", ())
        variable.setncatts(
            {"standard_name": "time", "long_name": long_name, "units": _EPOCH_UNITS, "calendar": "standard"},
        )
        variable[...] = (time.astimezone(UTC) - _EPOCH).total_seconds()


# --- reading ---------------------------------------------------------------------------------------------------------


def read_frame(store: Store, path: str, sha256: str = "") -> Frame:
    """The frame at ``path``; with ``sha256`` its content must be that one.

    Raises StorageError when it is not there, or is another one, CorruptFile when it is not a frame.
    """
    import netCDF4

    content = store.read_bytes(path)
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise StorageError(f"frame {path!r} in store {store.url!r} has changed since it was hashed: run the step again")
    try:
        with netCDF4.Dataset(path, mode="r", memory=content) as dataset:
            dataset.set_auto_mask(False)
            return _decode(dataset)
    except (OSError, KeyError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        raise CorruptFile(f"{path!r} in store {store.url!r} is not a frame: {error}; ingest its slot again") from error


def _decode(dataset: Any) -> Frame:
    from pyproj import CRS
    from pyresample.geometry import AreaDefinition

    quantity: Quantity = dataset.quantity
    data = np.asarray(dataset.variables[_VARIABLES[quantity][0]][:], dtype=np.float32)
    crs = dataset.variables["crs"]
    rows, columns = data.shape
    area = AreaDefinition(  # type: ignore[no-untyped-call]
        dataset.area_id,
        dataset.title,
        "crs",
        CRS.from_wkt(crs.crs_wkt),
        columns,
        rows,
        tuple(float(edge) for edge in crs.area_extent),
    )
    times = {
        name: _EPOCH + timedelta(seconds=float(dataset.variables[name][...]))
        for name in ("time", "observation_start", "observation_end")
    }
    quality = {
        key.removeprefix("quality_"): np.asarray(dataset.getncattr(key)).item()
        for key in dataset.ncattrs()
        if key.startswith("quality_")
    }
    return Frame(
        data=data,
        area=area,
        quantity=quantity,
        nominal_time=times["time"],
        observation_start=times["observation_start"],
        observation_end=times["observation_end"],
        platform=dataset.platform,
        sensor=dataset.sensor,
        reader=dataset.reader,
        dataset=dataset.dataset,
        quality=quality,
    )
