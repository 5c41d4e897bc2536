"""Series: the rows of `city.statistic` (城市运行统计), from what the subjects have entered.

Cells with nothing in them have no row. Figures are exact: what is published beyond the government is suppressed where it is
published (HANDBOOK K2, K4).
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.dated.calendar import day_at, day_number
from schemas.dated.configuration import midnight
from streams.flows.regions import city_regions
from streams.flows.statistics.place import AS_THEN
from streams.flows.statistics.settings import SETTINGS, first_day_after, month_after, month_of, months_before
from streams.operators.flow import Outcome, Row, Subject

STATISTIC = "city.statistic"


def stock(subject: Subject) -> Outcome:
    """Fold of one cell of a stock: its figure at the end of each year that is over, and of each of the last months.

    The present month has the figure of now.
    """
    outcome = Outcome()
    scheme, statistic, region, group = subject.id.split("|", 3)
    if not subject.counts:
        return outcome
    today = day_at(subject.now)
    present = month_of(today)
    month, last, figure = min(subject.counts), max(present, *subject.counts), 0
    shown_from = months_before(present, SETTINGS.stock_months - 1)
    while month <= last:
        figure += subject.counts.get(month, 0)
        ends = first_day_after(month) - 1
        if figure and month.endswith("-12") and month < present:
            outcome.publish(STATISTIC, _row(scheme, statistic, region, month[:4], group, figure, ends, today))
        if figure and month >= shown_from:
            outcome.publish(STATISTIC, _row(scheme, statistic, region, month, group, figure, ends, today))
        month = month_after(month)
    outcome.wake(midnight(first_day_after(last)))
    _wake_at_change(scheme, today, outcome)
    return outcome


def flow(subject: Subject) -> Outcome:
    """Fold of one cell of a flow in one year: its figure for each day."""
    outcome = Outcome()
    scheme, statistic, region, rest = subject.id.split("|", 3)
    group = rest.rpartition("|")[0]
    today = day_at(subject.now)
    for day, figure in _ordered(subject.counts.items()):
        outcome.publish(STATISTIC, _row(scheme, statistic, region, day, group, figure, day_number(day), today))
    if subject.counts:
        _wake_at_change(scheme, today, outcome)
    return outcome


def _ordered(counts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted((period, count) for period, count in counts if count)


def _wake_at_change(scheme: str, today: int, outcome: Outcome) -> None:
    change = city_regions().next_change(today)
    if scheme != AS_THEN and change is not None:
        outcome.wake(midnight(change))


def _row(scheme: str, statistic: str, region: str, period: str, group: str, figure: int, ends: int, today: int) -> Row:
    since = city_regions().current_since(today)
    return {
        "statistic": statistic,
        "region_scheme": scheme,
        "region": region,
        "period": period,
        "group": group,
        "value": figure,
        "unit": SETTINGS.statistics[statistic].unit,
        "population": SETTINGS.statistics[statistic].population,
        "region_as_of": ends if scheme == AS_THEN else since,
    }
