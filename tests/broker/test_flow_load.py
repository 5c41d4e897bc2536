"""The flows at the loads that the handbook names, on the real broker."""

from __future__ import annotations

import time

import pytest

from streams.flows.quota import FLOW
from tests.stage.broker_rehearsal import BrokerRehearsal
from tests.stage.rehearsal import city_contracts
from tests.unit.streams.flows import test_quota as quota

APPLICATIONS = 3_000
PEAK_A_MINUTE = 10_000 * (1 + len(quota.AGENCIES))


def test_e9_the_cutoff_peak_of_10_000_applications_a_minute_and_their_seven_answers(
    rehearsal: type[BrokerRehearsal], capsys: pytest.CaptureFixture[str]
) -> None:
    city = rehearsal(FLOW, city_contracts(), now="2016-10-01")
    codes = [quota.apply(city, number) for number in range(1, APPLICATIONS + 1)]
    for code in codes:
        quota.pass_all(city, code)
    started, processor = time.perf_counter(), time.process_time()
    verdicts = city.rows("quota.verdict")
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    assert len(verdicts) == APPLICATIONS
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"VALID"}
    changes, peak = APPLICATIONS * (1 + len(quota.AGENCIES)), PEAK_A_MINUTE / 60
    with capsys.disabled():
        print(f"\n  {changes / seconds:,.0f} changes/s of the quota flow; the peak is {peak:,.0f}/s")  # noqa: T201
    assert changes / processor > peak, "on a core of its own: other tests run beside this one"
