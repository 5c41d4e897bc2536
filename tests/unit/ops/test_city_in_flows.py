"""The opening day of a small example city, told to each flow: every system has something to show, and nothing puzzles it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ops.city.chance import OPENED_AT
from ops.city.city import City
from schemas.contract import Field
from streams.flows import FLOWS
from tests.rehearsal import EPOCH, Rehearsal, city_contracts

AWAITED = {
    "quota": {"quota.review_request", "quota.verdict"},
    "tax": {"tax.warning", "tax.inbox", "tax.feedback", "tax.rule_precision"},
    "check": {"check.request", "check.statistic"},
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
}
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def city():
    made = City(5, scale=1 / 5000)
    made.settle()
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


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow.name in AWAITED], ids=lambda flow: flow.name)
def test_a_flow_understands_the_opening_day(city, contracts, flow):
    stage = Rehearsal(flow, contracts, now=OPENED_AT.isoformat())
    messages, told = [], 0
    for feed, roll in city.rolls.items():
        for row in roll if feed in stage.intake.feeds else ():
            told += 1
            columns = {field.name: raw(field, row[field.name]) for field in contracts[feed].fields}
            messages += stage.intake.messages(stage.change(feed, None, columns), contracts[feed])
    stage.deliver(messages)
    for minutes in (0, 1, 20, 21):
        stage.tick(stage.intake.clock + minutes * MINUTE)
    kinds = Counter(item["kind"] for item in stage.queue())
    assert {feed for feed in AWAITED[flow.name] if not stage.rows(feed)} == set()
    assert kinds["NOT_UNDERSTOOD"] == 0
    unfit = sum(count for kind, count in kinds.items() if not kind.startswith(("PROBABLE", "ANSWER_OVERDUE")))
    assert unfit < 0.03 * told, kinds
