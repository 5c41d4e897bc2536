"""Taking: what becomes of a grant that a subscriber's folder names, be it given by its operator or asked for by the subscriber.

Given by the folder it is ACTIVE at once, as its history says. Asked for it is SUBMITTED, due by the sharing rules of that day, and
nothing flows before it is approved; a change of a grant that runs waits beside it as its successor. A grant that was suspended,
revoked or refused stays so (invariant 6), and one under way that is given with other words begins again from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import NEVER_GIVEN, OVER, WAITING, Act, Life, Step, changes, possible
from schemas.agreement.sharing_rules import rules_at, sharing_class
from schemas.contract import Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """Who takes a folder, when, and whether its grants are asked for or given."""

    by: str
    at: datetime
    is_request: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a grant of a folder becomes. `steps` are those of its history that are new."""

    grant: Grant
    life: Life
    successor: Grant | None
    steps: tuple[Step, ...] = ()
    notice: str = ""


def taken(grant: Grant, running: GrantEntry | None, contract: Contract, taking: Taking) -> Taken:
    """Work it out; `running` is the grant of this id that there is."""
    is_asked = taking.is_request or grant.status is Status.SUBMITTED
    if running is None:
        return _asked(grant, Life(), contract, taking) if is_asked else _given(grant, Life(), taking)
    standing = running.state(taking.at)
    if taking.is_request and standing not in NEVER_GIVEN | OVER:
        return _successor(grant, running, contract, taking)
    if standing in WAITING:
        return _under_way(grant, running, contract, taking)
    is_new = standing in {Status.DRAFT, Status.REFUSED} or (taking.is_request and standing in OVER)
    if is_asked and is_new:
        return _asked(grant, running.life, contract, taking)
    return _changed(grant, running, taking)


def is_same(one: Grant, other: Grant) -> bool:
    """Whether two grants differ in nothing but their state."""
    return replace(one, status=other.status) == other


def _given(grant: Grant, life: Life, taking: Taking) -> Taken:
    step = Step.of(grant, Act.FOLDER, taking.at, taking.by)
    return Taken(grant=grant, life=life.then(step), successor=None, steps=(step,))


def _asked(grant: Grant, life: Life, contract: Contract, taking: Taking) -> Taken:
    grant = replace(grant, status=Status.SUBMITTED)
    step, life = _request(grant, "", life, contract, taking)
    return Taken(grant=grant, life=life, successor=None, steps=(step,))


def _request(grant: Grant, reason: str, life: Life, contract: Contract, taking: Taking) -> tuple[Step, Life]:
    step, rules = Step.of(grant, Act.REQUEST, taking.at, taking.by, reason), rules_at(taking.at)
    return step, life.asked(step, rules.due_at(taking.at, sharing_class(grant, contract)), rules.pack)


def _successor(grant: Grant, running: GrantEntry, contract: Contract, taking: Taking) -> Taken:
    """A change of a grant that runs: it goes on as it is, and the change waits."""
    stays = Taken(grant=running.grant, life=running.life, successor=running.successor)
    if is_same(grant, running.grant):
        return stays
    if running.successor is not None and is_same(grant, running.successor):
        return replace(stays, notice=_waits(running))
    successor = replace(grant, status=Status.SUBMITTED)
    step, life = _request(successor, changes(running.grant, grant), running.life, contract, taking)
    return Taken(grant=running.grant, life=life, successor=successor, steps=(step,))


def _under_way(grant: Grant, running: GrantEntry, contract: Contract, taking: Taking) -> Taken:
    """Asked for and not decided: with the same words it stays where it is, with others it begins again."""
    if is_same(grant, running.grant):
        return Taken(grant=running.grant, life=running.life, successor=None, notice=_waits(running))
    grant = replace(grant, status=Status.SUBMITTED)
    step, life = _request(grant, changes(running.grant, grant), running.life, contract, taking)
    notice = f"grant {grant.grant_id} was changed while it was under way: {possible(grant.grant_id, grant.status)}"
    return Taken(grant=grant, life=life, successor=None, steps=(step,), notice=notice)


def _waits(running: GrantEntry) -> str:
    asked = running.asked
    return f"grant {asked.grant_id} is {asked.status} already: {possible(asked.grant_id, asked.status)}"


def _changed(grant: Grant, running: GrantEntry, taking: Taking) -> Taken:
    """What runs, or ran, as the folder says now."""
    status, former, notice = running.grant.status, running.grant, ""
    if status is not Status.ACTIVE and grant.status is Status.ACTIVE:
        notice = f"grant {grant.grant_id} stays {status}; `mesh grant {grant.grant_id} ACTIVE` gives it back"
        if status in NEVER_GIVEN:
            notice = f"grant {grant.grant_id} stays {status}: {possible(grant.grant_id, status)}"
        grant = replace(grant, status=status)
    if grant == former:
        return Taken(grant=grant, life=running.life, successor=running.successor, notice=notice)
    step = Step.of(grant, Act.CHANGE, taking.at, taking.by, changes(former, grant))
    return Taken(grant=grant, life=running.life.then(step), successor=None, steps=(step,), notice=notice)
