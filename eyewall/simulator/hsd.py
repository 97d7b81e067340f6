"""Writing Himawari Standard Data: brightness temperatures of band 13 → an AHI HSD file that any reader takes for real.

Layout and constants are in `hsd_layout`; this module fills the eleven header blocks and turns kelvin into counts.
"""

import bz2
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from eyewall.contracts.errors import InputError
from eyewall.simulator import ephemeris
from eyewall.simulator import hsd_layout as hsd
from eyewall.simulator.disk import Sector

SATELLITES = {"Himawari-8": "H08", "Himawari-9": "H09"}

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_OBSERVATION_TIME_ROWS = 4
_REPEAT_S = 150  # a Target Area is scanned every two and a half minutes
_SCAN_DELAY_S = 20.6  # from the nominal time to the first line
_TARGET_SCAN_S = 41.3
_SEGMENT_SCAN_S = 56.0


def mjd(time: datetime) -> float:
    """Modified Julian day of a UTC time."""
    return (time - _MJD_EPOCH) / timedelta(days=1)


def radiance(bt_k: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Band 13 spectral radiance, W m⁻² sr⁻¹ µm⁻¹, of a brightness temperature in K: guide, section 5, block 5."""
    c0, c1, c2 = hsd.TEMPERATURE_TO_RADIANCE
    bt = np.asarray(bt_k, dtype=np.float64)
    effective_k = c0 + c1 * bt + c2 * bt**2
    wave_m = hsd.WAVE_LENGTH_UM * 1e-6
    exponent = hsd.PLANCK_J_S * hsd.LIGHT_M_S / (hsd.BOLTZMANN_J_K * wave_m * effective_k)
    per_metre = 2 * hsd.PLANCK_J_S * hsd.LIGHT_M_S**2 / wave_m**5 / np.expm1(exponent)
    return np.asarray(per_metre * 1e-6)


def counts(bt_k: npt.ArrayLike, outside_scan: npt.ArrayLike | None = None) -> npt.NDArray[np.uint16]:
    """Counts of 12 bits; NaN becomes an error pixel, ``outside_scan`` (bool, same shape) a pixel never scanned.

    Temperatures outside about 130–330 K stop at the ends of the scale, as the instrument's do.
    """
    bt = np.asarray(bt_k, dtype=np.float64)
    missing = ~np.isfinite(bt)
    scaled = (radiance(np.where(missing, 250.0, np.maximum(bt, 100.0))) - hsd.OFFSET) / hsd.GAIN
    values = np.asarray(np.clip(np.rint(scaled), 0, 2**hsd.VALID_BITS - 1), dtype=np.uint16)
    values[missing] = hsd.COUNT_ERROR
    if outside_scan is not None:
        values[np.asarray(outside_scan, dtype=bool)] = hsd.COUNT_OUTSIDE
    return values


def observation_times(sector: Sector, slot: datetime) -> tuple[datetime, datetime]:
    """When the first and last line of a sector are scanned in the ten-minute slot that begins at ``slot``."""
    if sector.area == "FLDK":
        start = slot + timedelta(seconds=_SCAN_DELAY_S + _SEGMENT_SCAN_S * (sector.segment - 1))
        return start, start + timedelta(seconds=_SEGMENT_SCAN_S)
    observation = int(sector.area[2:])
    start = slot + timedelta(seconds=_REPEAT_S * (observation - 1) + _SCAN_DELAY_S)
    return start, start + timedelta(seconds=_TARGET_SCAN_S)


def file_name(sector: Sector, slot: datetime, satellite: str = "Himawari-9") -> str:
    """Name of the uncompressed file, as section 4 of the guide builds it."""
    return (
        f"HS_{SATELLITES[satellite]}_{slot:%Y%m%d_%H%M}_B{hsd.BAND:02d}_{sector.area}_R20"
        f"_S{sector.segment:02d}{sector.segments:02d}.DAT"
    )


def _block(dtype: np.dtype[Any], number: int, length: int | None = None, **values: Any) -> bytes:
    """One header block (or the head of one): every field not named is zero or empty."""
    block = np.zeros((), dtype=dtype)
    block["header_block_number"] = number
    block["block_length"] = dtype.itemsize if length is None else length
    for name, value in values.items():
        block[name] = value
    return block.tobytes()


def _repeated(dtype: np.dtype[Any], number: int, count_field: str, rows: npt.NDArray[Any], **values: Any) -> bytes:
    """A block with a repeated part: head, rows, spare tail."""
    length = dtype.itemsize + rows.nbytes + hsd.TAIL_BYTES
    head = _block(dtype, number, length, **{count_field: len(rows)}, **values)
    return head + rows.tobytes() + bytes(hsd.TAIL_BYTES)


def _observation_rows(sector: Sector, start: datetime, end: datetime) -> npt.NDArray[Any]:
    rows = np.zeros(_OBSERVATION_TIME_ROWS, dtype=hsd.OBSERVATION_TIME_ROW)
    first = sector.first_line if sector.segments > 1 else 0
    rows["line_number"] = first + np.rint(np.linspace(1, sector.lines, len(rows)))
    rows["observation_time"] = np.linspace(mjd(start), mjd(end), len(rows))
    return rows


def _error_rows(values: npt.NDArray[np.uint16], sector: Sector) -> npt.NDArray[Any]:
    """The lines that hold error pixels, and how many each."""
    per_line = (values == hsd.COUNT_ERROR).sum(axis=1)
    lines = np.flatnonzero(per_line)
    rows = np.zeros(len(lines), dtype=hsd.ERROR_ROW)
    rows["line_number"] = lines + 1 + (sector.first_line if sector.segments > 1 else 0)
    rows["error_pixels"] = per_line[lines]
    return rows


def _correction_rows(sector: Sector) -> npt.NDArray[Any]:
    rows = np.zeros(2, dtype=hsd.NAVIGATION_CORRECTION_ROW)
    rows["line_number"] = (1, hsd.DISK_PX if sector.segments > 1 else sector.lines)
    return rows


def _blocks_after_basic(values: npt.NDArray[np.uint16], sector: Sector, start: datetime, end: datetime) -> list[bytes]:
    """Blocks 2 to 11, in order."""
    middle = start + (end - start) / 2
    undefined: dict[str, Any] = dict.fromkeys(
        ("intercept", "slope", "quadratic_term", "radiance_bias", "radiance_bias_uncertainty",
         "standard_scene_radiance", "validity_start_time", "validity_end_time", "upper_limit", "lower_limit"),
        hsd.UNDEFINED,
    )  # fmt: skip
    return [
        _block(
            hsd.DATA, 2,
            number_of_bits_per_pixel=16, number_of_columns=sector.columns, number_of_lines=sector.lines,
        ),
        _block(
            hsd.PROJECTION, 3,
            sub_lon=hsd.SUB_LON_DEG, cfac=hsd.FACTOR_2KM, lfac=hsd.FACTOR_2KM, coff=sector.coff, loff=sector.loff,
            distance_from_earth_center=hsd.SATELLITE_DISTANCE_KM, equatorial_radius=hsd.EQUATORIAL_RADIUS_KM,
            polar_radius=hsd.POLAR_RADIUS_KM, eccentricity_squared=hsd.ECCENTRICITY_SQUARED,
            polar_to_equatorial_squared=hsd.POLAR_TO_EQUATORIAL_SQUARED,
            equatorial_to_polar_squared=hsd.EQUATORIAL_TO_POLAR_SQUARED,
            coefficient_for_sd=hsd.SD_COEFFICIENT_KM2, resampling_type=0, resampling_size=4,
        ),
        _block(
            hsd.NAVIGATION, 4,
            navigation_time=mjd(middle), ssp_longitude=140.66, ssp_latitude=0.004, distance_from_earth_center=42165.0,
            nadir_longitude=140.66, nadir_latitude=0.004, sun_position=ephemeris.sun_km(middle),
            moon_position=ephemeris.moon_km(middle),
        ),
        _block(
            hsd.CALIBRATION_INFRARED, 5,
            band_number=hsd.BAND, central_wave_length=hsd.WAVE_LENGTH_UM, valid_bits_per_pixel=hsd.VALID_BITS,
            count_of_error_pixels=hsd.COUNT_ERROR, count_outside_scan=hsd.COUNT_OUTSIDE, gain=hsd.GAIN,
            offset=hsd.OFFSET, radiance_to_temperature=hsd.RADIANCE_TO_TEMPERATURE,
            temperature_to_radiance=hsd.TEMPERATURE_TO_RADIANCE, speed_of_light=hsd.LIGHT_M_S,
            planck_constant=hsd.PLANCK_J_S, boltzmann_constant=hsd.BOLTZMANN_J_K,
        ),
        _block(hsd.INTER_CALIBRATION, 6, **undefined),
        _block(
            hsd.SEGMENT, 7,
            total_number_of_segments=sector.segments, segment_sequence_number=sector.segment,
            first_line_number=(sector.first_line if sector.segments > 1 else 0) + 1,
        ),
        _repeated(
            hsd.NAVIGATION_CORRECTION, 8, "number_of_corrections", _correction_rows(sector),
            center_column_of_rotation=sector.coff, center_line_of_rotation=sector.loff,
        ),
        _repeated(hsd.OBSERVATION_TIMES, 9, "number_of_times", _observation_rows(sector, start, end)),
        _repeated(hsd.ERRORS, 10, "number_of_errors", _error_rows(values, sector)),
        _block(hsd.SPARE, 11),
    ]  # fmt: skip


def encode(
    bt_k: npt.ArrayLike,
    sector: Sector,
    slot: datetime,
    satellite: str = "Himawari-9",
    outside_scan: npt.ArrayLike | None = None,
) -> bytes:
    """The whole uncompressed file of a sector in the ten-minute slot that begins at ``slot`` (aware, UTC).

    ``bt_k`` [y, x]: brightness temperature in K, NaN for error pixels; ``outside_scan`` [y, x]: True where never
    scanned. Equal arguments give equal bytes. Raises InputError for a shape, slot or satellite that does not fit.
    """
    values = counts(bt_k, outside_scan)
    if values.shape != (sector.lines, sector.columns):
        raise InputError(f"image of shape {values.shape} does not fit {sector}: give [lines, columns]")
    if satellite not in SATELLITES:
        raise InputError(f"satellite {satellite!r} is not one of {', '.join(SATELLITES)}")
    if slot.utcoffset() != timedelta(0) or slot.minute % 10 or slot.second or slot.microsecond:
        raise InputError(f"slot {slot} is not a full ten minutes in UTC: slots begin at :00, :10 … :50")
    start, end = observation_times(sector, slot)
    rest = _blocks_after_basic(values, sector, start, end)
    basic = _block(
        hsd.BASIC, 1,
        total_number_of_header_blocks=hsd.BLOCKS, byte_order=0, satellite_name=satellite.encode(),
        processing_center_name=b"MSC", observation_area=sector.area.encode(), other_observation_information=b"RT",
        observation_timeline=slot.hour * 100 + slot.minute, observation_start_time=mjd(start),
        observation_end_time=mjd(end), file_creation_time=mjd(end + timedelta(minutes=3)),
        total_header_length=hsd.BASIC.itemsize + sum(map(len, rest)), total_data_length=values.nbytes,
        file_format_version=b"1.3", file_name=file_name(sector, slot, satellite).encode(),
    )  # fmt: skip
    return b"".join([basic, *rest, values.astype("<u2", copy=False).tobytes()])


def write_hsd(
    folder: Path,
    bt_k: npt.ArrayLike,
    sector: Sector,
    slot: datetime,
    *,
    satellite: str = "Himawari-9",
    outside_scan: npt.ArrayLike | None = None,
    compress: bool = True,
    bz2_level: int = 1,
) -> Path:
    """Write one file under the guide's name (``.bz2`` added when compressed) and return its path; see `encode`."""
    content = encode(bt_k, sector, slot, satellite, outside_scan)
    name = file_name(sector, slot, satellite)
    path = folder / (f"{name}.bz2" if compress else name)
    path.write_bytes(bz2.compress(content, bz2_level) if compress else content)
    return path
