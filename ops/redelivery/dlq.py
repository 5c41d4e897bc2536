"""`mesh dlq`: what becomes of the dead letters of feeds and grants: they are shown, delivered again, or settled.

**Retry** appends the original record to its `out` topic again, so that the subscriber's own lane delivers it, in order, and the
position guards newer rows at the target. A record that has a newer one of its key on the topic is superseded: it is not appended,
for an older change must not become the last of its key. A subscriber's letters go to that subscriber alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.redelivery.letter import DROPPED, RETRIED, SUPERSEDED, Letter, letters, owner_of
from ops.redelivery.newest import COUNT_HEADER, Newest
from ops.redelivery.replay import grant_of
from ops.settings import Settings
from ops.show.tail import View
from ops.trust.audit import audit
from schemas.agreement.directory import Directory
from schemas.errors import Misconfigured, Rejected
from schemas.feed import LETTERS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf

RETRIES_MAX = 5
DURABLE_WITHIN_SECONDS = 60.0
SETTLED_TOGETHER = 5_000
"""Letters of one transaction, and of one line of the audit, which a record must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of letters, or would."""

    states: Mapping[str, str]
    is_dry: bool

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"dry_run": self.is_dry, "letters": dict(self.states)}

    def lines(self) -> list[str]:
        """For people."""
        counts: dict[str, int] = {}
        for state in self.states.values():
            counts[state] = counts.get(state, 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing to do"
        return [f"{'would be: ' if self.is_dry else ''}{told}"]


@refusals_told("dlq show")
def shown(settings: Settings, name: str, *, reveal: bool) -> dict[str, Any]:
    """One letter with its row as it may be seen: columns tagged PII are hidden unless revealed."""
    owner = owner_of(name)
    found = next((letter for letter in letters(settings, [owner]) if letter.name == name), None)
    if found is None:
        raise Misconfigured(name, "there is no such letter", fix="`mesh dlq list` shows them")
    directory = read_directory(settings.kafka)
    feed = owner if owner in directory.feeds else directory.grants[owner].grant.feed
    view = View(contract=directory.feeds[feed].contract, is_revealed=reveal)
    told: dict[str, Any] = {**found.to_json(), "bytes": len(found.record.value or b"")}
    try:
        with closing(RegistryClient(settings.registry)) as registry:
            change = Codec(registry.schema).change(feed, found.record)
        if change is not None:
            told |= {"op": change.op.value, "key": view.row(change.key), "after": view.row(change.after)}
    except Rejected as error:
        told["unreadable"] = error.reason
        if reveal and found.record.value is not None:
            told["hex"] = found.record.value.hex()
    with closing(AuditedLog(settings.kafka, client_id="mesh-dlq")) as log:
        audit(log.append, "dlq show", name, revealed=reveal)
        log.flush(30)
    return told


def drop(settings: Settings, found: Sequence[Letter], *, dry_run: bool) -> Outcome:
    """Settle letters without delivering them; they stay on their topics, as a proof."""
    return _settle(settings, {letter.name: DROPPED for letter in found}, "dlq drop", dry_run=dry_run)


@refusals_told("dlq retry")
def retry(settings: Settings, found: Sequence[Letter], *, dry_run: bool) -> Outcome:
    """Have letters of a subscriber's target delivered again, in order. Raises Misconfigured for others, and without a grant."""
    directory = read_directory(settings.kafka)
    states: dict[str, str] = {}
    if found and not dry_run:  # records on `out` topics are in no transaction with it
        _note(settings, "dlq retry begun", [letter.name for letter in found])
    with closing(RegistryClient(settings.registry)) as registry:
        for owner in dict.fromkeys(letter.owner for letter in found):
            its = sorted((letter for letter in found if letter.owner == owner), key=lambda letter: letter.place)
            states |= _retry_grant(settings, directory, owner, its, registry.schema, dry_run=dry_run)
    return _settle(settings, states, "dlq retry", dry_run=dry_run)


