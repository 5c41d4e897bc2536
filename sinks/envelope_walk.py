"""Envelope walk: the part of a change's bytes around its row: op, commit time, position, absent columns."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from schemas.errors import Rejected
from sinks.walk import AvroType, Walk, decode

TakeRow = Callable[[Mapping[str, Any]], list[str]]
"""Appends the lines that read the row after the change, and returns the variables that hold its cells."""

_VARINT = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
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
        walk.add("moment, token, op = known.groups()", "p = known.end()")

    def slow() -> None:
        _source(walk, walk.resolve(fields["source"]))
        walk.add("n, p = zigzag(m, p)", "op = m[p : p + n]", "p += n", "learn(m, source, token)")

    walk.block("if known:", quick)
    walk.block("else:", slow)
    walk.skip(fields["ts_ms"])
    walk.skip(fields["transaction"])

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
    """Make of the first source block a pattern for the next ones.

    Within one topic only its times and positions differ, so one match replaces walking fourteen fields. A pattern is only a
    shorter way to the same answer: what it does not match is walked.
    """
    count = 0

    def learn(m: bytes, source: list[int], token: bytes) -> None:
        nonlocal count
        if count >= _LEARN_MAX or len(token) != _TOKEN_BYTES or len(source) != 7:
            return
        start, before_time, after_time, before_token, after_token, before_tx, end = source
        rest = m[before_tx:end]
        # Behind the transaction id: lsn (PostgreSQL), then file, pos and gtid, all null. Binary logs are walked.
        if not re.fullmatch(rb"(?:\x00|\x02" + _VARINT + rb"){2}\x00\x00\x00", rest, re.DOTALL):
            return
        count += 1
        number = rb"(?:\x00|\x02" + _VARINT + rb")"
        pattern = re.compile(
            re.escape(m[start:before_time])
            + rb"("
            + _VARINT
            + rb")"
            + re.escape(m[after_time:before_token])
            + rb"(.{38})"
            + re.escape(m[after_token:before_tx])
            + number
            + number
            + rb"\x00\x00\x00\x02(.)",
            re.DOTALL,
        )
        learned[0] = pattern.match

    return learn


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
