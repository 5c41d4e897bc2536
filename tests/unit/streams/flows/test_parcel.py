"""Land-transfer payments: by event time, whatever the order in which rows come."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.change import Change
from streams.flows.inquiry.sources import cents as amount_of
from streams.flows.parcel import FLOW
from streams.flows.parcel.payment import PAYMENT, STATISTIC
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings, micros

CONTRACTS = city_contracts()
NO, USCC = "440199-2016-000001", "91440199MA00000155"
SIGNED, DUE = "2016-03-01", "2016-04-30"
SEED = 20161031
LAST_DAY, IN_GRACE, OVER = "2016-05-01", "2016-05-05", "2016-05-06"


class City:
    """A rehearsal with parcels that are sold."""

    def __init__(self) -> None:
        self.rehearsal = Rehearsal(FLOW, CONTRACTS, now=SIGNED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rehearsal, name)

    def sold(self, paid: str = "0.00", contract_no: str = NO, **columns: Any) -> Change:
        row = {
            "grantee_uscc": USCC,
            "grantee_name": "某地产",
            "parcel_no": "440106001002GB00001",
            "area_m2": cents("9.00"),
        }
        row |= {"price": cents("1000.00"), "due_date": days(DUE), "updated_at": micros(SIGNED)}
        return self.insert("land.parcel_sale", contract_no=contract_no, paid_amount=cents(paid), **(row | columns))

    def paid(self, amount: str, day: str, **columns: Any) -> Change:
        row = {"paid_amount": cents(amount), "updated_at": micros(day), **columns}
        return self.update("land.parcel_sale", {"contract_no": NO}, **row)

    @property
    def payment(self) -> dict[str, Any]:
        return dict(self.rows(PAYMENT)[NO])

    @property
    def state(self) -> str:
        return self.payment["state"]

    def statistic(self, region: str) -> dict[str, Any]:
        """A region's row, once what its contracts said at the last advance of the clock is summed."""
        self.tick(self.intake.clock + 60_000_000)
        self.check_rows()
        row = dict(self.rows(STATISTIC)[region])
        return row | {name: amount_of(row[name]) for name in row if name.endswith("_amount")}


@pytest.fixture
def city() -> City:
    return City()


def test_what_is_unpaid_at_the_end_of_its_term_and_of_grace_is_overdue(city: City) -> None:
    city.sold("400.00")
    for moment, state in ((LAST_DAY, "IN_TERM"), (IN_GRACE, "IN_TERM"), (OVER, "OVERDUE")):
        city.tick(moment)
        assert city.state == state, moment
    assert city.payment["overdue_since"] == micros(LAST_DAY)
    assert amount_of(city.payment["outstanding_amount"]) == 600_00
    assert city.payment["rule_pack"] == "parcel-2008"
    assert city.statistic("440106")["overdue_amount"] == 600_00


def test_paid_in_time_is_paid_also_where_it_is_entered_within_grace(city: City) -> None:
    city.sold()
    city.paid("1000.00", "2016-04-30")
    assert (city.state, city.payment["paid_at"], city.payment["overdue_since"]) == ("PAID", micros("2016-04-30"), None)
    city.tick("2016-12-31")
    assert city.state == "PAID"


def test_a_payment_that_is_heard_of_late_takes_back_what_was_said(city: City) -> None:
    city.sold()
    city.tick(OVER)
    assert city.state == "OVERDUE"
    city.paid("1000.00", "2016-04-29")
    assert city.state == "PAID"
    city.tick("2016-06-01")
    assert city.statistic("ALL")["overdue"] == 0


def test_paid_late_was_late(city: City) -> None:
    city.sold()
    city.tick(OVER)
    city.paid("500.00", "2016-05-20")
    assert city.state == "OVERDUE", "half of it is not all of it"
    city.paid("1000.00", "2016-06-20")
    assert (city.state, city.payment["paid_at"]) == ("PAID_LATE", micros("2016-06-20"))
    assert city.payment["overdue_since"] == micros(LAST_DAY)


def test_a_term_that_is_prolonged_is_not_over(city: City) -> None:
    city.sold()
    city.tick(OVER)
    city.paid("0.00", "2016-05-07", due_date=days("2016-07-31"))
    assert city.state == "IN_TERM"
    city.tick("2016-08-06")
    assert city.state == "OVERDUE"
    assert city.payment["overdue_since"] == micros("2016-08-01")


def test_a_payment_taken_back_is_outstanding_again(city: City) -> None:
    city.sold()
    city.paid("1000.00", "2016-04-01")
    city.paid("900.00", "2016-04-20")
    city.tick(OVER)
    assert city.state == "OVERDUE"
    assert city.payment["paid_at"] is None


def test_regions_sum_to_the_city_and_a_contract_that_goes_leaves_them(city: City) -> None:
    city.sold("1000.00")
    city.sold("250.00", "B", parcel_no="440103001002GB00002")
    city.sold("0.00", "C", parcel_no="没有编号")
    city.tick(OVER)
    whole = city.statistic("ALL")
    parts = [city.statistic(region) for region in ("440106", "440103", "000000")]
    for measure in whole.keys() - {"region"}:
        assert whole[measure] == sum(part[measure] for part in parts), measure
    assert (whole["contracts"], whole["paid"], whole["overdue"], whole["paid_amount"]) == (3, 1, 2, 1_250_00)
    city.delete("land.parcel_sale", {"contract_no": "B"})
    city.tick("2016-05-07")
    assert city.statistic("ALL")["contracts"] == 2
    assert "440103" not in city.rows(STATISTIC)
    assert [change.reason for change in city.changes_of(PAYMENT) if change.after is None] == ["SOURCE_DELETED"]


def test_doubts_wait_for_a_person(city: City) -> None:
    city.sold("1000.01", grantee_uscc=None)
    assert sorted(item["kind"] for item in city.queue()) == ["GRANTEE_UNIDENTIFIED", "PAID_ABOVE_PRICE"]
    assert amount_of(city.payment["outstanding_amount"]) == 0
    city.paid("1000.00", "2016-04-01", grantee_uscc=USCC)
    assert city.queue() == []


def test_any_interleaving_of_contracts_ends_alike() -> None:
    teller = City()
    lives = [[teller.sold("0.00", number)] for number in "AB"]
    lives.append([teller.sold("100.00"), teller.paid("1000.00", "2016-05-09"), teller.paid("999.00", "2016-05-19")])
    ends: list[Any] = []
    for merged in interleavings(lives, SEED, 12):
        city = City()
        city.take(merged)
        city.tick(OVER)
        city.tick("2016-06-01")
        ends.append((city.rows(PAYMENT), city.statistic("ALL"), city.queue()))
    assert ends[0][1]["overdue"] == 3
    assert all(end == ends[0] for end in ends), SEED
