"""Envelope walk: the part of a change's bytes around its row: op, commit time, position, absent columns."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from schemas.errors import Rejected
from schemas.wire.walk import AvroType, Walk, decode

TakeRow = Callable[[Mapping[str, Any]], list[str]]
"""Appends the lines that read the row after the change, and returns the variables that hold its cells."""

_VARINT = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_NUMBER = rb"(?:\x00|\x02" + _VARINT + rb")"
_TOKEN_BYTES = 38
_LEARN_MAX = 32
BROKEN = (IndexError, struct.error, OverflowError, UnicodeDecodeError)


def envelope_walk(walk: Walk, envelope: Mapping[str, Any], take_row: TakeRow | None) -> Callable[..., Any]:
    """Generate `walk(m, p)`: cells, op, token, commit time, unchanged columns, end; without `take_row` the row is skipped."""
    fields = {field["name"]: field["type"] for field in envelope["fields"]}
    walk.skip(fields["before"])
    walk.add("cells = None", "unchanged = ()", "source = None")

    def after(_index: int, branch: AvroType) -> None:
        if branch == "null":
            return
        record = walk.resolve(branch)
        if take_row is None:
            walk.skip(record)
        else:
            walk.add(f"cells = ({', '.join(take_row(record))},)")

    walk.union(fields["after"], after)
    walk.add("known = learned[0](m, p)")

    def quick() -> None:
        walk.add("return cells, known.group(3), known.group(2), known.group(1), (), len(m)")

    walk.block("if known:", quick)
    _source(walk, walk.resolve(fields["source"]))
    walk.add("n, p = zigzag(m, p)", "op = m[p : p + n]", "p += n", "source.append(p)")
    walk.skip(fields["ts_ms"])
    walk.add("source.append(p)")
    walk.skip(fields["transaction"])
    walk.add("learn(m, source, p, token)")

    def unchanged(_index: int, branch: AvroType) -> None:
        if branch != "null":
            walk.scope["names"] = decode(walk, branch)
            walk.add("unchanged, p = names(m, p)")

    walk.union(fields["unchanged"], unchanged)
    walk.skip(fields["dq"])
    learned: list[Callable[[bytes, int], Any]] = [lambda _m, _p: None]
    walk.scope |= {"learned": learned, "learn": _learner(learned)}
    return walk.compile("walk", "(cells, op, token, moment, unchanged, p)")


def _source(walk: Walk, record: Mapping[str, Any]) -> None:
    walk.add("source = [p]", "token = b''")
    for field in record["fields"]:
        if field["name"] == "ts_ms":
            walk.add("source.append(p)")
            walk.skip(field["type"])
            walk.add("source.append(p)", "moment = m[source[1] : p]")
        elif field["name"] == "sequence":

            def sequence(_index: int, branch: AvroType) -> None:
                if branch != "null":
                    length = walk.length()
                    walk.add("source.append(p)", f"p += {length}", "source.append(p)", "token = m[source[3] : p]")

            walk.union(field["type"], sequence)
        elif field["name"] == "txId":
            walk.add("source.append(p)")
            walk.skip(field["type"])
        else:
            walk.skip(field["type"])
    walk.add("source.append(p)")


def _learner(learned: list[Callable[[bytes, int], Any]]) -> Callable[..., None]:
    """Make of the first envelope's end a pattern for the next ones.

    Within one topic only times, positions and numbers differ behind the row, so one match replaces walking twenty fields. A
    pattern is only a shorter way to the same answer: what it does not match to the last byte is walked.
    """
    count = 0

    def learn(m: bytes, places: list[int], tail: int, token: bytes) -> None:
        nonlocal count
        if count >= _LEARN_MAX or len(token) != _TOKEN_BYTES or len(places) != 9 or m[tail:] != b"\0\0":
            return
        start, before_time, after_time, before_token, after_token, before_tx, source_end, op_end, ts_end = places
        # Behind the transaction id: lsn (PostgreSQL), then file, pos and gtid, all null. Binary logs are walked.
        if not re.fullmatch(_NUMBER + _NUMBER + rb"\x00\x00\x00", m[before_tx:source_end], re.DOTALL):
            return
        count += 1
        parts = [
            re.escape(m[start:before_time]) + rb"(" + _VARINT + rb")",
            re.escape(m[after_time:before_token]) + rb"(.{38})",
            re.escape(m[after_token:before_tx]) + _NUMBER + _NUMBER + rb"\x00\x00\x00",
            rb"\x02(.)" + _NUMBER,
            _transaction_pattern(m[ts_end:tail]),
            rb"\x00\x00\Z",  # no column is absent, nothing is marked
        ]
        if op_end - source_end == 2:
            learned[0] = re.compile(b"".join(parts), re.DOTALL).match

    return learn


def _transaction_pattern(written: bytes) -> bytes:
    """Null, or an id of the same length and two numbers; a longer id is walked, and learned anew."""
    if written == b"\0" or written[1] > 127:
        return rb"\x00"
    length = written[1] >> 1
    return rb"\x02" + re.escape(written[1:2]) + rb".{%d}" % length + _VARINT + _VARINT


def moment_of(raw: bytes) -> int:
    """The signed number in the bytes of one variable-length integer."""
    value = 0
    for byte in reversed(raw):
        value = value << 7 | byte & 127
    return (value >> 1) ^ -(value & 1)


class Moment(NamedTuple):
    """What a lane wants to know of a change. `committed_at_ms` is UTC."""

    op: bytes
    committed_at_ms: int
    token: bytes


def moment_reader(envelope: Mapping[str, Any]) -> Callable[[bytes], Moment]:
    """Reads only op, commit time and token of an envelope."""
    walk = envelope_walk(Walk(), envelope, None)

    def read(message: bytes) -> Moment:
        try:
            _, op, token, moment, _, _ = walk(message, 5)
        except BROKEN as error:
            raise Rejected("not_decodable", type(error).__name__) from error
        return Moment(op, moment_of(moment), token)

    return read
