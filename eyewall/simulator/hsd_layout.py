"""The Himawari Standard Format as tables: one numpy dtype per header block, and the constants of AHI band 13.

Source: JMA, "Himawari-8/9 Himawari Standard Data User's Guide", version 1.3 (3 July 2017), tables 5 and 6. Everything
is little-endian and unaligned. Blocks 8, 9 and 10 hold a repeated part between a head and a spare tail, so that their
length depends on their content; every other block has the length of its dtype.
"""

from typing import Final

import numpy as np

BASIC: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("total_number_of_header_blocks", "<u2"),
        ("byte_order", "<u1"),  # 0 little, 1 big endian
        ("satellite_name", "S16"),
        ("processing_center_name", "S16"),
        ("observation_area", "S4"),
        ("other_observation_information", "S2"),
        ("observation_timeline", "<u2"),  # hhmm of the ten-minute slot, as a number
        ("observation_start_time", "<f8"),  # modified Julian day, as all times
        ("observation_end_time", "<f8"),
        ("file_creation_time", "<f8"),
        ("total_header_length", "<u4"),
        ("total_data_length", "<u4"),
        ("quality_flags", "<u1", (4,)),
        ("file_format_version", "S32"),
        ("file_name", "S128"),
        ("spare", "S40"),
    ]
)
DATA: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("number_of_bits_per_pixel", "<u2"),
        ("number_of_columns", "<u2"),
        ("number_of_lines", "<u2"),
        ("compression_flag", "<u1"),  # of the data block: 0 none, 1 gzip, 2 bzip2
        ("spare", "S40"),
    ]
)
PROJECTION: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("sub_lon", "<f8"),
        ("cfac", "<u4"),
        ("lfac", "<u4"),
        ("coff", "<f4"),
        ("loff", "<f4"),
        ("distance_from_earth_center", "<f8"),  # km, of the virtual satellite
        ("equatorial_radius", "<f8"),  # km
        ("polar_radius", "<f8"),  # km
        ("eccentricity_squared", "<f8"),  # (req² - rpol²) / req²
        ("polar_to_equatorial_squared", "<f8"),  # rpol² / req²
        ("equatorial_to_polar_squared", "<f8"),  # req² / rpol²
        ("coefficient_for_sd", "<f8"),  # distance² - req², km²
        ("resampling_type", "<i2"),
        ("resampling_size", "<i2"),
        ("spare", "S40"),
    ]
)
NAVIGATION: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("navigation_time", "<f8"),
        ("ssp_longitude", "<f8"),
        ("ssp_latitude", "<f8"),
        ("distance_from_earth_center", "<f8"),  # km, of the real satellite
        ("nadir_longitude", "<f8"),
        ("nadir_latitude", "<f8"),
        ("sun_position", "<f8", (3,)),  # km, J2000 inertial
        ("moon_position", "<f8", (3,)),
        ("spare", "S40"),
    ]
)
CALIBRATION_INFRARED: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("band_number", "<u2"),
        ("central_wave_length", "<f8"),  # µm
        ("valid_bits_per_pixel", "<u2"),
        ("count_of_error_pixels", "<u2"),
        ("count_outside_scan", "<u2"),
        ("gain", "<f8"),  # W m⁻² sr⁻¹ µm⁻¹ per count
        ("offset", "<f8"),
        ("radiance_to_temperature", "<f8", (3,)),  # c0, c1, c2: effective temperature → brightness temperature
        ("temperature_to_radiance", "<f8", (3,)),  # C0, C1, C2: the way back
        ("speed_of_light", "<f8"),
        ("planck_constant", "<f8"),
        ("boltzmann_constant", "<f8"),
        ("spare", "S40"),
    ]
)
INTER_CALIBRATION: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("intercept", "<f8"),
        ("slope", "<f8"),
        ("quadratic_term", "<f8"),
        ("radiance_bias", "<f8"),
        ("radiance_bias_uncertainty", "<f8"),
        ("standard_scene_radiance", "<f8"),
        ("validity_start_time", "<f8"),
        ("validity_end_time", "<f8"),
        ("upper_limit", "<f4"),
        ("lower_limit", "<f4"),
        ("gsics_file_name", "S128"),
        ("spare", "S56"),
    ]
)
SEGMENT: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("total_number_of_segments", "<u1"),
        ("segment_sequence_number", "<u1"),
        ("first_line_number", "<u2"),
        ("spare", "S40"),
    ]
)
NAVIGATION_CORRECTION: Final = np.dtype(
    [
        ("header_block_number", "<u1"),
        ("block_length", "<u2"),
        ("center_column_of_rotation", "<f4"),
        ("center_line_of_rotation", "<f4"),
        ("rotation_microradian", "<f8"),
        ("number_of_corrections", "<u2"),
    ]
)
NAVIGATION_CORRECTION_ROW: Final = np.dtype([("line_number", "<u2"), ("column_shift", "<f4"), ("line_shift", "<f4")])
OBSERVATION_TIMES: Final = np.dtype(
    [("header_block_number", "<u1"), ("block_length", "<u2"), ("number_of_times", "<u2")]
)
OBSERVATION_TIME_ROW: Final = np.dtype([("line_number", "<u2"), ("observation_time", "<f8")])
ERRORS: Final = np.dtype([("header_block_number", "<u1"), ("block_length", "<u4"), ("number_of_errors", "<u2")])
ERROR_ROW: Final = np.dtype([("line_number", "<u2"), ("error_pixels", "<u2")])
SPARE: Final = np.dtype([("header_block_number", "<u1"), ("block_length", "<u2"), ("spare", "S256")])

