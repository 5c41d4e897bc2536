"""Sample: some newest rows of a feed, as they may be shown to who looks at the catalogue: nothing that tells of a person.

Stricter than `mesh tail`: whatever its contract tags as personal, sensitive or of level 3 and above is hidden, and so is what is not
to be shared. Nobody's group reads, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ops.settings import Settings
from ops.show.tail import HIDDEN, View, readable
from schemas.agreement.directory import FeedEntry
from schemas.change import Change
from schemas.contract import Contract, Field
from schemas.errors import Rejected
from schemas.log.offsets import bounds_of
from schemas.log.range import read_ranges
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec

ROWS = 5
LOOKED_AT = 40
"""Offsets of each partition: some are ends of transactions, tombstones and deletes."""
CHARACTERS_MAX = 40
HIDDEN_TAGS = frozenset({"PII", "L3", "L4", "DIRECT_ID", "QUASI_ID", "SENSITIVE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Rows by column, as text; None for null. `hidden` are the columns that are not shown."""

    columns: Sequence[Field]
    hidden: frozenset[str]
    rows: Sequence[dict[str, str | None]]


def sample(settings: Settings, registry: RegistryClient, entry: FeedEntry) -> Sample:
    """The newest rows of a feed, the newest first. Raises Transient."""
    contract, hidden = entry.contract, hidden_of(entry.contract)
    ends = bounds_of(settings.kafka, [(entry.feed, number) for number in range(entry.partitions)])
    ranges = {place: (max(low, high - LOOKED_AT), high) for place, (low, high) in ends.items()}
    codec, found = Codec(registry.schema), list[Change]()
    for batch in read_ranges(settings.kafka, ranges, {"isolation.level": "read_committed"}):
        for record in batch.records:
            try:
                change = codec.change(entry.feed, record)
            except Rejected:
                continue  # `mesh tail` tells of it; here it is no row
            if change is not None and change.after is not None:
                found.append(change)
    newest: dict[str, Change] = {}
    for change in sorted(found, key=lambda each: each.committed_at_ms, reverse=True):
        newest.setdefault(repr(change.key), change)
    rows = [
        {field.name: _text(field, (change.after or {}).get(field.name), hidden) for field in contract.fields}
        for change in list(newest.values())[:ROWS]
    ]
    return Sample(columns=contract.fields, hidden=hidden, rows=rows)


def hidden_of(contract: Contract) -> frozenset[str]:
    """The columns whose values nobody sees in a sample."""
    kept_back = {
        field.name for field in contract.fields if field.tags & HIDDEN_TAGS or _class(field, contract) == "NOT_SHARED"
    }
    return View(contract=contract).hidden | kept_back


def _class(field: Field, contract: Contract) -> Any:
    return field.gov.get("class") or contract.gov.get("class")


def _text(field: Field, value: Any, hidden: frozenset[str]) -> str | None:
    if value is None:
        return None
    if field.name in hidden:
        return HIDDEN
    text = str(readable(field, value))
    return text if len(text) <= CHARACTERS_MAX else f"{text[: CHARACTERS_MAX - 1]}…"
