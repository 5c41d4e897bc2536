"""Pushing (双告知): an item's routes as rows: who has been told, how far it is, and what waits in the claim pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.dated.calendar import deadline
from streams.flows.registration.item import Item, Seat
from streams.flows.registration.route import NOBODY, Act, Route, Visit, follow
from streams.flows.registration.rules import CITY, item_name
from streams.operators.flow import Outcome, Row

PUSH, CLAIM, POOL = "registration.push", "registration.claim", "registration.claim_pool"
_OPEN = frozenset({"PUSHED", "ESCALATED"})


@dataclass(slots=True)
class Progress:
    """How far an entity's items are: what has been published, and which acts have had an effect."""

    enterprise: Row
    ended_at: int | None
    is_withdrawn: bool
    now: int
    claims: dict[tuple[str, str, str], Row] = field(default_factory=dict[tuple[str, str, str], Row])
    pushes: dict[tuple[str, str, str], Row] = field(default_factory=dict[tuple[str, str, str], Row])
    used: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    not_theirs: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    open_items: set[str] = field(default_factory=set[str])


def push_item(item: Item, seats: Sequence[Seat], acts: Sequence[Act], progress: Progress, outcome: Outcome) -> None:
    """Follow one item through every seat of its entity, and publish where it is."""
    rules = item.rules
    if rules is None or not item.is_pushed:
        return
    city = {owner.agency for owner in item.owners if owner.is_city}
    for agency in [owner.agency for owner in item.owners] or [NOBODY]:
        for place, seat in enumerate(_one(seats) if agency in city else seats):
            begins = max(item.since, seat.since)
            ends = min((end for end in (item.until, seat.until, progress.ended_at) if end is not None), default=None)
            if (seat.until is not None and seat.until <= begins) or (ends is not None and ends < begins):
                continue
            route = follow(
                agency,
                [
                    act
                    for act in acts
                    if (not place or act.at >= seat.since) and (not seat.until or act.at < seat.until)
                ],
                pushed_at=begins,
                due_of=lambda moment: deadline(moment, rules.claim_working_days),
                reroutes_max=rules.reroutes_max,
            )
            progress.used |= route.used
            progress.not_theirs |= route.not_theirs
            _publish(item, seat, route, ends, progress, outcome)


def _one(seats: Sequence[Seat]) -> list[Seat]:
    """For an office of the city it is all the same in which district an entity is."""
    return [Seat(seats[-1].district, seats[0].since, seats[-1].until)] if seats else []


def _publish(item: Item, seat: Seat, route: Route, ends: int | None, progress: Progress, outcome: Outcome) -> None:
    for visit in route.visits.values():
        is_over = ends is not None and (progress.is_withdrawn or visit.state != "CLAIMED" or seat.until is not None)
        if is_over and ends is not None:
            visit.step("RETRACTED", ends, None)
        elif visit.state == "PUSHED" and ends is None:
            judged_at = visit.due_at + (item.rules.grace_micros if item.rules else 0)
            if progress.now >= judged_at:
                visit.step("ESCALATED", visit.due_at, None)
            else:
                outcome.wake(judged_at)
        if visit.state in _OPEN:
            progress.open_items.add(item.code)
        _rows(item, _district(item, visit.agency, seat), visit, route, progress)
    if route.pool_reason is not None and ends is None:
        progress.open_items.add(item.code)
        outcome.publish(
            POOL,
            {
                "ent_id": progress.enterprise["ent_id"],
                "item_code": item.code,
                "agency": route.required,
                "district": seat.district,
                "permit_kind": item.permit_kind,
                "name": progress.enterprise["name"],
                "scope_text": progress.enterprise["scope_text"],
                "reason": route.pool_reason,
                "proposed_agency": route.proposed,
                "opened_at": route.pooled_at,
                "reroutes": route.reroutes,
            },
        )


def _district(item: Item, agency: str, seat: Seat) -> str:
    """Which office of a department deals with the item: as for the department that is required, unless it has its own level."""
    by_agency = {owner.agency: owner.is_city for owner in item.owners}
    is_city = by_agency.get(agency, all(by_agency.values()) if by_agency else False)
    return CITY if is_city else seat.district


def _rows(item: Item, district: str, visit: Visit, route: Route, progress: Progress) -> None:
    key = (item.code, visit.agency, district)
    known = progress.claims.get(key)
    if known is not None and (known["state"] in {"CLAIMED", *_OPEN} or visit.state == "RETRACTED"):
        return  # each department is told once: its own duty goes before what is re-routed to it, the newest seat before older
    progress.claims[key] = {
        "ent_id": progress.enterprise["ent_id"],
        "item_code": item.code,
        "agency": visit.agency,
        "district": district,
        "state": visit.state,
        "pushed_at": visit.pushed_at,
        "due_at": visit.due_at,
        "decided_at": visit.decided_at,
        "reason": visit.reason,
        "reroute_to": visit.reroute_to,
        "reroutes": visit.reroutes,
        "is_assigned": visit.is_assigned,
        "steps": visit.steps,
    }
    if visit.state in {"CLAIMED", *_OPEN}:
        progress.pushes[key] = _push(item, district, visit, route, progress.enterprise)


def _push(item: Item, district: str, visit: Visit, route: Route, enterprise: Row) -> Row:
    return {
        "ent_id": enterprise["ent_id"],
        "item_code": item.code,
        "agency": visit.agency,
        "district": district,
        "office": f"{visit.agency}_{district}",
        "item_name": item_name(item.code) or item.code,
        "permit_kind": item.permit_kind,
        "uscc": enterprise["uscc"],
        "registration_no": enterprise["registration_no"],
        "name": enterprise["name"],
        "kind": enterprise["kind"],
        "scope_text": enterprise["scope_text"],
        "legal_rep_name": enterprise["legal_rep_name"],
        "address": enterprise["address"],
        "pushed_at": visit.pushed_at,
        "due_at": visit.due_at,
        "required_agency": route.required if route.required != NOBODY else None,
    }
