"""Arrival: a feed's record as the flows' intake takes it: checked, and read no further than it must be.

The envelope is scanned once (schemas/wire/scan.py), which also runs the contract's fatal rules; only the row as it is gets decoded,
and the row as it was where somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected
from schemas.wire.codec import RowCodec
from schemas.wire.scan import Scanner, Shape
from schemas.wire.schema import SchemaOf
from schemas.wire.spans import far_text, read_text
from schemas.wire.varint import read_long
from streams.egress.enrich import Check, Enrichment
from streams.operators.flow import Row

TRUNCATE = ord("t")

Arrived = tuple[int, Callable[[], Row | None], Row | None, str, int]
"""Operation as a byte, the row as it was (when asked), the row as it is, position text, commit in milliseconds."""


class Former:
    """The row as it was: read when the first flow asks for it, and kept for the others."""

    __slots__ = ("_read", "_row")

    def __init__(self, read: Callable[[], Row]) -> None:
        self._read: Callable[[], Row] | None = read
        self._row: Row | None = None

    def __call__(self) -> Row | None:
        """The row."""
        if self._read is not None:
            self._row, self._read = self._read(), None
        return self._row


def _no_row() -> None:
    return None


class Arrival:
    """Reads records of one feed in one value schema. `take` raises Rejected, IndexError or UnicodeDecodeError for a broken one."""

    def __init__(self, schema_id: int, entry: FeedEntry, schema_of: SchemaOf) -> None:
        schema = schema_of(schema_id)
        shape = Shape.of(schema)
        width = len(shape.columns)
        enrichment = Enrichment(entry.contract, shape)
        scanner = Scanner(shape, {0, width} | enrichment.boundaries)
        self._scan = scanner.scan
        self._first, self._last = scanner.slot[0], scanner.slot[width]
        self._check: Check | None = enrichment.build(scanner) if enrichment else None
        self._rows = RowCodec.of_envelope(schema)
        self._origin = b""
        self._committed_at_ms = 0
        names = [field["name"] for field in shape.types.resolve(shape.section("source"))["fields"]]
        if names[:7] != ["version", "connector", "name", "ts_ms", "snapshot", "db", "sequence"]:
            raise Rejected("not_an_envelope", "the source block has another beginning than ours")

    def take(self, value: bytes) -> Arrived:
        """What a record says."""
        spans = self._scan(value)
        op, before, after, source = spans[:4]
        if after is not None and self._check is not None:
            self._check(value, after, source)
        row = None if after is None else self._rows.read(value[after[self._first] : after[self._last]])
        if not value.startswith(self._origin, source) or not self._origin:
            self._read_origin(value, source)
        _, place = read_long(value, source + len(self._origin))
        position = read_text(value, place)[0].decode()
        former = _no_row if before is None else Former(partial(self._row, value, before))
        return op, former, row, position, self._committed_at_ms

    def _read_origin(self, value: bytes, source: int) -> None:
        """Read the source block up to `db`: the changes of one transaction have the same, byte for byte."""
        place = far_text(value, far_text(value, far_text(value, source)))
        self._committed_at_ms, place = read_long(value, place)
        branch, place = read_long(value, place)
        place = far_text(value, place) if branch else place  # snapshot
        self._origin = value[source : far_text(value, place)]

    def _row(self, value: bytes, boundaries: tuple[int, ...]) -> Row:
        return self._rows.read(value[boundaries[self._first] : boundaries[self._last]])
