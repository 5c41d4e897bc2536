"""Suspending, revoking and giving back a grant (授权) of the running mesh."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from ops.control import publish, read_directory
from ops.settings import Settings
from ops.topics import allow_read, withdraw_read
from producers.log import Log
from schemas.errors import Misconfigured
from schemas.feed import GRANTS, out_topic
from schemas.grant import Status


def set_grant_status(settings: Settings, grant_id: str, status: str) -> None:
    """Suspend, revoke or reactivate a grant; running hops follow the control topic within seconds."""
    directory = read_directory(settings.kafka)
    entry = directory.grants.get(grant_id)
    if entry is None:
        raise Misconfigured(f"grant {grant_id}", "does not exist", fix="`mesh status` lists the grants")
    grant = replace(entry.grant, status=Status(status))
    with closing(Log(settings.kafka, client_id="mesh-grant")) as log:
        publish(log.append, GRANTS, grant_id, replace(entry, grant=grant).to_json())
        log.flush(30)
    if grant.status is Status.ACTIVE and grant_id in directory.trusted().grants:
        allow_read(settings.kafka, grant.subscriber, [out_topic(grant_id)], f"sub.{grant.subscriber}.")
    else:
        withdraw_read(settings.kafka, grant.subscriber, [out_topic(grant_id)])
