"""Document: one change as a subscriber reads it: a JSON object for webhooks and the live feed, a flat row for files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from schemas.agreement.objection import CORRECTION_OF
from schemas.change import Change, Op, Record
from schemas.errors import Rejected
from schemas.feed import first_edition
from schemas.position import TRACE_ID, is_trace
from schemas.wire.codec import Codec
from schemas.wire.envelope import unframe
from schemas.wire.schema import SchemaOf
from sinks.row import EPOCH, RowView, row_record


def utc_text(milliseconds: int) -> str:
    """A moment in UTC, with milliseconds."""
    return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One change with the views of its key and its row. `position` is the token as it stands on the wire."""

    change: Change
    key: RowView | None
    row: RowView

    @property
    def position(self) -> str:
        """The token by which newer is told from older; compare as text."""
        return str(self.change.position)

    @property
    def trace_id(self) -> str:
        """Its trace (W3C trace context); empty where nothing says it."""
        told = self.change.headers.get(TRACE_ID, "")
        return told if is_trace(told) else ""

    @property
    def corrects(self) -> list[str]:
        """The objections of which it is the correction."""
        told = self.change.headers.get(CORRECTION_OF, "")
        return told.split(",") if told else []

    def json(self) -> dict[str, Any]:
        """The change as a JSON object; its shape is told in sinks/http/webhook.py."""
        change, headers = self.change, self.change.headers
        return {
            "feed": change.feed,
            "grant_id": headers.get("grant_id"),
            "purpose": headers.get("purpose"),
            "op": str(change.op),
            "key": self.key.json(change.key) if self.key else {},
            "before": self.row.json(change.before),
            "after": self.row.json(change.after),
            "unchanged": [self.row.names.get(wire, wire) for wire in change.unchanged],
            "position": self.position,
            "committed_at": utc_text(change.committed_at_ms),
            "transaction": change.transaction,
            "reason": headers.get("reason"),
            "trace_id": self.trace_id or None,
            "correction_of": self.corrects or None,
            "marks": [dict(mark) for mark in change.marks],
        }

    def body(self) -> bytes:
        """The JSON object in one line of UTF-8, as it goes over HTTP."""
        return json.dumps(self.json(), ensure_ascii=False, separators=(",", ":")).encode()

    def flat(self) -> Mapping[str, Any]:
        """The raw row after the change, by wire names; of a removal the row before it, or its key with the other columns null."""
        change = self.change
        row = change.before if change.op is Op.DELETE else change.after
        if row is not None:
            return row
        return {column.wire: change.key.get(column.wire) for column in self.row.columns}


class Documents:
    """Reads records into documents. Not shared between threads."""

    def __init__(self, schema_of: SchemaOf, subscriber: str) -> None:
        self._schema_of = schema_of
        self._prefix = f"out.{subscriber}."
        self._codec = Codec(schema_of)
        self._views: dict[tuple[int, bool], RowView] = {}

    def document(self, topic: str, record: Record) -> Document | None:
        """The document of a record; None for a tombstone. Raises Rejected when it cannot be read."""
        try:
            change = self._codec.change(first_edition(topic).removeprefix(self._prefix), record)
        except (ValueError, KeyError, TypeError) as error:
            raise Rejected("not_a_change", f"the envelope cannot be read ({type(error).__name__})") from error
        if change is None or record.value is None:
            return None
        key = self._view(record.key, is_key=True) if record.key else None
        return Document(change=change, key=key, row=self._view(record.value, is_key=False))

    def _view(self, message: bytes, *, is_key: bool) -> RowView:
        schema_id = unframe(message)[0]
        view = self._views.get((schema_id, is_key))
        if view is None:
            schema = self._schema_of(schema_id)
            view = self._views[schema_id, is_key] = RowView(schema if is_key else row_record(schema))
        return view