#: Spare bytes after the repeated part of blocks 8, 9 and 10.
TAIL_BYTES: Final = 40
#: Blocks whose length never changes: number → length in bytes, as the guide prints them.
FIXED_BLOCK_LENGTHS: Final = {1: 282, 2: 50, 3: 127, 4: 139, 5: 147, 6: 259, 7: 47, 11: 259}
BLOCKS: Final = 11

#: Value of a real number that the guide leaves undefined.
UNDEFINED: Final = -1e10

# Geometry of table 3 and section 3: the normalized geostationary projection of CGMS LRIT/HRIT, 2 km at nadir.
SUB_LON_DEG: Final = 140.7
FACTOR_2KM: Final = 20466275  # CFAC and LFAC: 2¹⁶ / (degrees per pixel)
DISK_PX: Final = 5500
DISK_OFFSET: Final = 2750.5  # COFF and LOFF of the full disk, counted from 1
SATELLITE_DISTANCE_KM: Final = 42164.0
EQUATORIAL_RADIUS_KM: Final = 6378.137
POLAR_RADIUS_KM: Final = 6356.7523
ECCENTRICITY_SQUARED: Final = 0.00669438444
POLAR_TO_EQUATORIAL_SQUARED: Final = 0.993305616
EQUATORIAL_TO_POLAR_SQUARED: Final = 1.006739501
SD_COEFFICIENT_KM2: Final = 1737122264.0

# Band 13 as its files carry it (block 5).
BAND: Final = 13
WAVE_LENGTH_UM: Final = 10.4073
VALID_BITS: Final = 12
COUNT_ERROR: Final = 65535
COUNT_OUTSIDE: Final = 65534
GAIN: Final = -0.0037
OFFSET: Final = 15.20
RADIANCE_TO_TEMPERATURE: Final = (-0.116127314574, 1.00099153832, -1.76961091571e-06)
LIGHT_M_S: Final = 299792458.0
PLANCK_J_S: Final = 6.62606957e-34
BOLTZMANN_J_K: Final = 1.3806488e-23
#: Inverse of `RADIANCE_TO_TEMPERATURE`, fitted over 150–340 K; off by 2e-6 K at most.
TEMPERATURE_TO_RADIANCE: Final = (0.11609596234947761, 0.9990087619078027, 1.76895047332426e-06)
