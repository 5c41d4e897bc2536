"""Anchors (锚): which other meshes are trusted here. Uploading one and removing one are audit lines (HANDBOOK A10).

The hops follow `mesh.anchors` by themselves. What is done here besides is the broker's side: a mesh that reads our topics loses
the right to, and gets it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import click

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.settings import Settings
from ops.trust.audit import audit
from schemas.agreement.anchor import ANCHOR, Anchor, anchor_named
from schemas.agreement.directory import Directory
from schemas.agreement.identity import public_key_of
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from schemas.feed import ANCHORS, IDENTITY
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.rights.access import allow_read, withdraw_read
from schemas.log.topics import ensure_control_topics


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """The anchors, and which sources and subscribers name each of them."""

    anchors: Sequence[Anchor]
    users: Mapping[str, Sequence[str]]
    notices: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        entries = [{**anchor.to_json(), "used_by": list(self.users[anchor.fingerprint])} for anchor in self.anchors]
        return {"anchors": entries, "notices": list(self.notices)}

    def render(self) -> None:
        """For people."""
        for anchor in self.anchors:
            click.echo(f"{anchor.fingerprint}  {anchor.name}  {', '.join(self.users[anchor.fingerprint]) or 'unused'}")
        for notice in self.notices:
            click.echo(f"note: {notice}")


def list_anchors(settings: Settings) -> Anchors:
    """Every anchor that is here now."""
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    return _shown(directory, directory.anchors.values())


@refusals_told("anchor add")
def add_anchor(settings: Settings, pem: bytes, name: str) -> Anchors:
    """Trust the holder of this public key from now on. Raises Misconfigured when the text holds none."""
    anchor = Anchor(public_key=public_key_of(pem, name), name=name)
    ensure_control_topics(settings.kafka)
    with closing(AuditedLog(settings.kafka, client_id="mesh-anchor")) as log:
        publish(log.append, ANCHORS, anchor.fingerprint, anchor.to_json())
        audit(log.append, "anchor added", anchor.fingerprint, name=name)
        log.flush(30)
    directory = read_directory(settings.kafka)
    notices: set[str] = set()
    for subscriber, topics in _readers(directory, anchor.fingerprint):
        notices.add(allow_read(settings.kafka, subscriber, topics, f"sub.{subscriber}.").notice)
    return replace(_shown(directory, [anchor]), notices=sorted(notices - {""}))


@refusals_told("anchor remove")
def remove_anchor(settings: Settings, fingerprint: str) -> Anchors:
    """Trust it no longer: within seconds nothing is taken from that mesh, and nothing given. Raises Misconfigured for no anchor."""
    ensure_control_topics(settings.kafka)
    directory = read_directory(settings.kafka)
    anchor = directory.anchors.get(fingerprint)
    if anchor is None:
        raise Misconfigured(f"anchor {fingerprint}", "is not here", fix="`mesh anchor list` shows those that are")
    notices: set[str] = set()
    with closing(AuditedLog(settings.kafka, client_id="mesh-anchor")) as log:
        log.append(ANCHORS, fingerprint.encode(), None)
        audit(log.append, "anchor removed", fingerprint, name=anchor.name)
        log.flush(30)
    for subscriber, topics in _readers(directory, fingerprint):
        notices.add(withdraw_read(settings.kafka, subscriber, topics).notice)
    return replace(_shown(directory, [anchor]), notices=sorted(notices - {""}))


def require_anchor(sink: SinkConfig, subscriber: str, anchors: Mapping[str, Anchor]) -> None:
    """A mesh that reads from us is accepted only when its anchor is here. Raises Misconfigured."""
    fingerprint = anchor_named(sink.options, f"subscriber {subscriber}")
    if fingerprint not in anchors:
        raise Misconfigured(
            f"subscriber {subscriber}",
            f"its anchor {fingerprint} is not uploaded here, so that mesh is not accepted",
            fix="`mesh anchor add <its public key>`, then onboard again",
        )


def _readers(directory: Directory, fingerprint: str) -> Iterable[tuple[str, list[str]]]:
    """Subscribers with this anchor, and what they may read while it is here."""
    for code, subscriber in directory.subscribers.items():
        sinks = {sink.name for sink in subscriber.sinks if sink.is_mesh and sink.options.get(ANCHOR) == fingerprint}
        if sinks:
            entries = [entry for entry in directory.grants.values() if entry.grant.subscriber == code]
            now = datetime.now(UTC)
            opened = [entry for entry in entries if entry.grant.sink in sinks and entry.grant.is_active(now)]
            yield code, [IDENTITY, *(entry.topic for entry in opened)]


def _shown(directory: Directory, anchors: Iterable[Anchor]) -> Anchors:
    shown = sorted(anchors, key=lambda anchor: (anchor.name, anchor.fingerprint))
    users: dict[str, list[str]] = {anchor.fingerprint: [] for anchor in shown}
    for agency in directory.agencies.values():
        for source in agency.sources:
            if source.options.get(ANCHOR) in users:
                users[source.options[ANCHOR]].append(f"{agency.agency}.{source.name}")
    for fingerprint in users:
        users[fingerprint] += [code for code, _ in _readers(directory, fingerprint)]
    return Anchors(anchors=shown, users=users)
