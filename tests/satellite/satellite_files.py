"""Small files in the real formats, written from the formats' manuals: what the tests of this room read.

AHI HSD files come from the simulator. HRIT and AMI files are made here, in miniature: few pixels, every header record.
"""

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

SLOT = datetime(2020, 9, 5, 0, 0, tzinfo=UTC)


# --- AHI HSD ---------------------------------------------------------------------------------------------------------


def warm_disk(lat_deg: np.ndarray, lon_deg: np.ndarray) -> np.ndarray:
    """A brightness temperature for every place, 230–300 K: smooth, and different everywhere."""
    return 265 + 25 * np.cos(np.radians(3 * lat_deg)) + 10 * np.sin(np.radians(5 * lon_deg))


def write_target(folder: Path, lat_deg: float, lon_deg: float, slot: datetime = SLOT, observation: int = 1) -> Path:
    """A Target Area file about a place, bzip2, with `warm_disk` in it."""
    from eyewall.simulator.disk import lat_lon, target_sector
    from eyewall.simulator.hsd import write_hsd

    folder.mkdir(parents=True, exist_ok=True)
    sector = target_sector(lat_deg, lon_deg, observation)
    return write_hsd(folder, warm_disk(*lat_lon(sector)), sector, slot)


def write_disk_segment(folder: Path, number: int, slot: datetime = SLOT) -> Path:
    """One uncompressed full-disk segment (550 × 5500) with `warm_disk` in it."""
    from eyewall.simulator.disk import disk_segment, lat_lon
    from eyewall.simulator.hsd import write_hsd

    folder.mkdir(parents=True, exist_ok=True)
    sector = disk_segment(number)
    lat_deg, lon_deg = lat_lon(sector)
    return write_hsd(
        folder, warm_disk(lat_deg, lon_deg), sector, slot, outside_scan=~np.isfinite(lat_deg), compress=False
    )


# --- HRIT ------------------------------------------------------------------------------------------------------------


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack(">BH", kind, 3 + len(content)) + content


def jma_hrit(
    counts: np.ndarray, name: str, *, segment: int = 0, segments: int = 1, sub_lon_deg: float = 145.0, offset: float = 0
) -> bytes:
    """An HRIT image file as JMA writes it: ``counts`` [y, x] of 16 bits; 0 is 330 K and 1000 is 130 K.

    ``offset`` is COFF and LOFF of the whole picture. (JMA HRIT Mission Specific Implementation, 1.2.)
    """
    lines, columns = counts.shape
    data = counts.astype(">u2").tobytes()
    middle = offset or columns / 2
    table = "$HALFTONE:=16\r_NAME:=INFRARED\r_UNIT:=KELVIN\r0:=330.00\r1000:=130.00\r65535:=130.00\r"
    times = f"LINE:=1\rTIME:=55000.020833\rLINE:={lines}\rTIME:=55000.034722\r"
    rest = b"".join(
        [
            _record(1, struct.pack(">BHHB", 16, columns, lines, 0)),
            _record(
                2,
                struct.pack(
                    ">32siiii",
                    f"GEOS({sub_lon_deg:.2f})".encode().ljust(32),
                    10233137,
                    10233137,
                    int(middle),
                    int(middle),
                ),
            ),
            _record(3, table.encode()),
            _record(4, name.encode()),
            _record(5, b"@" + struct.pack(">HI", 18838, 1800000)),
            _record(128, struct.pack(">BBH", segment, segments, 1)),
            _record(130, f"LINE:=1\rCOFF:={middle:.1f}\rLOFF:={middle:.1f}\r".encode()),
            _record(131, times.encode()),
            _record(132, b"NO_ERROR\r"),
        ]
    )
    primary = struct.pack(">BHBIQ", 0, 16, 0, 16 + len(rest), 8 * len(data))
    return primary + rest + data


# --- GK-2A AMI -------------------------------------------------------------------------------------------------------


def write_ami(folder: Path, counts: np.ndarray, band: str = "ir105", **attributes: Any) -> Path:
    """A GK-2A AMI level-1B file of a small grid about the sub-satellite point: ``counts`` [y, x] of 13 bits.

    Attributes and values as in KMA's "GK-2A AMI Level 1B Data User Manual"; the grid is coarser than any real one.
    """
    import netCDF4

    rows, columns = counts.shape
    path = folder / f"gk2a_ami_le1b_{band}_fd020ge_202009050000.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("dim_image_y", rows)
        file.createDimension("dim_image_x", columns)
        image = file.createVariable("image_pixel_values", "u2", ("dim_image_y", "dim_image_x"), zlib=True)
        image.number_of_valid_bits_per_pixel = np.uint16(13)
        image.channel_name = band.upper()
        image[:] = counts
        position = file.createVariable("sc_position", "i4", ())
        position.sc_position_center_pixel = np.array([-26113466.1974, 33100139.1630, 0.0])
        header: Mapping[str, Any] = {
            "satellite_name": "GK-2A",
            "observation_mode": "FD",
            "channel_spatial_resolution": "2.0",
            "earth_equatorial_radius": 6378137.0,
            "earth_polar_radius": 6356752.3,
            "nominal_satellite_height": 42164000.0,
            "sub_longitude": np.radians(128.2),
            "number_of_columns": columns,
            "number_of_lines": rows,
            "cfac": 20425338.9 * columns / 5500,
            "lfac": -20425338.9 * rows / 5500,
            "coff": columns / 2 + 0.5,
            "loff": rows / 2 + 0.5,
            # seconds since 2000-01-01 12:00: 7552 days and 12 hours to 2020-09-05 00:00
            "observation_start_time": 7552 * 86400.0 + 43200.0 + 30,
            "observation_end_time": 7552 * 86400.0 + 43200.0 + 570,
            "DN_to_Radiance_Gain": -0.0198196,
            "DN_to_Radiance_Offset": 161.580139,
        }
        file.setncatts(dict(header) | attributes)
    return path
