"""The kinds of sink. A new one is a room in `sinks/`, one line here and its tests."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.agreement.anchor import MESH
from sinks.drops.kind import FILES
from sinks.drops.s3.kind import S3
from sinks.drops.sftp.kind import SFTP
from sinks.http.kind import WEBHOOK
from sinks.kafka.kind import KAFKA
from sinks.kind import SinkKind
from sinks.live.kind import LIVE
from sinks.mesh.kind import PEER
from sinks.mysql.kind import MYSQL_TABLES
from sinks.postgresql.kind import POSTGRES

SINKS: Mapping[str, SinkKind] = {
    "postgres": POSTGRES,
    "mysql": MYSQL_TABLES,
    "webhook": WEBHOOK,
    "files": FILES,
    "s3": S3,
    "sftp": SFTP,
    "live": LIVE,
    "kafka": KAFKA,
    MESH: PEER,
}

SUGGESTED = "postgres"
"""What a file that is written for a person to finish begins with."""


def secrets_of(kind: str) -> tuple[str, ...]:
    """The names of what a sink of this kind has beside its connection that nobody else is to read."""
    return tuple(secret.name for secret in SINKS[kind].secrets) if kind in SINKS else ()
