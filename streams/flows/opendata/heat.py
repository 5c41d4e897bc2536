"""The map of a data set (区位及热度, DOMAIN K6): points in cells and in regions, in one coordinate system, none below k."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from streams.flows.opendata.catalogue import HERE, Dataset
from streams.flows.opendata.coordinates import is_inside, read_outline, to_cgcs2000
from streams.flows.opendata.group import dataset_of
from streams.operators.flow import Outcome, Row, Subject, Unfit
from streams.operators.publish import release

HEAT = "open.heat"
GUANGZHOU = read_outline(HERE / "guangzhou.csv")


def places_of(dataset: Dataset, row: Row) -> Iterable[str]:
    """The cell of a row with coordinates. Raises Unfit for an unknown system and for points elsewhere."""
    heat = dataset.heat
    if heat is None or not dataset.has(row) or row.get(heat.lon) is None or row.get(heat.lat) is None:
        return []
    crs = row.get("crs") or heat.crs  # a row's own declaration before the set's
    point = to_cgcs2000((row[heat.lon], row[heat.lat]), crs)
    if point is None:
        raise Unfit("COORDINATE_SYSTEM_UNKNOWN", "none of CGCS2000, WGS-84, GCJ-02, BD-09")
    if not is_inside(point, GUANGZHOU):
        raise Unfit("OUTSIDE_GUANGZHOU", "the point is not in the city")
    size = Decimal(heat.cell_degrees)
    column, line = (int((Decimal(str(value)) / size).to_integral_value(ROUND_FLOOR)) for value in point)
    return [f"cell:{dataset.dataset}|{column}|{line}"]


def fold_cell(subject: Subject) -> Outcome:
    """The points of one cell, moved only by differences of at least k points; every region hears of all its points."""
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
        lon, lat = (float((int(part) + Decimal("0.5")) * Decimal(heat.cell_degrees)) for part in code.split("|"))
        outcome.publish(HEAT, _row(dataset, "CELL", code, (lon, lat), len(found.rows)))
    if (change := dataset.next_change(subject.now)) is not None:
        outcome.wake(change)
    return outcome


def fold_region(subject: Subject) -> Outcome:
    """All points of a region, those in cells too small to show included, again by differences of at least k."""
    outcome = Outcome()
    dataset, code = dataset_of(subject)
    assert dataset.heat is not None
    found = release({code: subject.counts.get("points", 0)}, subject.memory, dataset.heat.k)
    if points := found.rows.get(code, 0):
        outcome.memory = {code: points}
        outcome.publish(HEAT, _row(dataset, "REGION", code, (None, None), points))
    return outcome


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
