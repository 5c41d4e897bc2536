"""The opening day of a small example city, told to each flow: every system has something to show, and nothing puzzles it.

Once where the commits are of the city's own time, as in a city of today, and once as in the demo, whose city lives in 2016 while
its commits are of today. In both, deadlines come, and everything that a flow writes is of the one calendar.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ops.city.chance import OPENED_AT
from ops.city.city import City
from ops.city.opening_day import settle
from schemas.contract import Field
from streams.flows import FLOWS
from tests.stage.rehearsal import EPOCH, Rehearsal, city_contracts, micros

AWAITED = {
    "quota": {"quota.review_request", "quota.verdict"},
    "tax": {"tax.warning", "tax.inbox", "tax.feedback", "tax.rule_precision"},
    "check": {"check.request", "check.report", "check.statistic"},
    "registration": {"registration.push", "registration.claim", "registration.disclosure", "registration.topic"},
    "credit": {
        "credit.enterprise",
        "credit.person",
        "credit.view_public",
        "credit.joint_punishment",
        "credit.objection",
    },
    "certificate": {"certificate.status", "certificate.use", "certificate.type_register"},
    "person": {"base.person", "base.person_event", "base.identifier"},
    "organisation": {"base.organisation", "base.uscc_coverage"},
    "housing": {"housing.verdict"},
    "statistics": {"city.statistic"},
    "open": {"open.dataset", "open.profile", "open.heat"},
    "parcel": {"parcel.payment", "parcel.statistic"},
    "estate": {"estate.index"},
}
MINUTE = 60_000_000
DAY = 24 * 60 * MINUTE
COMMITTED = "2071-06-15"
"""When the demo's commits are made: a year that no row of the city speaks of."""
UNHEARD = range(micros("2071-01-01"), micros("2073-01-01"))


@pytest.fixture(scope="module")
def city():
    made = City(5, scale=1 / 5000)
    settle(made)
    return made


@pytest.fixture(scope="module")
def contracts():
    return city_contracts()


def raw(field: Field, value: object) -> object:
    """A column's value as Avro carries it."""
    if isinstance(value, datetime):
        since = value.replace(tzinfo=value.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return round(since.total_seconds() * 1_000_000)
    if isinstance(value, date):
        return (value - EPOCH).days
    if field.logical_type == "decimal" and value is not None:
        number = int(Decimal(str(value)).scaleb(field.branches[0]["scale"]))
        return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)
    return value


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
@pytest.mark.parametrize("is_replay", [False, True], ids=["commits", "dates"])
def test_a_flow_understands_the_opening_day(city, contracts, flow, is_replay):
    stage = Rehearsal(flow, contracts, now=COMMITTED if is_replay else OPENED_AT.isoformat(), is_replay=is_replay)
    messages, told = [], 0
    for feed, roll in city.rolls.items():
        for row in roll if feed in stage.intake.feeds else ():
            told += 1
            columns = {field.name: raw(field, row[field.name]) for field in contracts[feed].fields}
            messages += stage.intake.messages(stage.change(feed, None, columns), contracts[feed])
    stage.deliver(messages)
    opened_at = stage.intake.clock
    behind = 60 * DAY if flow.name == "parcel" else 2 * DAY  # a flow of a few rows is as late as the newest of them
    assert -2 * DAY < micros(OPENED_AT.isoformat()) - opened_at < behind
    for later in (0, MINUTE, 20 * MINUTE, 21 * MINUTE, 30 * DAY, 30 * DAY + MINUTE):
        stage.tick(opened_at + later)
    kinds = Counter(item["kind"] for item in stage.queue())
    assert {feed for feed in AWAITED[flow.name] if not stage.rows(feed)} == set()
    assert kinds["NOT_UNDERSTOOD"] == 0
    unfit = sum(count for kind, count in kinds.items() if not kind.startswith(("PROBABLE", "ANSWER_OVERDUE")))
    assert unfit < 0.03 * told, kinds
    of_commits = {(change.feed, place) for change in stage.history for place in foreign(change.after)}
    assert not of_commits, "a row of the city's calendar bears a time of the commits'"


def foreign(value: Any, place: str = "") -> Iterator[str]:
    """Where in a row a moment of the commits' time stands, in micro- or milliseconds or days."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from foreign(inner, f"{place}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from foreign(inner, place)
    elif isinstance(value, int) and any(value * unit in UNHEARD for unit in (1, 1_000, DAY)):
        yield place
