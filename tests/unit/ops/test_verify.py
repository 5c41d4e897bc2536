from __future__ import annotations

import pytest

from ops.city.compare import Comparison
from ops.verify import Verified

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
        "tax.aic.t": {"expected": 1000, "found": 999, "missing": 1, "surplus": 0, "different": 0, "exact": False},
        "bank.aic.t": None,
    }
    verified.render()
    said = capsys.readouterr().out
    assert "tax.aic.t" in said
    assert "1,000" in said
    assert "not readable from here" in said
    assert "NOT EXACT: 2 subscriptions, 1,000 rows" in said
