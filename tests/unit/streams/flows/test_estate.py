"""Real-estate early warning: months are judged when they are over, against those before, and told anew when sales come late."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.change import Change
from streams.flows.estate import FLOW
from streams.flows.estate.market import INDEX, WARNING
from streams.flows.inquiry.sources import cents as amount_of
from tests.stage.rehearsal import Rehearsal, cents, city_contracts, days, interleavings

CONTRACTS = city_contracts()
START, SEED = "2016-01-01", 20161031
JANUARY_OVER, FEBRUARY_OVER, MARCH_OVER = "2016-02-11", "2016-03-11", "2016-04-11"


class City:
    """A rehearsal with homes of 100 m2 that are sold; each sale is of another home."""

    def __init__(self, now: str = START) -> None:
        self.rehearsal = Rehearsal(FLOW, CONTRACTS, now=now)
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rehearsal, name)

    def tick(self, moment: str) -> None:
        """Advance the clock, and once more: a district hears of what its units said at the first."""
        self.rehearsal.tick(moment)
        self.rehearsal.tick(self.intake.clock + 60_000_000)

    def home(self, unit_no: str, **columns: Any) -> Change:
        row = {"usage": "RESIDENTIAL", "area_m2": cents("100.00"), "region": "440106", **columns}
        return self.insert("land.property", unit_no=unit_no, **row)

    def contract(self, unit_no: str, price: str, day: str) -> Change:
        row = {"unit_no": unit_no, "price": cents(price), "signed_date": days(day)}
        return self.insert("land.property_sale", contract_no=f"F{unit_no}", **row)

    def sold(self, number: int, price: str, day: str, **columns: Any) -> list[Change]:
        """So many homes at one price on one day."""
        changes: list[Change] = []
        for _ in range(number):
            self.count += 1
            unit_no = f"U{self.count}"
            changes += [self.home(unit_no, **columns), self.contract(unit_no, price, day)]
        return changes

    def index(self, period: str, region: str = "440106") -> dict[str, Any]:
        row = dict(self.rows(INDEX)[f"{region}|{period}"])
        decimals = ("area_m2", "amount", "mean_price")
        return row | {name: None if row[name] is None else amount_of(row[name]) for name in decimals}

    @property
    def warned(self) -> set[str]:
        """What stands of the district, as period and kind."""
        self.check_rows()
        return {f"{row['period']} {row['kind']}" for row in self.rows(WARNING).values() if row["region"] == "440106"}


@pytest.fixture
def city() -> City:
    return City()


def test_a_month_has_a_mean_price_of_what_can_be_measured(city: City) -> None:
    city.sold(5, "1000000.00", "2016-01-05")
    city.sold(1, "9000000.00", "2016-01-06", area_m2=cents("0.00"))
    city.sold(2, "9000000.00", "2016-01-06", usage="OFFICE")
    city.tick("2016-01-20")
    index = city.index("2016-01")
    assert (index["sales"], index["measured_sales"], index["is_over"]) == (6, 5, False)
    assert (index["area_m2"], index["amount"], index["mean_price"]) == (500_00, 5_000_000_00, 10_000_00)
    assert city.index("2016-01", "ALL") == {**index, "region": "ALL"}
    city.tick(JANUARY_OVER)
    assert city.index("2016-01")["is_over"]


def test_the_mean_of_a_few_is_not_shown(city: City) -> None:
    city.sold(4, "1000000.00", "2016-01-05")
    city.tick(JANUARY_OVER)
    index = city.index("2016-01")
    assert (index["sales"], index["mean_price"], index["amount"], index["area_m2"]) == (4, None, None, None)
    city.sold(1, "1000000.00", "2016-01-05")
    city.tick("2016-02-12")
    assert city.index("2016-01")["mean_price"] == 10_000_00


@pytest.mark.parametrize(
    ("price", "number", "expected"),
    [
        ("1090000.00", 5, set()),
        ("1100000.00", 5, {"2016-02 PRICE_RISING"}),
        ("900000.00", 5, {"2016-02 PRICE_FALLING"}),
        ("1000000.00", 8, {"2016-02 SALES_RISING"}),
        ("2000000.00", 3, {"2016-02 SALES_FALLING"}),
    ],
)
def test_a_month_beyond_a_limit_is_warned_of_once_it_is_over(
    city: City, price: str, number: int, expected: set[str]
) -> None:
    city.sold(5, "1000000.00", "2016-01-05")
    city.sold(number, price, "2016-02-05")
    city.tick("2016-03-10")
    assert city.warned == set(), "sales of February may still be under way"
    city.tick(FEBRUARY_OVER)
    assert city.warned == expected


def test_a_warning_says_what_it_was_judged_by(city: City) -> None:
    city.sold(5, "1000000.00", "2016-01-05")
    city.sold(5, "1200000.00", "2016-02-05")
    city.sold(5, "1430000.00", "2016-03-05")
    city.tick(MARCH_OVER)
    row = city.rows(WARNING)["440106|2016-03|PRICE_RISING"]
    assert amount_of(row["value"]) == 14_300_00
    assert amount_of(row["reference"]) == 11_000_00
    assert (row["reference_periods"], amount_of(row["change_percent"]), row["limit_percent"]) == (
        ["2016-01", "2016-02"],
        30_00,
        10,
    )


def test_a_month_without_a_sale_is_a_fall_while_there_is_a_reference(city: City) -> None:
    city.sold(5, "1000000.00", "2016-01-05")
    for moment in (FEBRUARY_OVER, MARCH_OVER, "2016-05-11", "2016-06-11", "2016-12-01"):
        city.tick(moment)
    assert city.warned == {f"2016-0{month} SALES_FALLING" for month in (2, 3, 4)}
    assert "440106|2016-02" not in city.rows(INDEX)


def test_a_sale_that_comes_late_takes_its_warning_back(city: City) -> None:
    city.sold(5, "1000000.00", "2016-01-05")
    city.sold(3, "1000000.00", "2016-02-05")
    city.tick(FEBRUARY_OVER)
    assert city.warned == {"2016-02 SALES_FALLING"}
    city.sold(1, "1000000.00", "2016-02-25")
    city.tick("2016-03-12")
    assert city.warned == set()
    gone = [change.reason for change in city.changes_of(WARNING) if change.after is None]
    assert gone
    assert set(gone) == {"RETRACTED"}


def test_a_sale_of_an_unknown_unit_is_asked_about_until_the_unit_is_there(city: City) -> None:
    city.contract("U", "1000000.00", "2016-01-05")
    city.tick("2016-01-14")
    assert city.queue() == []
    city.tick("2016-01-15")
    assert [item["kind"] for item in city.queue()] == ["UNIT_UNKNOWN"]
    city.home("U")
    assert city.queue() == []
    city.tick("2016-01-16")
    assert city.index("2016-01")["sales"] == 1


def test_a_unit_in_no_district_counts_for_the_city_and_warns_nobody(city: City) -> None:
    city.sold(5, "1000000.00", "2016-01-05", region="999999")
    city.sold(5, "2000000.00", "2016-02-05", region="999999")
    city.tick(FEBRUARY_OVER)
    assert city.index("2016-02", "000000")["sales"] == 5
    assert {row["region"] for row in city.rows(WARNING).values()} == {"ALL"}


def test_any_interleaving_ends_alike() -> None:
    teller = City()
    sales = [*teller.sold(5, "1000000.00", "2016-01-05"), *teller.sold(5, "1300000.00", "2016-02-05")]
    feeds = [[change for change in sales if change.feed == feed] for feed in ("land.property", "land.property_sale")]
    ends: list[Any] = []
    for merged in interleavings(feeds, SEED, 6):
        city = City()
        for change in merged:
            city.take([change])
        city.tick(FEBRUARY_OVER)
        city.tick("2016-03-12")
        ends.append((city.rows(INDEX), city.rows(WARNING), city.queue()))
    assert "440106|2016-02|PRICE_RISING" in ends[0][1]
    assert all(end == ends[0] for end in ends), SEED


def test_a_contract_of_a_year_that_cannot_be_waits_and_one_of_long_ago_is_left_out(city: City) -> None:
    city.home("U")
    city.contract("U", "1000000.00", "9999-12-31")
    city.home("V")
    city.contract("V", "1000000.00", "2009-12-31")
    city.tick(JANUARY_OVER)
    assert city.rows(INDEX) == {}
    assert city.queue() == []
    city.update("land.property_sale", {"contract_no": "FU"}, signed_date=days("2016-02-01"))
    city.tick("2016-02-12")
    assert set(city.rows(INDEX)) == {"440106|2016-02", "ALL|2016-02"}
