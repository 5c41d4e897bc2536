"""Industry: how much power its enterprises use in a month, as counts in logarithmic buckets (subjects `industry:<code>|<month>`).

Counts and not a configured table: the percentile is of the enterprises that there are, follows corrections, and nobody has to
publish one each month. A bucket is 5 % wide, which is as exact as a threshold for suspicion needs to be, and makes an enterprise
one addition to one of some 700 numbers. Only who may be suspected asks for the threshold, so an industry's fan-out is small.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache

from streams.flows.tax.rules import last_moment, rule_at
from streams.operators.flow import Outcome, Subject, Tell

_USED_MAX = 10**15
_NUMERATOR, _DENOMINATOR = 21, 20  # 5 %


@cache
def _bounds() -> tuple[int, ...]:
    """The upper bounds of the buckets, inclusive: whole thousandths of a unit, each 5 % over the last."""
    found = [0]
    while found[-1] < _USED_MAX:
        found.append(max(found[-1] + 1, found[-1] * _NUMERATOR // _DENOMINATOR))
    return tuple(found)


def bucket(used: int) -> int:
    """The bucket of a month's use, thousandths of a kilowatt-hour; nothing and less is the lowest."""
    return min(bisect_left(_bounds(), used), len(_bounds()) - 1)


def fold(subject: Subject) -> Outcome:
    """Answer who asks: the bucket above which a month's use lies over the percentile; None with too few to tell."""
    outcome = Outcome()
    asked = subject.told("ask")
    if not asked:
        return outcome
    industry, _, month = subject.id.rpartition("|")
    rule = rule_at("W6", last_moment(month))
    counted = sorted((int(measure), count) for measure, count in subject.counts.items())
    total = sum(count for _, count in counted)
    threshold: int | None = None
    if rule is not None and total >= rule.values["holders_min"]:
        below = 0
        for threshold, count in counted:  # noqa: B007 - the bucket in which the percentile is reached
            below += count
            if below * 100 >= total * rule.values["percentile"]:
                break
    row = {"industry": industry, "month": month, "bucket": threshold, "holders": total}
    outcome.tells += [Tell(each["who"], "threshold", row) for each in asked]
    return outcome
