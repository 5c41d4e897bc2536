"""Records of a stated feed: rows and keys as Avro bytes, and the envelopes around them (schemas/wire/envelope.py has the layout)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from importlib.metadata import version
from typing import Any

from producers.source import TRUNCATE_KEY
from producers.stated.cell import Misread, cell_reader
from schemas.agreement.directory import FeedEntry
from schemas.errors import Rejected
from schemas.log.lane import Outgoing
from schemas.position import Position
from schemas.wire.codec import RowCodec
from schemas.wire.envelope import frame, key_schema, value_schema
from schemas.wire.varint import long_bytes, text_bytes

_NULL, _SOME, _END = b"\0", b"\x02", b"\0\0"
_OPS = {op: text_bytes(op.encode()) for op in "crudt"}
_VERSION = text_bytes(version("pearlmesh").encode())
_SEQUENCE = str(Position(0, 0, 0))
_ORDINAL_DIGITS = 8


class KeyUnread(Rejected):
    """A row whose key cannot be read: it cannot be told which row of the table it is."""


class StatedRows:
    """From the values of a row to its key and its Avro row. Used by one thread."""

    def __init__(self, entry: FeedEntry, zone: tzinfo, *, is_sheet: bool) -> None:
        contract = entry.contract
        self._frame = frame(entry.key_schema_id)
        self._keys = RowCodec(key_schema(contract))
        self._rows = RowCodec.of_envelope(value_schema(contract))
        readers = [(field, cell_reader(field, zone, is_sheet=is_sheet)) for field in contract.fields]
        self._key = [(field.name, read, field.is_nullable) for field, read in readers if field.is_key]
        self._rest = [(field.name, read) for field, read in readers if not field.is_key]

    def encoded(self, values: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Framed key and row. `values`: field name to value, None or absent is NULL. Raises KeyUnread, or Rejected with `key`."""
        row = self._key_of(values)
        key = self._framed(row)
        try:
            return key, self._whole(row, values)
        except Rejected as error:
            raise RowUnread(error.reason, str(error), key=key) from None

    def key(self, values: Mapping[str, Any]) -> bytes:
        """The framed key alone. Raises KeyUnread."""
        return self._framed(self._key_of(values))

    def _framed(self, key: Mapping[str, Any]) -> bytes:
        return self._frame + self._keys.write(key)

    def _key_of(self, values: Mapping[str, Any]) -> dict[str, Any]:
        key: dict[str, Any] = {}
        for name, read, is_nullable in self._key:
            value = values.get(name)
            if value is None and not is_nullable:
                raise KeyUnread("key_is_null", f"column {name}")
            try:
                key[name] = None if value is None else read(value)
            except Misread as error:
                raise KeyUnread(error.reason, f"column {name}") from None
        return key

    def _whole(self, row: dict[str, Any], values: Mapping[str, Any]) -> bytes:
        get = values.get
        for name, read in self._rest:
            value = get(name)
            if value is not None:
                try:
                    row[name] = read(value)
                except Misread as error:
                    raise Rejected(error.reason, f"column {name}") from None
        return self._rows.write(row)


class RowUnread(Rejected):
    """A row whose key is known, and whose values are not: the row stays as it was."""

    def __init__(self, reason: str, message: str, *, key: bytes) -> None:
        super().__init__(reason, message)
        self.key = key


class StatedRecords:
    """The records of one statement: `source` is `<agency>.<source>`, `file` what stated the rows, empty where it was no file."""

    def __init__(
        self, entry: FeedEntry, *, connector: str, source: str, epoch: int, number: int, at_ms: int, file: str = ""
    ) -> None:
        self._entry = entry
        self._place = (epoch, number)
        self._framed = frame(entry.value_schema_id)
        schema, _, table = entry.contract.table.rpartition(".")
        self._head = _VERSION + text_bytes(connector.encode()) + text_bytes(source.encode()) + long_bytes(at_ms)
        self._names = _SOME + text_bytes(schema.encode()) + text_bytes(table.encode()) + _NULL + _NULL
        self._names += (_SOME + text_bytes(file.encode()) if file else _NULL) + _NULL + _NULL
        self._ends = {op: self._names + text + _SOME + long_bytes(at_ms) + _NULL + _END for op, text in _OPS.items()}
        self._starts = {op: self._start(Position(epoch, number, 0), op) for op in "crud"}

    def _start(self, position: Position, op: str) -> bytes:
        snapshot = _SOME + text_bytes(b"true") if op == "r" else _NULL
        sequence = text_bytes(str(position).encode())
        return self._head + snapshot + text_bytes(b"") + _SOME + sequence[: -_ORDINAL_DIGITS - 2]

    def change(self, op: str, key: bytes, before: bytes | None, after: bytes | None, ordinal: int) -> list[Outgoing]:
        """The records of one change, a delete's tombstone among them. `ordinal` counts changes from 1; each has two positions."""
        value = b"".join(
            (
                self._framed,
                _NULL if before is None else _SOME + before,
                _NULL if after is None else _SOME + after,
                self._starts[op],
                b'%08X"]' % (ordinal * 2),
                self._ends[op],
            )
        )
        feed = self._entry.feed
        change: Outgoing = (feed, key, value, -1, None)
        return [change] if op != "d" else [change, (feed, key, None, -1, None)]

    def emptied(self) -> Iterable[Outgoing]:
        """A truncate behind every position of the epoch before: what was stated in it is gone."""
        epoch, _ = self._place
        position = Position(epoch - 1, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF)
        start = self._start(position, "t") + b'%08X"]' % position.minor
        value = self._framed + _NULL + _NULL + start + self._ends["t"]
        return [(self._entry.feed, TRUNCATE_KEY, value, number, None) for number in range(self._entry.partitions)]


assert _SEQUENCE.endswith('"]'), "the ordinal stands last"
