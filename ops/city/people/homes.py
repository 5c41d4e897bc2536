"""Homes at a capped price (限价房): who applies for one, with their household."""

from __future__ import annotations

from datetime import date, datetime

from ops.city import dirt
from ops.city.chance import OPENING, at, days_ago, moment_of, money
from ops.city.city import City
from ops.city.people.household import some_household
from ops.city.people.livelihood import insurance_columns
from ops.city.people.roll import Row

APPLICATION, MEMBER = "construction.housing_application", "construction.housing_member"
APPLICATIONS = 30_000
EARLIER_PERIODS = ("201511", "201512", "201601", "201602", "201603", "201604", "201605", "201606")
"""Months of insurance before those that the live table keeps of everybody: who applies needs a year of them."""
_RELATIONS = {"SPOUSE": "SPOUSE", "CHILD": "CHILD", "PARENT": "PARENT"}


def apply(city: City) -> None:
    """The applications of the months before the opening day; the older half is decided."""
    rng = city.rng
    for place in range(city.count(APPLICATIONS)):
        day = days_ago(rng, 1, 25) if place % 2 else days_ago(rng, 40, 300)
        rows = application_rows(city, moment_of(rng, day))
        application = rows[APPLICATION][0]
        if not place % 2:
            application["status"] = rng.choice(("APPROVED", "APPROVED", "REFUSED", "WITHDRAWN"))
            application["status_date"] = OPENING - (OPENING - day) / 2
        for feed, found in rows.items():
            for row in found:
                city.put(feed, **row)
        if rng.random() < 0.6:
            _insured(city, application["applicant_id"])


def _insured(city: City, number: str) -> None:
    """Give an applicant whom the register knows the months of a whole year."""
    person = city.rolls["police.resident"].get(number)
    last = city.rolls["hrss.insurance_month"].get(number, "PENSION", "201610")
    if person is None or last is None:
        return
    firm = {"uscc": last["employer_uscc"], "name": last["employer_name"]}
    for period in EARLIER_PERIODS:
        if city.rolls["hrss.insurance_month"].get(number, "PENSION", period) is None:
            columns = insurance_columns(firm, person, number, "PENSION", period, money(city.rng, 3000, 9000))
            city.put("hrss.insurance_month", **columns | {"paid": True, "paid_at": at(period, 15)})


def application_rows(city: City, submitted: datetime) -> dict[str, list[Row]]:
    """An application (限价房申购) and its household; one in ten leaves a member out."""
    rng = city.rng
    today: date = submitted.date()
    person, family = some_household(city, today)
    number = f"XJ{submitted:%Y}{city.numbers.serial('housing'):06}"
    application: Row = {
        "app_no": number,
        "applicant_id": person["citizen_id"],
        "name": dirt.name(rng, person["name"].strip()),
        "region": person["hukou_region"],
        "submitted_at": submitted,
        "status": "SUBMITTED",
        "status_date": None,
    }
    members: list[Row] = [
        {
            "app_no": number,
            "citizen_id": member["citizen_id"],
            "name": dirt.name(rng, member["name"].strip()),
            "relation": "SELF" if member is person else _RELATIONS.get(member["relation_to_head"], "OTHER"),
        }
        for member in family
        if member is person or rng.random() > 0.1
    ]
    return {APPLICATION: [application], MEMBER: members}
