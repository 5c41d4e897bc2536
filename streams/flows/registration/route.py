"""Route: the way of one item from department to department until somebody claims it (认领), told from the departments' acts.

    required department ──CLAIM──▶ claimed
        │ REROUTE ──▶ next department (as often as the rules allow; then the coordinator decides)
        │ REFUSE  ──▶ the claim pool: the coordinator (统筹部门) names an owner, or nobody
        └ silence past the due day ──▶ escalated; a late claim still counts

Pure: the same acts give the same route, in whatever order they arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streams.flows.registration.rules import AGENCIES
from streams.operators.flow import Fact

NOBODY = "none"
"""Stands in for the department where an item has none."""
COORDINATOR = "aic"
_KNOWN = frozenset({"CLAIM", "REFUSE", "REROUTE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What a department or the coordinator did. `about`: for the coordinator, the department whose item it decides."""

    actor: str
    about: str
    action: str
    reroute_to: str | None
    reason: str | None
    at: int
    fact: Fact


@dataclass(slots=True, kw_only=True)
class Visit:
    """One department's part in a route: its state, from when until when it should act, what it did."""

    agency: str
    state: str
    pushed_at: int
    due_at: int
    reroutes: int
    is_assigned: bool
    decided_at: int | None = None
    reason: str | None = None
    reroute_to: str | None = None
    steps: list[dict[str, object]] = field(default_factory=list[dict[str, object]])

    def step(self, state: str, at: int, fact: Fact | None) -> None:
        """Enter a state."""
        self.state = state
        place = (fact.feed, fact.position) if fact else ("", "")
        self.steps.append({"state": state, "at": at, "feed": place[0], "position": place[1]})


@dataclass(slots=True)
class Route:
    """Where an item has been. `holder` may act now; without one the pool has it, for `pool_reason`, since `pooled_at`."""

    required: str
    visits: dict[str, Visit] = field(default_factory=dict[str, Visit])
    holder: str | None = None
    pool_reason: str | None = None
    pooled_at: int = 0
    proposed: str | None = None
    reroutes: int = 0
    used: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    not_theirs: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def pool(self, reason: str, at: int, proposed: str | None = None) -> None:
        """Hand the item to the coordinator."""
        self.holder, self.pool_reason, self.pooled_at, self.proposed = None, reason, at, proposed


def act_key(fact: Fact) -> tuple[str, str]:
    """What tells acts' rows apart."""
    return fact.feed, fact.row_id


def acts_of(facts: Iterable[Fact]) -> list[Act]:
    """Every act that stands, oldest first. A corrected version of an act replaces it; a deleted row takes its acts along."""
    found: dict[tuple[str, str, int], Act] = {}
    for newest in facts:
        versions = [*newest.earlier, newest]
        gone = max((place for place, version in enumerate(versions) if version.row is None), default=-1)
        at = 0
        for fact in versions[gone + 1 :]:
            row, at = fact.row or {}, max(at, fact.event_at)  # what is said later was not done earlier: it corrects
            if row.get("action") in _KNOWN:
                found[fact.feed, fact.row_id, at] = Act(
                    actor=fact.feed.partition(".")[0],
                    about=row["agency"],
                    action=row["action"],
                    reroute_to=row["reroute_to"],
                    reason=row["reason"],
                    at=at,
                    fact=fact,
                )
    return sorted(found.values(), key=lambda act: (act.at, act.fact.feed, act.fact.row_id))


def follow(
    required: str, acts: Iterable[Act], *, pushed_at: int, due_of: Callable[[int], int], reroutes_max: int
) -> Route:
    """The route of an item that a department was required for (or NOBODY), from what was done about it."""
    route = Route(required)
    if required == NOBODY:
        route.pool("NO_OWNER", pushed_at)
    else:
        _push(route, required, pushed_at, due_of, None, is_assigned=False)
    for act in acts:
        if act.actor == COORDINATOR:
            if act.about == required:
                route.used.add(act_key(act.fact))
                _decide(route, act, due_of)
        elif act.actor == route.holder:
            route.used.add(act_key(act.fact))
            route.not_theirs.discard(act_key(act.fact))
            _answer(route, act, due_of, reroutes_max)
        elif act.actor in route.visits:
            route.used.add(act_key(act.fact))
            if route.holder is None and act.at > route.pooled_at:
                route.not_theirs.add(act_key(act.fact))
    return route


def _push(
    route: Route, agency: str, at: int, due_of: Callable[[int], int], fact: Fact | None, *, is_assigned: bool
) -> None:
    former = route.visits.pop(agency, None)  # it comes back: the later visit is what counts, the steps remain
    visit = Visit(
        agency=agency,
        state="PUSHED",
        pushed_at=at,
        due_at=due_of(at),
        reroutes=route.reroutes,
        is_assigned=is_assigned,
        steps=former.steps if former else [],
    )
    visit.step("PUSHED", at, fact)
    route.visits[agency] = visit
    route.holder, route.pool_reason, route.proposed = agency, None, None


def _answer(route: Route, act: Act, due_of: Callable[[int], int], reroutes_max: int) -> None:
    visit, to = route.visits[act.actor], act.reroute_to or ""
    if act.action == "CLAIM" and visit.state == "CLAIMED":
        return  # said again
    visit.decided_at, visit.reason, visit.reroute_to = act.at, act.reason, act.reroute_to
    if act.action == "CLAIM":
        visit.step("CLAIMED", act.at, act.fact)
        return
    visit.step("REFUSED" if act.action == "REFUSE" else "REROUTED", act.at, act.fact)
    if visit.is_assigned:
        route.pool("COORDINATOR_ONLY", act.at, act.reroute_to)
    elif act.action == "REFUSE":
        route.pool("REFUSED", act.at)
    elif to not in AGENCIES or to == act.actor:
        route.pool("REROUTED_NOWHERE", act.at)
    else:
        route.reroutes += 1
        if route.reroutes >= reroutes_max:
            route.pool("COORDINATOR_ONLY", act.at, to)
        else:
            _push(route, to, act.at, due_of, act.fact, is_assigned=False)


def _decide(route: Route, act: Act, due_of: Callable[[int], int]) -> None:
    present = route.visits.get(route.holder or "")
    owner = act.reroute_to or ""
    if act.action == "REROUTE" and owner not in AGENCIES:
        route.pool("REROUTED_NOWHERE", act.at)
        return
    if present is not None and present.agency != owner:
        present.decided_at, present.reason, present.reroute_to = act.at, act.reason, act.reroute_to
        present.step("REROUTED" if act.action == "REROUTE" else "REFUSED", act.at, act.fact)
    if act.action == "REROUTE":
        _push(route, owner, act.at, due_of, act.fact, is_assigned=True)
    else:  # nobody needs to deal with it
        route.holder, route.pool_reason, route.proposed = None, None, None
