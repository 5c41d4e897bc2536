"""The envelope: the Avro record in which one change travels, in Debezium's shape, and the key beside it.

Whatever reads Debezium reads our feeds unchanged (Flink SQL `debezium-avro-confluent`, JDBC sink connectors). Ours are
only the two optional fields at the end: `unchanged` and `dq`. Field order, which is the byte order of the encoding:

    before, after, source, op, ts_ms, transaction, unchanged, dq

Framing is Confluent's: a zero byte, the schema id as four bytes big-endian, then the Avro body.
"""

from __future__ import annotations

import struct
from typing import Any

from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract, wire_fields
from schemas.errors import Rejected

_HEADER = struct.Struct(">bI")

SOURCE_FIELDS: list[dict[str, Any]] = [
    {"name": "version", "type": "string"},
    {"name": "connector", "type": "string"},
    {"name": "name", "type": "string"},
    {"name": "ts_ms", "type": "long"},
    {"name": "snapshot", "type": ["null", "string"], "default": None},
    {"name": "db", "type": "string"},
    {"name": "sequence", "type": ["null", "string"], "default": None},
    {"name": "schema", "type": ["null", "string"], "default": None},
    {"name": "table", "type": "string"},
    {"name": "txId", "type": ["null", "long"], "default": None},
    {"name": "lsn", "type": ["null", "long"], "default": None},
    {"name": "file", "type": ["null", "string"], "default": None},
    {"name": "pos", "type": ["null", "long"], "default": None},
    {"name": "gtid", "type": ["null", "string"], "default": None},
]
"""`ts_ms` is the commit time; `sequence` the Position; `name` is `<agency>.<source>`. `lsn` and `txId` come from PostgreSQL,
`file`, `pos` and `gtid` from a binary log."""

TRANSACTION_FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "total_order", "type": "long"},
    {"name": "data_collection_order", "type": "long"},
]

MARK_FIELDS: list[dict[str, Any]] = [
    {"name": "code", "type": "string"},
    {"name": "columns", "type": {"type": "array", "items": "string"}},
    {"name": "normalised", "type": ["null", "string"], "default": None},
]
"""A data-quality mark: a validator's code or a rule's name, the columns it speaks of, and their canonical text if it has one
(an 18-digit citizen identity number 公民身份号码 for a 15-digit one)."""


def key_schema(contract: Contract) -> dict[str, Any]:
    """The key's schema: frozen for the life of the feed, since its id is part of the key bytes (KF-09)."""
    fields = [{"name": name, "type": contract.by_name[name].wire_type()} for name in contract.key]
    return {"type": "record", "name": "Key", "namespace": contract.feed, "fields": fields}


def out_key_schema(contract: Contract, grant: Grant) -> dict[str, Any]:
    """The key's schema on the grant's `out` topic: the feed's own, but for hashed key columns, which become text."""
    schema = key_schema(contract)
    for field in schema["fields"]:
        if grant.mask.get(field["name"]) is Mask.HASH:
            field["type"] = "string"
    return schema


def out_value_schema(contract: Contract, grant: Grant) -> dict[str, Any]:
    """The envelope's schema on the grant's `out` topic: key and granted columns only, hashed columns as text."""
    fields = [
        field
        for field in wire_fields(contract)
        if field["name"] in contract.key
        or (field["name"] in grant.columns and grant.mask.get(field["name"]) is not Mask.DROP)
    ]
    for field in fields:
        if grant.mask.get(field["name"]) is Mask.HASH:
            field["type"] = ["null", "string"] if isinstance(field["type"], list) else "string"
    return _envelope(contract, fields)


def value_schema(contract: Contract) -> dict[str, Any]:
    """The envelope's schema on the feed's own topic: every column of the contract."""
    return _envelope(contract, wire_fields(contract))


def _envelope(contract: Contract, fields: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"type": "record", "name": "Value", "fields": fields}
    namespace = contract.feed
    return {
        "type": "record",
        "name": "Envelope",
        "namespace": namespace,
        "connect.name": f"{namespace}.Envelope",
        "doc": contract.record.get("doc", ""),
        "fields": [
            {"name": "before", "type": ["null", row], "default": None},
            {"name": "after", "type": ["null", "Value"], "default": None},
            {
                "name": "source",
                "type": {"type": "record", "name": "Source", "namespace": "io.pearlmesh", "fields": SOURCE_FIELDS},
            },
            {"name": "op", "type": "string"},
            {"name": "ts_ms", "type": ["null", "long"], "default": None},
            {
                "name": "transaction",
                "type": [
                    "null",
                    {
                        "type": "record",
                        "name": "Transaction",
                        "namespace": "io.pearlmesh",
                        "fields": TRANSACTION_FIELDS,
                    },
                ],
                "default": None,
            },
            {"name": "unchanged", "type": ["null", {"type": "array", "items": "string"}], "default": None},
            {
                "name": "dq",
                "type": [
                    "null",
                    {
                        "type": "array",
                        "items": {"type": "record", "name": "Mark", "namespace": "io.pearlmesh", "fields": MARK_FIELDS},
                    },
                ],
                "default": None,
            },
        ],
    }


def frame(schema_id: int) -> bytes:
    """The five bytes before an Avro body."""
    return _HEADER.pack(0, schema_id)


def unframe(message: bytes) -> tuple[int, int]:
    """The schema id of a framed message, and where its body starts. Raises Rejected for bytes that are not framed."""
    if len(message) < 5 or message[0] != 0:
        raise Rejected("bad_magic", "the bytes do not start with the Confluent wire format's zero byte and schema id")
    return _HEADER.unpack_from(message)[1], 5