def _retry_grant(
    settings: Settings,
    directory: Directory,
    owner: str,
    found: Sequence[Letter],
    schema_of: SchemaOf,
    *,
    dry_run: bool,
) -> dict[str, str]:
    others = [letter.name for letter in found if letter.headers.get("__connect.errors.stage") != "deliver"]
    if owner in directory.feeds or others:
        raise Misconfigured(
            ", ".join(others[:3]) or owner,
            "was refused before delivery: the same bytes would be refused again",
            fix="mend the row in its source, where its next change is a new record, then `mesh dlq drop` the letter",
        )
    entry = grant_of(directory, owner)
    earlier: dict[tuple[bytes | None, str], int] = {}
    for letter in letters(settings, [owner], state=RETRIED):
        earlier[letter.event] = earlier.get(letter.event, 0) + 1
    if worn := [letter.name for letter in found if earlier.get(letter.event, 0) >= RETRIES_MAX]:
        raise Misconfigured(
            ", ".join(worn[:3]), f"was retried {RETRIES_MAX} times already", fix="mend the target, or drop the letter"
        )
    topic = entry.topic
    states: dict[str, str] = {}
    for partition in dict.fromkeys(letter.place[0] for letter in found):
        its = [letter for letter in found if letter.place[0] == partition]
        newest = Newest(settings.kafka, topic, partition, {letter.record.key for letter in its}, schema_of)
        newest.read(min(letter.place[1] for letter in its))
        due = [letter for letter in its if not newest.has_newer(letter)]
        states |= {letter.name: RETRIED if letter in due else SUPERSEDED for letter in its}
        if dry_run or not due:
            continue
        with closing(Log(settings.kafka, client_id="mesh-dlq")) as log:
            for letter in due:
                count = str(earlier.get(letter.event, 0) + 1).encode()
                default = [("grant_id", owner.encode()), ("purpose", entry.grant.purpose.encode())]
                headers = [*newest.headers.get(letter.place[1], default), (COUNT_HEADER, count)]
                log.append(topic, letter.record.key, letter.record.value, partition=partition, headers=headers)
                if newest.is_removal(letter):
                    log.append(topic, letter.record.key, None, partition=partition, headers=default)
            log.flush(DURABLE_WITHIN_SECONDS)
            # What egress appended between our look and our record has to be the last of its key again.
            while overtaken := newest.read_on(due):
                for record in overtaken:
                    log.append(topic, record.key, record.value, partition=partition, headers=record.headers)
                log.flush(DURABLE_WITHIN_SECONDS)
    return states


def _settle(settings: Settings, states: Mapping[str, str], what: str, *, dry_run: bool) -> Outcome:
    if states and not dry_run:
        names = list(states)
        with closing(AuditedLog(settings.kafka, client_id="mesh-dlq")) as log:
            for start in range(0, len(names), SETTLED_TOGETHER):
                some = names[start : start + SETTLED_TOGETHER]
                for name in some:
                    publish(log.append, LETTERS, name, {"letter": name, "state": states[name]})
                _tell(log, what, some)
                log.flush(DURABLE_WITHIN_SECONDS)
    return Outcome(states=states, is_dry=dry_run)


def _note(settings: Settings, what: str, names: Sequence[str]) -> None:
    with closing(AuditedLog(settings.kafka, client_id="mesh-dlq")) as log:
        _tell(log, what, names)
        log.flush(DURABLE_WITHIN_SECONDS)


def _tell(log: AuditedLog, what: str, names: Sequence[str]) -> None:
    """One line for each owner, or several where it has very many letters."""
    for owner in dict.fromkeys(map(owner_of, names)):
        its = [name for name in names if owner_of(name) == owner]
        for start in range(0, len(its), SETTLED_TOGETHER):
            some = its[start : start + SETTLED_TOGETHER]
            audit(log.append, what, owner, count=len(some), letters=some)
