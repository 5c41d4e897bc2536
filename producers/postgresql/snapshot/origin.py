"""Origin: where the rows of a source are from, as all of its envelopes say it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from producers.postgresql.link.catalog import split
from producers.postgresql.value.envelope import FeedEnvelope, Transaction, truncate_value
from producers.source import TRUNCATE_KEY, SourceBatch
from schemas.agreement.directory import FeedEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all rows of one source say of where they are from; `source` is `<agency>.<source>`."""

    source: str
    database: str
    epoch: int
    codec: str

    def envelope(self, entry: FeedEntry, table: str) -> FeedEnvelope:
        """The envelope of a feed that carries the table `<schema>.<table>`."""
        schema, relation = split(table)
        return FeedEnvelope(
            value_schema_id=entry.value_schema_id,
            source=self.source,
            database=self.database,
            schema=schema,
            table=relation,
        )

    def emptied(self, entries: Iterable[FeedEntry], marks: Iterable[Any], at: int = 0) -> SourceBatch:
        """Truncates that go before a copy: subscribers learn that all rows of a former one, and changes before `at`, are gone."""
        batch = SourceBatch()
        moment = Transaction(0, self.epoch, at, int(time.time() * 1000), None)
        for entry in entries:
            value = truncate_value(self.envelope(entry, entry.contract.table), moment, 0, 0)
            batch.records += [(entry.feed, TRUNCATE_KEY, value, number, None) for number in range(entry.partitions)]
            batch.count(entry.feed, "t", 1, len(value))
        batch.marks += [(len(batch.records), mark) for mark in marks]
        return batch
