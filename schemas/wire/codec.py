"""The Avro codec: the one door to fastavro.

Inside the mesh values are raw: dates and times stay integers, decimals stay bytes, because a reader that turns them into
Python objects fails on legal Avro (dates outside the years 1 to 9999, a time of 24:00; PG-38).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
from fastavro.types import Schema

from schemas.change import Change, Op, Record
from schemas.contract import AvroType
from schemas.errors import Rejected
from schemas.position import Position
from schemas.wire.envelope import frame, unframe
from schemas.wire.row_writer import row_writer
from schemas.wire.schema import SchemaOf


def without_logical_types(schema: Any) -> Any:
    """The schema with logical types removed, so that values stay as Avro stores them."""
    if isinstance(schema, Mapping):
        return {name: without_logical_types(value) for name, value in schema.items() if name != "logicalType"}
    if isinstance(schema, list):
        return [without_logical_types(branch) for branch in schema]
    return schema


def parse_raw(schema: Mapping[str, Any]) -> Schema:
    """A parsed schema that reads and writes raw values."""
    return fastavro.parse_schema(without_logical_types(json.loads(json.dumps(schema))), named_schemas={})


class RowCodec:
    """Reads and writes records of one schema by themselves, without a frame: a key, or an envelope's `before` or `after`."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self._schema = parse_raw({"type": "record", "name": "Row", "fields": record["fields"]})
        self._names: dict[str, Any] = {}
        self._write = row_writer(record, self._slow)

    @classmethod
    def of_envelope(cls, envelope: Mapping[str, Any]) -> RowCodec:
        """For the rows in envelopes of this schema."""
        return cls(envelope["fields"][0]["type"][1])

    def read(self, data: bytes) -> dict[str, Any]:
        """The row in exactly these bytes. Raises Rejected when they are none."""
        try:
            row: Any = fastavro.schemaless_reader(io.BytesIO(data), self._schema, None)
        except (EOFError, ValueError, IndexError, TypeError, OverflowError, UnicodeDecodeError) as error:
            raise Rejected("not_decodable", f"a row: {type(error).__name__}") from error
        return row

    def write(self, row: Mapping[str, Any]) -> bytes:
        """The row's bytes. Raises Rejected when it does not fit the schema."""
        try:
            return self._write(row)
        except (ValueError, TypeError, OverflowError, KeyError, AttributeError) as error:
            raise Rejected("not_encodable", f"a row: {type(error).__name__}") from error

    def _slow(self, column: AvroType) -> Callable[[Any], bytes]:
        """The general writer, for one column of a kind that has no straight lines. It knows the types named by columns before it."""
        record = {"type": "record", "name": "Column", "fields": [{"name": "value", "type": column}]}
        self._names.pop("Column", None)
        schema = fastavro.parse_schema(without_logical_types(record), named_schemas=self._names)

        def write(value: Any) -> bytes:
            out = io.BytesIO()
            fastavro.schemaless_writer(out, schema, {"value": value})
            return out.getvalue()

        return write


class Codec:
    """Encodes and decodes framed messages; parses each schema once. Not shared between threads."""

    def __init__(self, schema_of: SchemaOf) -> None:
        self._schema_of = schema_of
        self._parsed: dict[int, Schema] = {}

    def _schema(self, schema_id: int) -> Schema:
        parsed = self._parsed.get(schema_id)
        if parsed is None:
            parsed = self._parsed[schema_id] = parse_raw(self._schema_of(schema_id))
        return parsed

    def encode(self, schema_id: int, value: Mapping[str, Any]) -> bytes:
        """A framed message. Raises Rejected when the value does not fit the schema."""
        out = io.BytesIO()
        out.write(frame(schema_id))
        try:
            fastavro.schemaless_writer(out, self._schema(schema_id), value)
        except (ValueError, TypeError, OverflowError, KeyError) as error:
            raise Rejected("not_encodable", f"schema {schema_id}: {type(error).__name__}") from error
        return out.getvalue()

    def decode(self, message: bytes) -> dict[str, Any]:
        """The record in a framed message, in the schema it was written with. Raises Rejected when it cannot be read."""
        schema_id, start = unframe(message)
        body = io.BytesIO(message)
        body.seek(start)
        schema = self._schema(schema_id)
        try:
            record: Any = fastavro.schemaless_reader(body, schema, None)
        except (EOFError, ValueError, IndexError, TypeError, OverflowError, UnicodeDecodeError) as error:
            raise Rejected("not_decodable", f"schema {schema_id}: {type(error).__name__}") from error
        if body.tell() != len(message):
            raise Rejected("trailing_bytes", f"schema {schema_id}: bytes are left after the record")
        return record

    def change(self, feed: str, record: Record) -> Change | None:
        """The change in a record; None for a tombstone. Raises Rejected when it cannot be read."""
        if record.value is None:
            return None
        envelope = self.decode(record.value)
        source = envelope["source"]
        transaction = envelope["transaction"]
        return Change(
            feed=feed,
            op=Op(envelope["op"]),
            key=self.decode(record.key) if record.key else {},
            before=envelope["before"],
            after=envelope["after"],
            position=Position.parse(source["sequence"]),
            committed_at_ms=source["ts_ms"],
            transaction=transaction["id"] if transaction else None,
            unchanged=envelope["unchanged"] or (),
            marks=envelope["dq"] or (),
            headers={name: value.decode("utf-8", "replace") for name, value in record.headers or ()},
        )
