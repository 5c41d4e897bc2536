"""`mesh tail dlq.<topic>`: dead letters, a line each: why, where, and which columns the row has, without its values.

A dead letter is set aside because something about its values is wrong; whoever looks for the cause needs the reason and the place
first. Values stay hidden, all of them, unless they are asked for (SE-06).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ops.command.terminal import SHANGHAI
from ops.show.tail import View, shown
from schemas.change import Batch, Record
from schemas.errors import Rejected
from schemas.wire.codec import Codec

PREFIX = "dlq."


def dead_letters(
    topic: str, batches: Iterable[Batch], codec: Codec, view: View, *, as_json: bool = False
) -> Iterator[str]:
    """The lines to print; lines of text start with a headline, JSON lines are objects only."""
    masked = replace(view, is_masked=not view.is_revealed)
    if not as_json:
        hidden = "personal data is shown (--reveal)" if view.is_revealed else "values are hidden; --reveal shows them"
        yield f"{topic} {view.contract.doc}: {hidden}; times in Asia/Shanghai"
    for batch in batches:
        for record in batch.records:
            letter = _letter(batch, record, codec, masked)
            yield json.dumps(letter, ensure_ascii=False, default=str) if as_json else _line(letter)


def _letter(batch: Batch, record: Record, codec: Codec, view: View) -> dict[str, Any]:
    told = {name: value.decode("utf-8", "replace") for name, value in record.headers or ()}
    letter: dict[str, Any] = {
        "topic": batch.topic,
        "partition": batch.partition,
        "offset": record.offset,
        "at": datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "hop": told.get("__connect.errors.stage", ""),
        "reason": told.get("mesh.errors.reason", ""),
        "detail": told.get("__connect.errors.exception.message", ""),
        "of": {
            "topic": told.get("__connect.errors.topic", ""),
            "partition": told.get("__connect.errors.partition", ""),
            "offset": told.get("__connect.errors.offset", ""),
            "position": told.get("mesh.errors.event.id", ""),
        },
        "subscriber": told.get("mesh.errors.subscriber", ""),
    }
    try:
        change = codec.change(view.contract.feed, record)
    except Rejected as error:
        return {**letter, "unreadable": error.reason, "bytes": len(record.value or b"")}
    if change is None:
        return {**letter, "op": "tombstone"}
    row = change.after if change.after is not None else change.before
    return {**letter, "op": change.op.value, "key": view.row(change.key), "row": view.row(row)}


def _line(letter: Mapping[str, Any]) -> str:
    at = datetime.fromisoformat(letter["at"]).astimezone(SHANGHAI)
    of = letter["of"]
    place = f"{of['topic']} p{of['partition']}@{of['offset']}" if of["partition"] != "-1" else f"{of['topic']}"
    if "unreadable" in letter:
        what = f"cannot be read: {letter['unreadable']}, {letter['bytes']:,} bytes"
    else:
        pairs = " ".join(f"{name}={shown(value)}" for name, value in (letter.get("row") or {}).items())
        what = f"{letter['op']} {pairs}".rstrip()
    parts = [
        f"{at:%m-%d %H:%M:%S} p{letter['partition']}@{letter['offset']}",
        f"{letter['hop']}: {letter['reason']}",
        f"of {place}" + (f" to {letter['subscriber']}" if letter["subscriber"] else ""),
        what,
    ]
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in "  ".join(parts))
