"""Preflight of a source of kind `mesh`: what must be true of the other mesh before its feeds can be taken."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from producers.finding import Finding
from producers.mesh.feed import row_breaches, topic_of
from producers.mesh.link import PeerAddress, PeerLink
from producers.mesh.source import check_trust
from schemas.agreement.agency import SourceConfig
from schemas.agreement.anchor import Anchor, anchor_named
from schemas.contract import Contract
from schemas.errors import ContractBroken
from schemas.feed import value_subject
from schemas.registry.client import RegistryClient


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTopic:
    """One of our `out` topics at another mesh: see `producers.finding.Provided`."""

    name: str
    is_whole_row: bool
    blocks: int


def examine(
    config: SourceConfig, address: str, contracts: Sequence[Contract], anchors: Mapping[str, Anchor], *, name: str
) -> tuple[list[Finding], Mapping[str, PeerTopic]]:
    """What stands in the way, and the topics that are there, by feed. Raises MeshError when the other mesh does not answer."""
    anchor = anchor_named(config.options, f"source {name}")
    if anchor not in anchors:
        text = f"its anchor {anchor} is not uploaded here, so that mesh is not accepted"
        return [_error(name, text, "`mesh anchor add <its public key>`, then onboard again")], {}
    peer = PeerAddress.parse(address, name)
    with closing(PeerLink(peer, name)) as link, closing(RegistryClient(peer.registry)) as registry:
        statement = link.statement()
        by_topic = {topic_of(contract, peer.user): contract for contract in contracts}
        cluster, bounds = link.look(by_topic)
        try:
            check_trust(statement, anchor, cluster, name)
        except ContractBroken as broken:
            return [_error(broken.subject, broken.breach, broken.fix)], {}
        found = list(_findings(by_topic, {topic for topic, _ in bounds}, registry))
    provided: dict[str, PeerTopic] = {}
    for topic, contract in by_topic.items():
        count = sum(high - low for (of, _), (low, high) in bounds.items() if of == topic)
        is_whole_row = contract.gov.get("keyedOnly") is not True
        provided[contract.feed] = PeerTopic(name=topic, is_whole_row=is_whole_row, blocks=count)
    return found, provided


def _findings(by_topic: Mapping[str, Contract], seen: Collection[str], registry: RegistryClient) -> Iterator[Finding]:
    for topic, contract in by_topic.items():
        latest = registry.latest(value_subject(topic))
        if topic not in seen or latest is None:
            text = f"the other mesh has no {topic} that we may read"
            yield _error(contract.feed, text, "ask its people for a grant; or name its topic in gov.table")
            continue
        fix = "let the contract name the columns that are granted, with their types there; a hashed column is a string"
        for breach in row_breaches(contract, latest[2]):
            yield _error(contract.feed, breach, fix)


def _error(subject: str, message: str, fix: str) -> Finding:
    return Finding(severity="error", subject=subject, message=message, fix=fix)
