"""What an infrared imager sees of a simulated storm: brightness temperature as a function of place and time.

Layers from the sea up: sea, low cloud, scattered convection, spiral bands, outflow cirrus, central dense overcast, eye.
Each has an opacity 0–1 and a cloud-top temperature, and is laid over what is below. Shapes follow Dvorak (1984, NOAA
Technical Report NESDIS 11): bands that wind up and an overcast that grows and cools as the wind rises, an eye above
about 65 kt, and outflow that opens towards the upper trough. That last sign is where the hidden steering shows: the
plume points along `Storm.outlook_m_s` and is the longer and thicker the stronger that is; the overcast is drawn out
the same way; the bands turn with `Storm.wave_phase_rad`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eyewall.besttrack.sphere import EARTH_RADIUS_KM
from eyewall.simulator import texture
from eyewall.simulator.texture import Array

_KM_PER_DEG = np.pi * EARTH_RADIUS_KM / 180
_KM_PER_TEXEL = 4.0


@dataclass(frozen=True)
class View:
    """One storm at one moment, as far as its clouds tell.

    ``hour`` counts from genesis; ``outlook_m_s`` is east + i north; ``seed`` names its cloud texture.
    """

    lat_deg: float
    lon_deg: float
    wind_kt: float
    hour: float
    outlook_m_s: complex
    wave_phase_rad: float
    utc_hour: float
    seed: int


def _ramp(value: Array, low: float, high: float) -> Array:
    """0 below ``low``, 1 above ``high``, smooth between."""
    x = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x), dtype=np.float32)


def _over(below_k: Array, opacity: Array, top_k: npt.ArrayLike) -> Array:
    """A cloud layer with its tops at ``top_k`` laid over what is below."""
    return np.asarray(below_k + opacity * (np.asarray(top_k, dtype=np.float32) - below_k), dtype=np.float32)


def _sea_k(lat_deg: Array, utc_hour: float, lon_deg: float) -> Array:
    """Sea seen through the humid air above it, with a faint diurnal wave of the skin."""
    local = 2 * np.pi * (utc_hour + lon_deg / 15 - 14) / 24
    poleward = np.maximum(np.abs(lat_deg) - 8, 0)
    return np.asarray(296.0 - 0.012 * poleward**1.9 + 0.3 * np.cos(local), dtype=np.float32)


def brightness_temperature_k(lat_deg: npt.ArrayLike, lon_deg: npt.ArrayLike, view: View) -> Array:
    """Brightness temperature near 10.4 µm, K, at places [y, x]; NaN where a place is NaN. Deterministic."""
    lat = np.asarray(lat_deg, dtype=np.float32)
    lon = np.asarray(lon_deg, dtype=np.float32)
    off_disk = ~(np.isfinite(lat) & np.isfinite(lon))
    if off_disk.any():
        lat, lon = (np.where(off_disk, np.float32(c), v) for c, v in ((view.lat_deg, lat), (view.lon_deg, lon)))
    shrink = np.float32(np.cos(np.radians(view.lat_deg)))
    east = (lon - np.float32(view.lon_deg)) * shrink * np.float32(_KM_PER_DEG)
    north = (lat - np.float32(view.lat_deg)) * np.float32(_KM_PER_DEG)
    bt_k = _scene(lat, east, north, view)
    bt_k[off_disk] = np.nan
    return bt_k


def _scene(lat: Array, east: Array, north: Array, view: View) -> Array:
    field = texture.tile(view.seed)
    strength = float(np.clip((view.wind_kt - 20.0) / 90.0, 0.0, 1.0))
    radius = np.sqrt(east * east + north * north) + np.float32(1.0)
    angle = np.arctan2(north, east)

    # Texture is carried with the mean flow, and around the centre the faster the closer to it.
    drift = 18.0 * view.hour
    swirl = np.float32(0.9) / (1 + (radius / 260.0) ** 2)
    cos_s, sin_s = np.cos(swirl), np.sin(swirl)
    turned_e, turned_n = east * cos_s - north * sin_s, east * sin_s + north * cos_s
    coarse = texture.sample(field, (turned_n + 0.3 * drift) / _KM_PER_TEXEL, (turned_e + drift) / _KM_PER_TEXEL,
                            view.hour / 9)  # fmt: skip
    fine = texture.sample(field, turned_n / 1.7 + 77, (turned_e + 1.4 * drift) / 1.7 + 131, view.hour / 3)

    bt = _sea_k(lat, view.utc_hour, view.lon_deg)
    bt = _over(bt, 0.75 * _ramp(fine + 0.4 * coarse, 0.3, 2.0), 283.0)
    bt = _over(bt, _ramp(0.75 * coarse + 0.5 * fine, 1.3, 2.1), 222.0 + 9.0 * fine)
    bt = _bands(bt, radius, angle, coarse, fine, strength, view)
    bt = _outflow(bt, radius, angle, coarse, field, strength, view)
    bt = _overcast(bt, east, north, radius, coarse, fine, strength, view)
    return np.clip(_eye(bt, radius, fine, view), 180.0, 305.0)


def _bands(bt: Array, radius: Array, angle: Array, coarse: Array, fine: Array, strength: float, view: View) -> Array:
    """Two logarithmic spirals that wind up as the storm grows, broken up by the texture."""
    pitch = np.radians(24.0 - 10.0 * strength)
    spiral = 2 * (angle + np.log(radius / 100.0) / np.tan(pitch)) - view.wave_phase_rad
    crest = (0.5 + 0.5 * np.cos(spiral + 0.5 * coarse)) ** 1.5
    envelope = np.exp(-(((radius - 190.0) / (190.0 + 110.0 * strength)) ** 2))
    opacity = _ramp(1.5 * crest * envelope + 0.17 * coarse + 0.16 * fine, 0.45, 1.15)
    return _over(bt, 0.95 * opacity, 224.0 + 7.0 * fine + 0.035 * np.minimum(radius, 600.0))


def _outflow(
    bt: Array, radius: Array, angle: Array, coarse: Array, field: npt.NDArray[np.complex64], strength: float, view: View
) -> Array:  # fmt: skip
    """Cirrus: a thin shield all round, and the plume along the outlook, streaked by the outflow."""
    towards = float(np.angle(view.outlook_m_s))
    push = float(np.clip(abs(view.outlook_m_s) / 6.0, 0.0, 1.3))
    # Outflow turns clockwise on its way out; the streaks follow it, and whole turns keep them seamless.
    curled = angle + np.float32(0.75) * np.log(radius / 150.0)
    along = np.cos(angle + np.float32(0.25) * np.log(radius / 150.0) - np.float32(towards))
    streaks = texture.sample(field, radius / 11.0 + view.hour, curled * np.float32(texture.SIZE / (2 * np.pi)), 1.0)
    reach = 190.0 + 100.0 * strength + 560.0 * push * np.maximum(along, 0.0) ** 1.5
    opacity = _ramp(1.2 - radius / reach + 0.16 * streaks + 0.07 * coarse, 0.0, 1.0)
    return _over(bt, 0.9 * opacity, 234.0 - 8.0 * strength + 4.0 * streaks + 0.02 * np.minimum(radius, 800.0))


def _overcast(
    bt: Array, east: Array, north: Array, radius: Array, coarse: Array, fine: Array, strength: float, view: View
) -> Array:
    """The central dense overcast: round and cold for strong storms, ragged and pushed aside for weak ones."""
    towards = np.exp(1j * np.angle(view.outlook_m_s))
    push = float(np.clip(abs(view.outlook_m_s) / 6.0, 0.0, 1.3))
    shift = 45.0 * push * (1.15 - strength)
    e, n = east - np.float32(shift * towards.real), north - np.float32(shift * towards.imag)
    along = e * np.float32(towards.real) + n * np.float32(towards.imag)
    across = n * np.float32(towards.real) - e * np.float32(towards.imag)
    stretch = 1.0 + 0.25 * push
    size = 95.0 + 105.0 * strength
    distance = np.sqrt((along / stretch) ** 2 + across**2) / size
    ragged = (0.30 - 0.20 * strength) * coarse + 0.05 * fine
    opacity = 1 - _ramp(distance + ragged, 0.72, 1.12)
    top = 209.0 - 13.0 * strength + 14.0 * np.minimum(distance, 1.2) ** 2 + (2.0 + 4.0 * (1 - strength)) * fine
    return _over(bt, opacity, top)


def _eye(bt: Array, radius: Array, fine: Array, view: View) -> Array:
    """A warm eye that clears between 60 and 90 kt and shrinks as it does."""
    clear = float(np.clip((view.wind_kt - 60.0) / 30.0, 0.0, 1.0))
    if clear == 0.0:
        return bt
    eye_km = 27.0 - 12.0 * clear
    opacity = 1 - _ramp(radius + 2.5 * fine, 0.65 * eye_km, 1.35 * eye_km)
    return _over(bt, (0.35 + 0.65 * clear) * opacity, 250.0 + 38.0 * clear)
