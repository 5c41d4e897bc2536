"""Fold: what stands in a feed at a position, by key: of each key the change with the highest position up to there.

By position, as every sink has it: a resend and a copy that came late change nothing. A truncate ends all that is below it, in every
partition. Tombstones say nothing that the removal before them did not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heappush, heappushpop
from typing import Any, NamedTuple

from ops.proof.source.spill import PARTS, Spill
from producers.fenced.table import FeedChange, FencedTable, key_digest, range_of, row_digest
from schemas.change import Batch
from schemas.errors import Rejected
from schemas.position import Position
from schemas.wire.schema import SchemaOf

GONE, STANDS, PARTIAL, TWICE = range(4)
"""What an entry says of its key: no row; a row; a row of which the source did not send all; two rows of one position."""
HIGHEST = 20


class Standing(NamedTuple):
    """A row that stands in the feed: by its hash, and where."""

    token: bytes
    row: bytes
    state: int
    partition: int
    offset: int


class FoldedFeed:
    """Takes a feed's records in the order of their offsets; then says part by part what stands."""

    def __init__(self, table: FencedTable, schema_of: SchemaOf, salt: bytes, *, is_keyed_only: bool) -> None:
        self._table = table
        self._schema_of = schema_of
        self._salt = salt
        self._fence = str(table.position).encode()
        self._is_keyed_only = is_keyed_only
        self._spill = Spill(">16s38s8sBHQ")
        self._changes: dict[int, Callable[[bytes], FeedChange]] = {}
        self._keys: dict[int, Callable[[bytes], bytes]] = {}
        self._truncated = b""
        self.records = 0
        self.unreadable: list[tuple[int, int]] = []
        """Partition and offset of records that no reader of the feed can take."""
        self.foreign: list[tuple[int, int]] = []
        """Partition and offset of records with a position that the source had not reached when the feed had been read."""
        self._emptied_at: dict[int, int] = {}
        self._highest: list[tuple[bytes, int, int]] = []

    def take(self, batch: Batch) -> None:
        """Read a batch; what lies behind the fence is left. Raises Transient where the registry does not answer."""
        fence, salt, spill, partition = self._fence, self._salt, self._spill, batch.partition
        self.records += len(batch.records)
        for record in batch.records:
            value = record.value
            if value is None:
                continue
            try:
                op, token, text, is_partial = self._change(value)
                if token > fence:
                    self._behind(token, partition, record.offset)
                    continue
                if op == b"t":
                    if token >= self._truncated:
                        self._truncated = token
                        self._emptied_at[partition] = record.offset
                    continue
                key = key_digest(salt, self.key_text(record.key or b""))
            except Rejected:
                self.unreadable.append((partition, record.offset))
                continue
            row = b"" if text is None else row_digest(salt, text)
            state = GONE if text is None else PARTIAL if is_partial else STANDS
            spill.add(key[0], spill.pack(key, token, row, state, partition, record.offset))

    def _behind(self, token: bytes, partition: int, offset: int) -> None:
        """Keep the highest few."""
        keep = heappush if len(self._highest) < HIGHEST else heappushpop
        keep(self._highest, (token, partition, offset))

    def judge(self, latest: Position) -> None:
        """Tell what is none of the source's. What cannot be read and lies before the last truncate is over: a copy came since."""
        bound, emptied = str(latest).encode(), self._emptied_at
        self.foreign = sorted((partition, offset) for token, partition, offset in self._highest if token > bound)
        self.unreadable = [place for place in self.unreadable if place[1] > emptied.get(place[0], -1)]

    def part(self, number: int) -> dict[bytes, Standing]:
        """The rows that stand, of the keys of one part."""
        found: dict[bytes, Standing] = {}
        for key, *rest in self._spill.part(number):
            entry = Standing(*rest)
            former = found.get(key)
            if former is None or entry.token > former.token:
                found[key] = entry
            elif entry.token == former.token and (entry.row, entry.state) != (former.row, former.state):
                found[key] = entry if self._is_keyed_only else entry._replace(state=TWICE)
        truncated = self._truncated
        return {key: entry for key, entry in found.items() if entry.state != GONE and entry.token > truncated}

    def parts(self) -> Iterator[tuple[int, dict[bytes, Standing]]]:
        """All of them, one after the other."""
        return ((number, self.part(number)) for number in range(PARTS))

    def close(self) -> None:
        """Let go of what is on disk."""
        self._spill.close()

    def key_text(self, key: bytes) -> bytes:
        """The text of a record's key. Raises Rejected for what is none."""
        number = _schema_id(key)
        read = self._keys.get(number)
        if read is None:
            read = self._keys[number] = self._table.key_reader(self._schema_of(number))
        return read(key)

    def _change(self, value: bytes) -> FeedChange:
        number = _schema_id(value)
        read = self._changes.get(number)
        if read is None:
            schema = self._schema_of(number)
            _check_envelope(schema)
            read = self._changes[number] = self._table.change_reader(schema)
        return read(value)


def in_ranges(rows: Mapping[bytes, Standing], ranges: frozenset[int]) -> Iterable[tuple[bytes, Standing]]:
    """Those whose key falls into one of the ranges."""
    return ((key, row) for key, row in rows.items() if range_of(key) in ranges)


def _schema_id(framed: bytes) -> int:
    if len(framed) < 5 or framed[0]:
        raise Rejected("not_framed", "the bytes name no schema")
    return int.from_bytes(framed[1:5], "big")


def _check_envelope(schema: Any) -> None:
    fields = schema.get("fields") if isinstance(schema, Mapping) else None
    if [field["name"] for field in fields or ()][:4] != ["before", "after", "source", "op"]:
        raise Rejected("not_an_envelope", "the schema that the record names is not an envelope's")
