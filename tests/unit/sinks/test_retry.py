"""What a lane does about errors, and when it takes a target for unwell."""

from __future__ import annotations

import pytest

from schemas.backoff import Backoff
from schemas.errors import ContractBroken, Fenced, Rejected, Transient
from sinks.lane.refusals import REFUSED_RUN_MAX, Refusals
from sinks.lane.retry import RetryDecision, RetryPolicy
from sinks.sink import Gone

POLICY = RetryPolicy(
    backoff=Backoff(first_seconds=1.0, longest_seconds=4.0, jitter=0),
    parked=Backoff(first_seconds=30.0, longest_seconds=30.0, jitter=0),
    parked_after_attempts=3,
    restarts_max=2,
)


@pytest.mark.parametrize(
    ("error", "failures", "decision"),
    [
        (Transient("no answer"), 1, RetryDecision(1.0)),
        (Transient("no answer"), 2, RetryDecision(2.0)),
        (Transient("no answer"), 9, RetryDecision(4.0, is_parked=True)),
        (Transient("busy", retry_after_seconds=7.0), 1, RetryDecision(7.0)),
        (ContractBroken("table", "has no key"), 1, RetryDecision(30.0, is_parked=True)),
        (Fenced("another process took over"), 9, RetryDecision(1.0)),
        (Gone("webhook", "answered 410"), 9, RetryDecision(1.0)),
        (KeyError("a"), 2, RetryDecision(30.0, is_parked=True)),
        (KeyError("a"), 3, RetryDecision(30.0, is_parked=True, gives_up=True)),
    ],
)
def test_an_error_decides_what_the_lane_does_next(error: Exception, failures: int, decision: RetryDecision) -> None:
    assert POLICY.decide(error, failures) == decision


def test_a_hundred_refused_in_a_row_are_the_targets_fault() -> None:
    refusals, refused = Refusals(), Rejected("http_422", "no")
    for _ in range(REFUSED_RUN_MAX):
        assert refusals.count("out.a.b", refused, "a.b") is None
    assert refusals.count("out.a.c", refused, "a.c") is None, "each is counted for itself"
    broken = refusals.count("out.a.b", refused, "a.b")
    assert broken is not None
    assert "http_422" in broken.problem
    assert "a.b --all" in broken.fix
    refusals.taken("out.a.b")
    assert refusals.count("out.a.b", refused, "a.b") is None
