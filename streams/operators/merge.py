"""Merge: many feeds, one record: for each field the best source that says something, and where the value came from.

Pure functions that folds are made of (base archives, HANDBOOK §4 C and D; credit, I). Three of them carry a fold:

    rules = sources({"employer": ["hrss.insurance_month:employer_name"], …}, reads={…})      once, from configuration
    merged = merge(subject.of(*feeds), rules)          merged.values["employer"], merged.provenance["employer"]
    spans(IdentifierClaim(…) …)                        identifiers with validity: one per type and number
    conflict("NAME_CONFLICT", [subject.key], claims)   an item of the queue, with a deterministic id

A claim that must not count (another person's name under this number, say) is simply not among the facts given to `merge`.
Nothing here depends on the order of arrival: a source's rank decides, then the row's event time, then its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec

from schemas.errors import Misconfigured
from streams.operators.flow import Fact, Row, queue_item
from streams.operators.name import comparable, is_alias, loose

__all__ = [
    "IdentifierClaim",
    "MergeSource",
    "Merged",
    "comparable",
    "conflict",
    "deterministic_id",
    "is_alias",
    "loose",
    "merge",
    "origin",
    "sources",
    "spans",
]

Read = Callable[[Row], Any]
"""What a row says of a field; None where it says nothing."""


@dataclass(frozen=True, slots=True)
class MergeSource:
    """A feed that may speak of a field, and how. Of several rows of it the newest by event time speaks."""

    feed: str
    read: Read


class Merged(msgspec.Struct):
    """A record: each field's value (None where nobody says anything), and for those with one, where it came from.

    `provenance` maps a field to `{feed, position, committed_at}`: the commit that first brought the value in the newest
    unbroken run of it, microseconds. `facts` are the rows that supplied a value, for whoever needs more of them.
    """

    values: dict[str, Any] = {}
    provenance: dict[str, Row] = {}
    facts: dict[str, Fact] = {}

    @property
    def version(self) -> int:
        """The record's version: the newest commit that a value of it came from, milliseconds; 0 for an empty record."""
        return max((entry["committed_at"] // 1000 for entry in self.provenance.values()), default=0)


def sources(
    priority: Mapping[str, Sequence[str]], reads: Mapping[str, Read] | None = None
) -> dict[str, list[MergeSource]]:
    """Field to its sources, best first. Each is written `feed:column`, or `feed:name` of one of `reads`.

    Raises Misconfigured for a text that is neither.
    """
    found: dict[str, list[MergeSource]] = {}
    for name, texts in priority.items():
        for text in texts:
            feed, colon, column = text.partition(":")
            if not colon or "." not in feed or not column:
                fix = "write each source as <agency>.<table>:<column>"
                raise Misconfigured(f"priority of {name}", f"{text!r} names no column of a feed", fix=fix)
            found.setdefault(name, []).append(MergeSource(feed, (reads or {}).get(column) or _column(column)))
    return found


def _column(name: str) -> Read:
    def read(row: Row) -> Any:
        return row[name]

    return read


def merge(
    facts: Iterable[Fact], rules: Mapping[str, Sequence[MergeSource]], rank: Callable[[Fact], Any] = lambda _: 0
) -> Merged:
    """Fold rows into one record. A field's first source with a value supplies it; the others are not asked.

    `rank` orders rows of one feed before their event time does: the highest speaks. Deleted rows say nothing.
    """
    by_feed: dict[str, list[Fact]] = {}
    for fact in facts:
        if fact.row is not None:
            by_feed.setdefault(fact.feed, []).append(fact)
    for rows in by_feed.values():
        if len(rows) > 1:
            rows.sort(key=lambda fact: (rank(fact), fact.event_at, fact.row_id), reverse=True)
    merged = Merged()
    for name, choices in rules.items():
        merged.values[name] = None
        for source in choices:
            rows = by_feed.get(source.feed)
            if rows and _supply(merged, name, rows, source.read):
                break
    return merged


def _supply(merged: Merged, name: str, rows: Iterable[Fact], read: Read) -> bool:
    """Take a field from the newest of these rows that says something, if one does."""
    value: Any = None
    speaker: Fact | None = None
    first: Fact | None = None
    for fact in rows:  # newest first, as far back as those that say something agree
        said = read(fact.row or {})
        if said is None:
            continue
        if speaker is None:
            value, speaker = said, fact
        elif said != value:
            break
        first = origin(fact, read)
    if speaker is None or first is None:
        return False
    merged.values[name] = value
    merged.facts[name] = speaker
    merged.provenance[name] = {
        "feed": first.feed,
        "position": first.position,
        "committed_at": first.committed_at_ms * 1000,
    }
    return True


def origin(fact: Fact, read: Read) -> Fact:
    """The version of a row that brought what it says now: as far back as the versions agree, as far as they are kept."""
    if fact.row is None:
        return fact
    value, first = read(fact.row), fact
    for version in reversed(fact.earlier):
        if version.row is None or read(version.row) != value:
            break
        first = version
    return first


class IdentifierClaim(msgspec.Struct, frozen=True):
    """A source says that a number belongs to a subject, from a moment until before another (microseconds; None is open)."""

    id_type: str
    id_no: str
    valid_from: int | None
    valid_to: int | None
    source: str


def spans(claims: Iterable[IdentifierClaim]) -> list[IdentifierClaim]:
    """One span per identifier, in order of type and number: from the earliest beginning to the latest end.

    A claim with an open end keeps the span open; one with an open beginning says nothing of it, unless none does. The source
    is the one of the earliest claim.
    """
    by_number: dict[tuple[str, str], list[IdentifierClaim]] = {}
    for claim in claims:
        by_number.setdefault((claim.id_type, claim.id_no), []).append(claim)
    found: list[IdentifierClaim] = []
    for (id_type, id_no), same in sorted(by_number.items()):
        first = min(same, key=lambda claim: (claim.valid_from is None, claim.valid_from or 0, claim.source))
        ends = [claim.valid_to for claim in same]
        valid_to = None if None in ends else max(end for end in ends if end is not None)
        found.append(IdentifierClaim(id_type, id_no, first.valid_from, valid_to, first.source))
    return found


def deterministic_id(*parts: str) -> str:
    """The same 32 hexadecimal digits for the same parts, after any replay; does not show the parts."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def conflict(
    kind: str,
    subject_keys: Sequence[str],
    claims: Iterable[Fact],
    *,
    detail: str = "",
    values: Callable[[Fact], str | None] = lambda _: None,
    within: str = "",
) -> Row:
    """An item of the queue about these claims: identified by kind, subjects and the claims' rows, opened by the last commit.

    Give `within` the folded subject's key where `subject_keys` do not hold it: if a row goes from one subject to another, the
    delete of the one and the create of the other must not meet under one id, since nothing orders them.
    """
    found = sorted(claims, key=attrgetter("feed", "row_id"))
    identity = deterministic_id(kind, within, *sorted(subject_keys), *(f"{fact.feed}|{fact.row_id}" for fact in found))
    opened_at = max((fact.committed_at_ms for fact in found), default=0) * 1000
    return queue_item(identity, kind, subject_keys, found, opened_at=opened_at, detail=detail, values=values)
