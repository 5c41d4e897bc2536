"""`mesh resync`: a person asks for a feed, or all feeds of a source, to be copied anew; it is always done (invariant 9).

The request stands on a control topic, so that whichever process captures the source takes it up, running or stopped, on this host
or another. A feed is copied beside the running stream: its subscribers are told that its rows are gone, then get them as they are.
A source has its slot made anew and its epoch raised, so that every position lies above all earlier ones.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from datetime import UTC, datetime

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.kinds.sources import kind_of
from ops.known_names import did_you_mean
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.agreement.directory import Directory
from schemas.errors import Misconfigured
from schemas.feed import RESYNCS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.topics import ensure_control_topics


@refusals_told("resync")
def ask(settings: Settings, name: str) -> str:
    """Ask for a feed or a source `<agency>.<source>`; which of the two will be copied. Raises Misconfigured if it is neither."""
    ensure_control_topics(settings.kafka)
    target = target_of(read_directory(settings.kafka), name)
    with closing(AuditedLog(settings.kafka, client_id="mesh-resync")) as log:
        publish(log.append, RESYNCS, target, {"request": new_request()})
        audit(log.append, "resync asked", target)
        log.flush(30)
    return target


def new_request() -> str:
    """A request that is no other."""
    return f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {secrets.token_hex(4)}"


def target_of(directory: Directory, name: str) -> str:
    """Which feed or source is copied where this one is named. Raises Misconfigured for what is neither."""
    sources = {
        f"{agency.agency}.{source.name}": source
        for agency in directory.agencies.values()
        for source in agency.sources
        if not source.is_flow
    }
    if name in sources:
        return name
    entry = directory.feeds.get(name)
    if entry is not None and entry.contract.source_name in sources:
        kind = kind_of(directory.agencies.get(entry.contract.agency), entry.contract.source)
        return name if kind.copies_feeds_alone else entry.contract.source_name
    captured = [feed for feed, each in directory.feeds.items() if each.contract.source_name in sources]
    fix = did_you_mean(name, [*sources, *captured], "`mesh status` lists the feeds")
    raise Misconfigured(name, "is no source and no feed that is captured", fix=fix)
