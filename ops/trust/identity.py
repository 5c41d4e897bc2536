"""This mesh's own identity (身份): its key in the mesh's directory, and its statement on `mesh.identity`.

The key is made once and stays; whoever runs the mesh on several machines copies it along with `connections/`. A key is never made
where another one has spoken already: peers would stop, since their anchor is the other's.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from ops.audit.audited_log import AuditedLog
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from schemas.agreement.identity import STATEMENT_KEY, Identity, Statement, pem_of
from schemas.errors import Misconfigured
from schemas.feed import IDENTITY
from schemas.log.control.records import publish
from schemas.log.control.store import ControlStore
from schemas.log.offsets import cluster_id
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log

_OWNER, _NAME = "mesh", "identity-key"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Announced:
    """Who this mesh is."""

    statement: Statement

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        pem = pem_of(self.statement.public_key)
        return {**self.statement.to_json(), "fingerprint": self.statement.fingerprint, "pem": pem}

    def render(self) -> None:
        """For people, and as a file for `mesh anchor add` of the other mesh."""
        click.echo(f"fingerprint {self.statement.fingerprint}\n{pem_of(self.statement.public_key)}", nl=False)


def announce(settings: Settings, *, is_renewed: bool = False) -> Announced:
    """Say on `mesh.identity` who this mesh is, if that is not what stands there. Makes the key when there is none yet.

    `is_renewed` takes a new key: every peer stops until it has the new anchor. Raises Misconfigured when the key is missing here
    though the mesh has one.
    """
    ensure_control_topics(settings.kafka)
    cluster = cluster_id(settings.kafka)
    with closing(Log(settings.kafka, client_id="mesh-identity")) as log:
        record = ControlStore(settings.kafka, IDENTITY, log).load(STATEMENT_KEY)
        standing = Statement.from_json(record) if record else None
        identity = _own(Connections(settings.directory), standing, is_renewed=is_renewed)
        if (
            standing
            and standing.is_genuine
            and (standing.fingerprint, standing.cluster) == (identity.fingerprint, cluster)
        ):
            return Announced(standing)
        statement = identity.state(cluster, datetime.now(UTC).isoformat(timespec="seconds"))
        with closing(AuditedLog(settings.kafka, client_id="mesh-identity")) as audited:
            # Before and behind it, for it stands in no transaction: meshes of an earlier version read that topic.
            audit(audited.append, "identity to be announced", identity.fingerprint, renewed=is_renewed)
            audited.flush(30)
            publish(log.append, IDENTITY, STATEMENT_KEY, statement.to_json())
            log.flush(30)
            audit(audited.append, "identity announced", identity.fingerprint)
            audited.flush(30)
    _logger.info("this mesh is %s", identity.fingerprint)
    return Announced(statement)


def _own(connections: Connections, standing: Statement | None, *, is_renewed: bool) -> Identity:
    try:
        known = Identity(bytes.fromhex(connections.address_of(_OWNER, _NAME)))
    except Misconfigured:
        if standing is not None and not is_renewed:
            raise Misconfigured(
                "this mesh's identity",
                f"its key is not in this directory, and others know it as {standing.fingerprint}",
                fix=f"copy connections/{_OWNER}.{_NAME} from where the mesh was started, or take a new key: "
                "`mesh identity --renew`, after which every peer needs the new anchor",
            ) from None
    else:
        if not is_renewed:
            return known
    identity = Identity.new()
    connections.save(_OWNER, _NAME, identity.secret.hex())
    return identity
