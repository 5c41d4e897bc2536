"""The map of a data set (区位及热度, HANDBOOK K6): points in cells and in regions, in one coordinate system, none below k.

Where a cell has too few points, the area that it lies in, AREA_CELLS cells wide and high, shows them with those of its other
such cells: so a thinly settled part of the map, or a small set, is coarse but not empty. A point is so shown once, but for
differences that are held for being small; nothing of a small cell can be had by subtraction.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from streams.flows.opendata.catalogue import HERE, Dataset
from streams.flows.opendata.coordinates import is_inside, read_outline, to_cgcs2000
from streams.flows.opendata.group import dataset_of
from streams.operators.flow import Outcome, RejectedRow, Row, Subject
from streams.operators.publish import release, suppress

HEAT = "open.heat"
AREA_CELLS = 5
GUANGZHOU = read_outline(HERE / "guangzhou.csv")


def places_of(dataset: Dataset, row: Row) -> Iterable[str]:
    """The cell of a row with coordinates. Raises RejectedRow for an unknown system and for points elsewhere."""
    heat = dataset.heat
    if heat is None or not dataset.has(row) or row.get(heat.lon) is None or row.get(heat.lat) is None:
        return []
    crs = row.get("crs") or heat.crs  # a row's own declaration before the set's
    point = to_cgcs2000((row[heat.lon], row[heat.lat]), crs)
    if point is None:
        raise RejectedRow("COORDINATE_SYSTEM_UNKNOWN", "none of CGCS2000, WGS-84, GCJ-02, BD-09")
    if not is_inside(point, GUANGZHOU):
        raise RejectedRow("OUTSIDE_GUANGZHOU", "the point is not in the city")
    size = Decimal(heat.cell_degrees)
    column, line = (int((Decimal(str(value)) / size).to_integral_value(ROUND_FLOOR)) for value in point)
    return [f"cell:{dataset.dataset}|{column}|{line}"]


def fold_cell(subject: Subject) -> Outcome:
    """The points of one cell, moved only by differences of at least k points; every region hears of all its points.

    The area hears of the points of a cell that shows none.
    """
    outcome = Outcome()
    dataset, code = dataset_of(subject)
    heat = dataset.heat
    assert heat is not None
    facts = subject.of(dataset.feed) if dataset.is_open_at(subject.now) else []
    for region, count in Counter(fact.row[heat.region] for fact in facts if fact.row is not None).items():
        outcome.counts[f"region:{dataset.dataset}|{region}", "points"] = count
    found = release(
        dict.fromkeys((fact.row_id for fact in facts), 1),
        dict.fromkeys(subject.memory.get("points", ()), 1),
        heat.k,
    )
    if found.rows:
        outcome.memory = {"points": sorted(found.rows)}
        outcome.publish(HEAT, _row(dataset, "CELL", code, _centre(code, Decimal(heat.cell_degrees)), len(found.rows)))
    elif facts:
        place = "|".join(str(int(part) // AREA_CELLS) for part in code.split("|"))
        outcome.counts[f"area:{dataset.dataset}|{place}", "points"] = len(facts)
    if (change := dataset.next_change(subject.now)) is not None:
        outcome.wake(change)
    return outcome


def fold_area(subject: Subject) -> Outcome:
    """The points of an area's cells that are too small to show, again by differences of at least k."""
    dataset, code = dataset_of(subject)
    assert dataset.heat is not None
    return _summed(subject, "AREA", _centre(code, Decimal(dataset.heat.cell_degrees) * AREA_CELLS))


def fold_region(subject: Subject) -> Outcome:
    """All points of a region, those in cells too small to show included, again by differences of at least k."""
    return _summed(subject, "REGION", (None, None))


def districts(dataset: Dataset, cells: Mapping[str, int]) -> list[dict[str, Any]]:
    """The map of a set without coordinates: its published rows by district (value as JSON → rows), none below k."""
    assert dataset.heat is not None
    shown = {json.loads(value): count for value, count in suppress(cells, dataset.heat.k).items() if count}
    return [
        _row(dataset, "REGION", region, (None, None), count) for region, count in shown.items() if region is not None
    ]


def _summed(subject: Subject, level: str, centre: tuple[float | None, float | None]) -> Outcome:
    outcome = Outcome()
    dataset, code = dataset_of(subject)
    assert dataset.heat is not None
    found = release({code: subject.counts.get("points", 0)}, subject.memory, dataset.heat.k)
    if points := found.rows.get(code, 0):
        outcome.memory = {code: points}
        outcome.publish(HEAT, _row(dataset, level, code, centre, points))
    return outcome


def _centre(code: str, size: Decimal) -> tuple[float, float]:
    lon, lat = (float((int(part) + Decimal("0.5")) * size) for part in code.split("|"))
    return lon, lat


def _row(
    dataset: Dataset, level: str, place: str, centre: tuple[float | None, float | None], points: int
) -> dict[str, Any]:
    return {
        "dataset": dataset.dataset,
        "level": level,
        "place": place,
        "lon": centre[0],
        "lat": centre[1],
        "crs": "CGCS2000",
        "points": points,
    }
