"""Encoded: a feed's keys and rows by their own bytes, for tables whose rows are compared as capture would encode them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from producers.fenced.table import FeedChange
from schemas.contract import Contract
from schemas.errors import Rejected
from schemas.wire.codec import RowCodec
from schemas.wire.envelope import value_schema
from schemas.wire.envelope_walk import BROKEN, envelope_walk
from schemas.wire.scan import Shape
from schemas.wire.walk import Walk

FRAME_BYTES = 5


def key_reader(_schema: Mapping[str, Any], /) -> Callable[[bytes], bytes]:
    """A key's own bytes."""
    return lambda message: message[FRAME_BYTES:]


def change_reader(contract: Contract, envelope: Mapping[str, Any]) -> Callable[[bytes], FeedChange]:
    """Reads envelopes of one schema; the text is the row's own bytes, of a former schema those that the present one gives them."""

    def row(record: Mapping[str, Any]) -> list[str]:
        walk.add("start = p")
        walk.skip(record)
        walk.add("row = m[start : p]")
        return ["row"]

    walk = Walk()
    read = reading(envelope_walk(walk, envelope, row))
    present = value_schema(contract)
    if _essence(envelope) == _essence(present):
        return read
    former, now = RowCodec.of_envelope(envelope), RowCodec.of_envelope(present)

    def renewed(message: bytes) -> FeedChange:
        found = read(message)
        return found if found.text is None else found._replace(text=now.write(former.read(found.text)))

    return renewed


def reading(walk: Callable[..., Any]) -> Callable[[bytes], FeedChange]:
    """A change as a walk over an envelope of one schema finds it, its cells joined."""

    def read(message: bytes) -> FeedChange:
        try:
            cells, op, token, _, unchanged, end = walk(message, FRAME_BYTES)
        except BROKEN as error:
            raise Rejected("not_decodable", type(error).__name__) from error
        if end != len(message) or not token:
            raise Rejected("not_decodable", "the message is not what its schema says")
        return FeedChange(op, token, None if cells is None else b"".join(cells), bool(unchanged))

    return read


def _essence(envelope: Mapping[str, Any]) -> Any:
    shape = Shape.of(envelope)
    return shape.columns, [shape.types.essence(kind) for kind in shape.column_types.values()]
