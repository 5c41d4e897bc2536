"""Map (区位热度): the eleven districts and the cells of a set as shapes of an SVG, made here: no script, no tiles.

The outlines (districts.geojson) are coarse and stem from another survey than the points: for looking, not for measuring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, radians
from pathlib import Path
from typing import Any

OUTLINES = Path(__file__).parent / "districts.geojson"
WIDTH = 640
STEPS = 5
_MARGIN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class District:
    """`path` is its outline as SVG writes it, `x` and `y` where its name stands."""

    code: str
    name: str
    path: str
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A district with its count; None is too small to show, or none. `step` is 0 for that, then 1 to STEPS."""

    district: District
    points: int | None
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A square of the map."""

    x: float
    y: float
    width: float
    height: float
    points: int
    step: int


@dataclass(frozen=True, slots=True)
class Projection:
    """Degrees to the SVG's units: as wide as WIDTH, as high as it then is at this latitude."""

    west: float
    north: float
    scale: float
    narrow: float
    height: float

    def at(self, lon: float, lat: float) -> tuple[float, float]:
        """A point."""
        return (
            round((lon - self.west) * self.narrow * self.scale, 1),
            round((self.north - lat) * self.scale, 1),
        )


@cache
def _outlines() -> Sequence[tuple[str, str, Sequence[tuple[float, float]]]]:
    found = json.loads(OUTLINES.read_text("utf-8"))["features"]
    return [
        (each["id"], each["properties"]["name"], [(lon, lat) for lon, lat in each["geometry"]["coordinates"][0]])
        for each in found
    ]


@cache
def projection() -> Projection:
    """Of the whole city."""
    points = [point for _, _, outline in _outlines() for point in outline]
    lons, lats = [lon for lon, _ in points], [lat for _, lat in points]
    west, east = min(lons) - _MARGIN, max(lons) + _MARGIN
    south, north = min(lats) - _MARGIN, max(lats) + _MARGIN
    narrow = cos(radians((south + north) / 2))
    scale = WIDTH / ((east - west) * narrow)
    return Projection(west, north, scale, narrow, round((north - south) * scale, 1))


@cache
def districts() -> Sequence[District]:
    """The districts, by code."""
    to = projection()
    made: list[District] = []
    for code, name, outline in _outlines():
        corners = " ".join(f"{x:g},{y:g}" for x, y in (to.at(lon, lat) for lon, lat in outline))
        x, y = to.at(*_centre(outline))
        made.append(District(code=code, name=name, path=f"M{corners}Z", x=x, y=y))
    return made


def _centre(outline: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The centre of gravity of an area."""
    doubled = lon = lat = 0.0
    for (lon_a, lat_a), (lon_b, lat_b) in zip(outline, [*outline[1:], outline[0]], strict=True):
        cross = lon_a * lat_b - lon_b * lat_a
        doubled += cross
        lon += (lon_a + lon_b) * cross
        lat += (lat_a + lat_b) * cross
    return lon / (3 * doubled), lat / (3 * doubled)


@cache
def names() -> Mapping[str, str]:
    """The districts' names by code."""
    return {each.code: each.name for each in districts()}


def shades(regions: Sequence[Mapping[str, Any]]) -> list[Shade]:
    """Every district, by what the set's map says of it."""
    points = {each["region"]: each["points"] for each in regions}
    most = max(points.values(), default=0)
    return [
        Shade(district=each, points=points.get(each.code), step=_step(points.get(each.code), most))
        for each in districts()
    ]


def cells(told: Sequence[Mapping[str, Any]]) -> list[Cell]:
    """The cells of a set's map; each says its own size."""
    to, most = projection(), max((each["points"] for each in told), default=0)
    made: list[Cell] = []
    for each in sorted(told, key=lambda cell: -float(cell["degrees"])):  # small ones above those that they lie in
        side = float(each["degrees"])
        x, y = to.at(each["lon"] - side / 2, each["lat"] + side / 2)
        right, bottom = to.at(each["lon"] + side / 2, each["lat"] - side / 2)
        made.append(
            Cell(
                x=x,
                y=y,
                width=round(right - x, 1),
                height=round(bottom - y, 1),
                points=each["points"],
                step=_step(each["points"], most),
            )
        )
    return made


def _step(points: int | None, most: int) -> int:
    """By the root of the count, so that one crowded place does not make all others pale alike."""
    return 0 if not points else max(1, round(STEPS * (points / most) ** 0.5))
