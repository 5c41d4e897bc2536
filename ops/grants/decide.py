"""Deciding on a grant (授权) of the running mesh: approving, refusing, suspending, resuming, revoking, giving it again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.grants.steps import Decision, Next, audit_steps, shortened, stepped
from ops.known_names import did_you_mean
from ops.onboarding.edition import cut, edition_for, end_former
from ops.own_topic.readers import Readers
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import CHINESE, Act, next_approval, possible
from schemas.errors import Misconfigured
from schemas.feed import GRANTS, STANDSTILLS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.topics import ensure_control_topics, ensure_topics, with_dead_letters
from schemas.registry.client import RegistryClient
from sinks.lane.standstill import name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A grant as it is now, and what comes next."""

    entry: GrantEntry

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        asked, due = self.entry.asked, self.entry.life.due_at
        waits = next_approval(asked.status)
        return {
            "grant_id": asked.grant_id,
            "status": str(self.entry.grant.status),
            "successor": str(self.entry.successor.status) if self.entry.successor else None,
            "waits_for": waits[1] if waits else None,
            "due_at": due.isoformat() if due and waits else None,
            "step": self.entry.life.history[-1].to_json() if self.entry.life.history else None,
        }

    def lines(self) -> list[str]:
        """For people."""
        grant, asked = self.entry.grant, self.entry.asked
        told = [f"grant {grant.grant_id} is {grant.status} {CHINESE[grant.status]}"]
        if self.entry.successor is not None:
            told.append(f"  its change is {asked.status} {CHINESE[asked.status]}")
        return [*told, f"  next: {possible(asked.grant_id, asked.status)}"]


def grant_named(directory: Directory, grant_id: str) -> GrantEntry:
    """The grant of this id. Raises Misconfigured for none."""
    entry = directory.grants.get(grant_id)
    if entry is None:
        fix = did_you_mean(grant_id, directory.grants, "`mesh status` lists the grants")
        raise Misconfigured(f"grant {grant_id}", "does not exist", fix=fix)
    return entry


@refusals_told("grant status")
def set_grant_status(settings: Settings, grant_id: str, status: str, by: str) -> None:
    """Suspend, revoke or reactivate a grant in one word; running hops follow the control topic within seconds.

    One that was over begins anew: through a topic of its own, filled from the beginning. Giving one, also one that is active, resumes
    a sink whose receiver asked never to be called again. What was never given is asked for, or decided.
    """
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    running = grant_named(directory, grant_id)
    _apply(settings, directory, running, shortened(running.grant, Status(status), by, datetime.now(UTC)))


@refusals_told("grant decision")
def decide(
    settings: Settings, grant_id: str, act: Act | None, *, by: str, reason: str = "", basis: str = ""
) -> Decided:
    """Take a step, or without one the approval that comes next. Raises Misconfigured for one that is not allowed."""
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    running = grant_named(directory, grant_id)
    if act is None:
        waits = next_approval(running.asked.status)
        act = waits[0] if waits else Act.COMPLIANCE  # refused, with what can be done instead
    decision = Decision(act=act, by=by, reason=reason, basis=basis)
    at = datetime.now(UTC)
    return Decided(entry=_apply(settings, directory, running, stepped(running, decision, at)))


def _apply(settings: Settings, directory: Directory, running: GrantEntry, step: Next) -> GrantEntry:
    """Tell the hops, and everybody who reads the audit; then open or close the topics."""
    now, grant = datetime.now(UTC), step.grant
    is_changed = replace(grant, status=running.grant.status) != running.grant
    is_cut = is_changed or grant.is_active(now)
    entry = _cut(settings, directory, running, grant, now) if is_cut else replace(running, grant=grant)
    successor = running.successor if step.keeps_successor else step.successor
    entry = replace(entry, life=running.life.then(*step.steps), successor=successor)
    grant_id = grant.grant_id
    with closing(AuditedLog(settings.kafka, client_id="mesh-grant")) as log:
        end_former(log.append, running, entry.edition, directory)
        publish(log.append, GRANTS, grant_id, entry.to_json())
        if grant.is_active(now):
            log.append(STANDSTILLS, name_of(grant.subscriber, grant.sink).encode(), None)
        audit_steps(log.append, grant_id, step.steps)
        if not step.steps:
            audit(log.append, "grant status", grant_id, status=str(grant.status))
        log.flush(30)
    is_open = grant.is_active(now) and grant_id in directory.trusted().grants
    readers = Readers(kafka=settings.kafka, directory=directory)
    if is_open:
        readers.open(grant, [entry.topic])
    closed = {running.topic} - ({entry.topic} if is_open else set())
    if closed:
        readers.close(running.grant, closed)
    return entry


def _cut(settings: Settings, directory: Directory, running: GrantEntry, grant: Grant, now: datetime) -> GrantEntry:
    """The entry of a grant that flows from now on, by the contract of now."""
    feed = directory.feeds.get(grant.feed)
    if feed is None:
        raise Misconfigured(
            f"grant {grant.grant_id}", f"there is no feed {grant.feed} any more", fix="onboard it again"
        )
    missing = [column for column in grant.columns if column not in feed.contract.by_name]
    if missing:
        fix = "give it without them: correct its folder, then `mesh onboard` it"
        raise Misconfigured(f"grant {grant.grant_id}", f"its feed has no {', '.join(missing)} any more", fix=fix)
    with closing(RegistryClient(settings.registry)) as registry:
        edition = edition_for(grant, feed.contract, running, directory, registry, now)
        is_alike = (grant.columns, grant.mask) == (running.grant.columns, running.grant.mask)
        if is_alike and edition == running.edition and running.version == feed.version:
            return replace(running, grant=grant)
        entry = cut(grant, feed, edition, registry, running)
    ensure_topics(settings.kafka, with_dead_letters({entry.topic: feed.partitions}))
    return entry
