"""Registration (商事登记): what departments had done by the opening day about the scope items that they were told of.

What they do from then on is their own programs' business (ops/city/office/claim.py).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ops.city.chance import OPENING, moment_of
from ops.city.city import City
from ops.city.firms.firms import ITEMS
from ops.city.flow_data import table
from ops.city.people.roll import Row

COORDINATOR = "aic"
CLAIMING = ("fda", "health", "work_safety")
"""Departments that keep a register of their claims (认领); others that own items are silent, and their items escalate."""
_LINES = [
    line for line in table("registration", "items.csv") if line["permit_kind"] == "AFTER" and not line["valid_to"]
]
OWNERS = {item: tuple(sorted(line["agency"] for line in _LINES if line["item_code"] == item)) for item in ITEMS}
"""Scope item to the departments that it requires when it needs a permit afterwards (后置许可)."""
ITEMS_OF = {
    agency: tuple(item for item in ITEMS if agency in OWNERS[item]) or ITEMS for agency in (*CLAIMING, "fire", "edu")
}
REASONS = ("不属本部门职责", "经营地址不在本区", "经营范围描述不清")


def claim(city: City) -> None:
    """Deal with what departments were told before the opening day; a few items wait."""
    for item in city.rolls["aic.scope_item"]:
        if item["permit_kind"] == "AFTER":
            for agency in OWNERS.get(item["item_code"], ()) or ("none",):  # none: the coordinator has to name one
                _deal_with(city, (item["ent_id"], item["item_code"], agency))


def _deal_with(city: City, entry: tuple[str, str, str]) -> None:
    firm = city.rolls["aic.enterprise"].get(entry[0])
    if firm is None or city.rng.random() < 0.08:
        return
    day: date = firm["established"] + timedelta(days=1 + int(city.rng.random() * 6))
    for feed, row in acts(city, entry, moment_of(city.rng, min(day, OPENING))):
        if city.rolls[feed].get(row["ent_id"], row["item_code"], row["agency"]) is None:
            city.put(feed, **row)


def acts(city: City, entry: tuple[str, str, str], at: datetime) -> list[tuple[str, Row]]:
    """What is done about an item: nine times in ten the department claims it, otherwise others have to (H2)."""
    rng = city.rng
    _, _, agency = entry
    if agency not in CLAIMING:
        to = rng.choice(CLAIMING)
        return [] if agency != "none" else [_act(entry, COORDINATOR, at, "REROUTE", rng.choice(REASONS), to)]
    choice = rng.random()
    if choice < 0.88:
        return [_act(entry, agency, at, "CLAIM", None, None)]
    reason = rng.choice(REASONS) if rng.random() < 0.95 else None
    to = rng.choice([other for other in CLAIMING if other != agency])
    later = at + timedelta(hours=4 + int(rng.random() * 40))
    if choice < 0.94:
        found = [_act(entry, agency, at, "REFUSE", reason, None)]
        if rng.random() < 0.6:
            found.append(_act(entry, COORDINATOR, later, "REROUTE", "由统筹部门指定", to))
    else:
        found = [_act(entry, agency, at, "REROUTE", reason, to)]
    if rng.random() < 0.7 and (choice >= 0.94 or len(found) > 1):
        found.append(_act((entry[0], entry[1], to), to, later + timedelta(hours=20), "CLAIM", None, None))
    return found


def _act(
    entry: tuple[str, str, str], actor: str, at: datetime, action: str, reason: str | None, to: str | None
) -> tuple[str, Row]:
    ent_id, item_code, agency = entry
    row: Row = {
        "ent_id": ent_id,
        "item_code": item_code,
        "agency": agency,
        "action": action,
        "reroute_to": to,
        "reason": reason,
        "acted_at": at,
    }
    return f"{actor}.registration_claim", row
