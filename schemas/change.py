"""Change: one committed row change, and the batches in which hops hand changes on.

Hot loops work on the Avro bytes of a `Record` and never build a `Change`; what reads single changes (webhooks, files,
`mesh tail`, folds) decodes into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from schemas.position import Position

Partition = tuple[str, int]
"""A topic, and the number of one of its partitions."""


class Op(StrEnum):
    """What happened to the row, in Debezium's letters."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"  # a row of the initial snapshot
    TRUNCATE = "t"  # every row of the table at once; the key is null


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One committed row change.

    `key` maps key column to value (empty for a truncate). `before` and `after` map column to value, as raw Avro values:
    dates are days and timestamps microseconds since 1970-01-01, decimals are unscaled big-endian bytes. A column named in
    `unchanged` was not sent by the source: it is absent, not NULL. `committed_at_ms` is the commit's UTC time in
    milliseconds. Two deliveries of one change have equal positions.
    """

    feed: str
    op: Op
    key: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    position: Position
    committed_at_ms: int
    transaction: str | None = None
    unchanged: Sequence[str] = ()
    marks: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Record(NamedTuple):
    """One Kafka record as it came: framed Avro bytes, not yet decoded. A tombstone has `value` None."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] | None
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A run of records of one partition, in offset order: the unit that a hop reads, does and confirms."""

    topic: str
    partition: int
    records: Sequence[Record]

    @property
    def next_offset(self) -> int:
        """The offset to commit once the whole batch is durable downstream."""
        return self.records[-1].offset + 1
