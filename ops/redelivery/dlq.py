"""`mesh dlq`: what becomes of the dead letters of feeds and grants: they are shown, delivered again, or settled.

**Retry** appends the original record to its `out` topic again, so that the subscriber's own lane delivers it, in order, and the
position guards newer rows at the target. A record that has a newer one of its key on the topic is superseded: it is not appended,
for an older change must not become the last of its key. A subscriber's letters go to that subscriber alone.

However many there are, they go in runs (retry.py): killed half way, the same command goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import refusals_told
from ops.redelivery.again import DURABLE_WITHIN_SECONDS
from ops.redelivery.letter import DROPPED, Choice, Letter, boxes, letters, owner_of
from ops.settings import Settings
from ops.show.tail import View
from ops.trust.audit import audit
from schemas.errors import Misconfigured, Rejected
from schemas.feed import LETTERS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec

NAMED_MAX = 1_000
"""So many letters are told by name; of more there are counts."""
RUN_MAX = 2_000
Progress = Callable[[int, int], None]
"""Told how many letters are done, and of how many that were looked through at most."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of letters, or would: how many by state, and the first of them by name. `notes` say what to do about others."""

    is_dry: bool
    counts: Counter[str] = field(default_factory=Counter[str])
    states: dict[str, str] = field(default_factory=dict[str, str])
    notes: dict[str, str] = field(default_factory=dict[str, str])

    def count(self, letter: Letter, state: str) -> None:
        """One more."""
        self.counts[state] += 1
        if len(self.states) < NAMED_MAX:
            self.states[letter.name] = state

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        told = {"dry_run": self.is_dry, "counts": dict(sorted(self.counts.items())), "letters": self.states}
        return {**told, "notes": self.notes} if self.notes else told

    def lines(self) -> list[str]:
        """For people."""
        told = ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items())) or "nothing to do"
        notes = [f"  {state}: {note}" for state, note in self.notes.items()]
        return [f"{'would be: ' if self.is_dry else ''}{told}", *notes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """Waiting letters counted by whose they are, where they failed and why."""

    rows: Mapping[tuple[str, str, str], tuple[int, str, str]]

    def to_json(self) -> list[dict[str, Any]]:
        """For scripts."""
        return [
            {"owner": owner, "hop": hop, "reason": cause, "letters": count, "first": first, "last": last}
            for (owner, hop, cause), (count, first, last) in self.rows.items()
        ]

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"{count:>9,}  {cause}  {owner}  {hop}  {first} to {last}"
            for (owner, hop, cause), (count, first, last) in self.rows.items()
        ]
        return [*told, f"{sum(count for count, _, _ in self.rows.values()):,} letters by {len(self.rows)} causes"]


def by_cause(found: Iterator[Letter]) -> Causes:
    """Count letters by cause, the most frequent first; no value of a row is among it."""
    rows: dict[tuple[str, str, str], tuple[int, str, str]] = {}
    for letter in found:
        key = (letter.owner, letter.hop, letter.cause)
        count, first, _ = rows.get(key, (0, letter.name, ""))
        rows[key] = (count + 1, first, letter.name)
    return Causes(rows=dict(sorted(rows.items(), key=lambda row: -row[1][0])))


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


@refusals_told("dlq drop")
def drop(settings: Settings, chosen: Choice, *, dry_run: bool, progress: Progress = lambda _done, _of: None) -> Outcome:
    """Settle letters without delivering them; they stay on their topics, as a proof."""
    outcome = Outcome(is_dry=dry_run)
    named: set[str] = set()
    with closing(AuditedLog(settings.kafka, client_id="mesh-dlq")) as log:
        for box in boxes(settings, chosen.owners):
            low, end = box.bounds()
            run: dict[str, str] = {}
            for letter in box.read(low, end):
                named |= {letter.name} & chosen.single
                if not chosen.takes(letter):
                    continue
                outcome.count(letter, DROPPED)
                run[letter.name] = DROPPED
                if len(run) == RUN_MAX:
                    settle(log, "dlq drop", box.owner, {} if dry_run else run)
                    progress(letter.offset - low, end - low)
                    run = {}
            settle(log, "dlq drop", box.owner, {} if dry_run else run)
    missing(chosen.single, named)
    return outcome


def settle(log: AuditedLog, what: str, owner: str, states: Mapping[str, str], **details: Any) -> None:
    """Say what became of some letters, and in the same transaction who did it; durable on return. Raises Transient."""
    if not states:
        return
    for name, state in states.items():
        publish(log.append, LETTERS, name, {"letter": name, "state": state})
    audit(log.append, what, owner, count=len(states), letters=list(states), **details)
    log.flush(DURABLE_WITHIN_SECONDS)


def missing(wanted: frozenset[str], found: set[str]) -> None:
    """Raises Misconfigured for letters that were named and are not there."""
    if unknown := wanted - found:
        raise Misconfigured(", ".join(sorted(unknown)), "there is no such letter", fix="`mesh dlq list` shows them")
