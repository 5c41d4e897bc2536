"""The step of an explanation that looks at the grant itself: its state at this moment, its validity, and its subscriber's anchor."""

from __future__ import annotations

from datetime import datetime

from ops.command.terminal import moment
from ops.grants.explaining.explanation import Look
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Status
from schemas.agreement.grant_life import CHINESE, possible


def state_of(directory: Directory, entry: GrantEntry, now: datetime) -> Look:
    """The step that looks at the grant itself."""
    grant, state = entry.grant, entry.state(now)
    name, told = "grant 授权", f"the grant is {state} {CHINESE[state]}"
    if grant.grant_id not in directory.trusted().grants:
        fix = "`mesh anchor add <file>` with that mesh's key"
        return Look(name=name, standing="no", told=f"{told}, and its subscriber's mesh is not trusted here", fix=fix)
    if grant.is_active(now):
        until = f" until {moment(grant.valid_to)}" if grant.valid_to else ""
        return Look(name=name, standing="yes", told=told + until)
    if state is Status.ACTIVE:
        return Look(name=name, standing="no", told=f"the grant is valid from {moment(grant.valid_from)} on, not before")
    if state is Status.SUSPENDED:
        told += ": what had been delivered stays, and what came since waits"
        return Look(name=name, standing="open", told=told, fix=possible(grant.grant_id, state))
    told += _ended(directory, entry, state)
    return Look(name=name, standing="no", told=told, fix=possible(grant.grant_id, state))


def _ended(directory: Directory, entry: GrantEntry, state: Status) -> str:
    ending = directory.endings.get(entry.topic)
    if state not in {Status.REVOKED, Status.EXPIRED}:
        return ": nothing flows before it is approved"
    if entry.grant.at_end == "keep":
        return ": nothing flows any more; what had been delivered is kept, as the grant says"
    if ending is None or ending.acknowledged_at is None:
        return ": its rows are being removed, and the subscriber's side has not confirmed it yet"
    return f": its rows were removed, as the subscriber's side confirmed at {moment(ending.acknowledged_at)}"
