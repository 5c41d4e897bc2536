from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pytest

from ops.proof.compare import Comparison
from ops.proof.verify import Verified
from ops.watch.flow_backlog import Backlog
from ops.watch.lag import TopicLag
from schemas.agreement.directory import Directory
from schemas.errors import Transient
from schemas.feed import FLOW_INBOX

EXACT = Comparison(expected=3, found=3, missing=0, surplus=0, different=0)
BEHIND = Comparison(expected=1_000, found=999, missing=1, surplus=0, different=0)


@pytest.mark.parametrize(
    ("comparisons", "is_exact"),
    [
        ({"a": EXACT}, True),
        ({"a": EXACT, "b": BEHIND}, False),
        ({"a": EXACT, "hook": None}, True),
        ({"hook": None}, False),
        ({}, False),
    ],
    ids=["exact", "one behind", "one unreadable", "nothing readable", "nothing at all"],
)
def test_nothing_compared_is_not_exact(comparisons: dict[str, Comparison | None], is_exact: bool) -> None:
    assert Verified(comparisons=comparisons).is_exact is is_exact
    assert Verified(comparisons=comparisons).to_json()["exact"] is is_exact


def test_the_report_names_each_subscription_with_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    verified = Verified(comparisons={"tax.aic.t": BEHIND, "bank.aic.t": None})
    assert verified.to_json()["subscriptions"] == {
        "tax.aic.t": {
            "expected": 1000,
            "found": 999,
            "missing": 1,
            "surplus": 0,
            "different": 0,
            "withdrawn": 0,
            "exact": False,
        },
        "bank.aic.t": None,
    }
    verified.render()
    said = capsys.readouterr().out
    assert "tax.aic.t" in said
    assert "1,000" in said
    assert "not readable from here" in said
    assert "NOT EXACT: 2 subscriptions, 1,000 rows" in said


class Broker:
    """Answers for the group's lag, one look after the other; None: it is too busy."""

    def __init__(self, *answers: tuple[int, float, int] | None) -> None:
        self.answers = list(answers)

    def read(self, groups: Mapping[str, Iterable[str]]) -> dict[str, dict[str, TopicLag]]:
        answer = self.answers.pop(0)
        if answer is None:
            raise Transient("too busy")
        records, seconds, confirmed = answer
        [group] = groups
        return {group: {FLOW_INBOX: TopicLag(records=records, seconds=seconds, confirmed=confirmed)}}


def test_flows_are_through_when_nothing_with_an_age_is_left() -> None:
    backlog = Backlog(
        cast("Any", Broker((9, 4.0, 100), (9, 5.0, 100), None, (2, 1.0, 107), (1, 0.0, 108))), Directory()
    )
    seen: list[tuple[int | None, bool]] = []
    for _ in range(5):
        backlog.look()
        seen.append((backlog.records, backlog.has_moved))
    assert seen == [(9, True), (9, False), (None, False), (2, True), (0, True)], "a transaction's mark is no record"
