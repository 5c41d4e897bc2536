"""Preflight by kind of source: what stands in the way of capturing its tables, and what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from producers.mesh import preflight as peer_preflight
from producers.mesh.preflight import PeerTopic
from producers.postgresql import preflight as postgres_preflight
from producers.postgresql.link.catalog import Table
from producers.postgresql.preflight import Finding
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import MESH, Anchor
from schemas.contract import Contract

Provided = Table | PeerTopic


def preflight(
    source: SourceConfig, address: str, contracts: Sequence[Contract], anchors: Mapping[str, Anchor], *, name: str
) -> tuple[Sequence[Finding], Mapping[str, Provided]]:
    """Findings, and what provides each feed; nothing of the latter when an error was found. Raises MeshError."""
    if source.kind == MESH:
        return peer_preflight.examine(source, address, contracts, anchors, name=name)
    encoding = source.options.get("text_encoding")
    found = postgres_preflight.preflight(address, contracts, name=name, text_encoding=encoding)
    if any(finding.severity == "error" for finding in found):
        return found, {}
    tables = postgres_preflight.describe(
        address, [contract.table for contract in contracts], name=name, text_encoding=encoding
    )
    return found, {contract.feed: tables[contract.table] for contract in contracts}
