"""Suspending, revoking and giving back a grant (授权) of the running mesh."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from ops.onboarding.edition import cut, edition_for, end_former
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.errors import Misconfigured
from schemas.feed import GRANTS, STANDSTILLS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.rights.access import allow_read, withdraw_read
from schemas.log.topics import ensure_control_topics, ensure_topics, with_dead_letters
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient
from sinks.lane.standstill import name_of


def set_grant_status(settings: Settings, grant_id: str, status: str) -> None:
    """Suspend, revoke or reactivate a grant; running hops follow the control topic within seconds.

    One that was over begins anew: through a topic of its own, filled from the beginning. Giving one, also one that is active, resumes
    a sink whose receiver asked never to be called again.
    """
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    running = directory.grants.get(grant_id)
    if running is None:
        raise Misconfigured(f"grant {grant_id}", "does not exist", fix="`mesh status` lists the grants")
    now = datetime.now(UTC)
    grant = replace(running.grant, status=Status(status))
    entry = _given(settings, directory, running, grant, now) if grant.is_active(now) else replace(running, grant=grant)
    with closing(Log(settings.kafka, client_id="mesh-grant")) as log:
        end_former(log.append, running, entry.edition, directory)
        publish(log.append, GRANTS, grant_id, entry.to_json())
        if grant.is_active(now):
            log.append(STANDSTILLS, name_of(grant.subscriber, grant.sink).encode(), None)
        audit(log.append, "grant status", grant_id, status=str(grant.status))
        log.flush(30)
    is_open = grant.is_active(now) and grant_id in directory.trusted().grants
    if is_open:
        allow_read(settings.kafka, grant.subscriber, [entry.topic], f"sub.{grant.subscriber}.")
    closed = {running.topic} - ({entry.topic} if is_open else set())
    if closed:
        withdraw_read(settings.kafka, grant.subscriber, closed)


def _given(settings: Settings, directory: Directory, running: GrantEntry, grant: Grant, now: datetime) -> GrantEntry:
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
        if edition == running.edition and running.version == feed.version:
            return replace(running, grant=grant)
        entry = cut(grant, feed, edition, registry)
    ensure_topics(settings.kafka, with_dead_letters({entry.topic: feed.partitions}))
    return entry
