"""Coordinate systems (坐标系): everything on the map is CGCS2000 (GB 22021), whatever a department declares.

| system          | relation                                                                                        |
|-----------------|-------------------------------------------------------------------------------------------------|
| CGCS2000, WGS-84 | the same to within a few centimetres: taken as equal                                             |
| GCJ-02          | WGS-84 with a smooth offset of some hundred metres, as public maps must use                        |
| BD-09           | GCJ-02 with a further offset of one map provider                                                  |

The two offsets have closed forms one way only; the way back is found by repeated correction, to about a millimetre.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from math import atan2, cos, hypot, pi, radians, sin, sqrt
from pathlib import Path

Point = tuple[float, float]
"""Longitude and latitude, degrees."""

_AXIS = 6378245.0  # Krasovsky 1940, on which GCJ-02 is defined; metres
_ECCENTRICITY_SQUARED = 0.00669342162296594323
_TURN = pi * 3000.0 / 180.0  # of the BD-09 offset
_ROUNDS = 10


def to_gcj02(point: Point) -> Point:
    """WGS-84 or CGCS2000 to GCJ-02."""
    lon, lat = point
    x, y = lon - 105.0, lat - 35.0
    short = (20.0 * sin(6.0 * x * pi) + 20.0 * sin(2.0 * x * pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + short
    north += (20.0 * sin(y * pi) + 40.0 * sin(y / 3.0 * pi)) * 2.0 / 3.0
    north += (160.0 * sin(y / 12.0 * pi) + 320.0 * sin(y * pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + short
    east += (20.0 * sin(x * pi) + 40.0 * sin(x / 3.0 * pi)) * 2.0 / 3.0
    east += (150.0 * sin(x / 12.0 * pi) + 300.0 * sin(x / 30.0 * pi)) * 2.0 / 3.0
    bend = 1.0 - _ECCENTRICITY_SQUARED * sin(radians(lat)) ** 2
    metres_north = _AXIS * (1.0 - _ECCENTRICITY_SQUARED) / (bend * sqrt(bend)) * pi / 180.0
    metres_east = _AXIS / sqrt(bend) * cos(radians(lat)) * pi / 180.0
    return lon + east / metres_east, lat + north / metres_north


def gcj02_to_bd09(point: Point) -> Point:
    """GCJ-02 to BD-09."""
    lon, lat = point
    radius = hypot(lon, lat) + 0.00002 * sin(lat * _TURN)
    angle = atan2(lat, lon) + 0.000003 * cos(lon * _TURN)
    return radius * cos(angle) + 0.0065, radius * sin(angle) + 0.006


def _back(forward: Callable[[Point], Point], target: Point) -> Point:
    """The point that `forward` moves to the target."""
    lon, lat = target
    for _ in range(_ROUNDS):
        moved = forward((lon, lat))
        lon, lat = lon + target[0] - moved[0], lat + target[1] - moved[1]
    return lon, lat


def from_gcj02(point: Point) -> Point:
    """GCJ-02 to CGCS2000."""
    return _back(to_gcj02, point)


def from_bd09(point: Point) -> Point:
    """BD-09 to CGCS2000."""
    return from_gcj02(_back(gcj02_to_bd09, point))


_TO_CGCS2000: Mapping[str, Callable[[Point], Point]] = {
    "CGCS2000": lambda point: point,
    "WGS-84": lambda point: point,
    "GCJ-02": from_gcj02,
    "BD-09": from_bd09,
}


def to_cgcs2000(point: Point, crs: str) -> Point | None:
    """A point of a declared system in CGCS2000; None for a system that is not one of the four."""
    convert = _TO_CGCS2000.get(crs)
    return None if convert is None else convert(point)


def read_outline(path: Path) -> Sequence[Point]:
    """Corners of an area, in order, in CGCS2000."""
    lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [(float(line["lon"]), float(line["lat"])) for line in lines]


def is_inside(point: Point, outline: Sequence[Point]) -> bool:
    """Whether a point lies in an area: a ray to the east crosses its edge an odd number of times."""
    lon, lat = point
    inside = False
    for (lon_a, lat_a), (lon_b, lat_b) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if (lat_a > lat) != (lat_b > lat) and lon < lon_a + (lat - lat_a) / (lat_b - lat_a) * (lon_b - lon_a):
            inside = not inside
    return inside
