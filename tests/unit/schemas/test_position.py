"""The trace of a change is made of its position."""

from __future__ import annotations

import re

from schemas.position import Position, is_trace, trace_in, trace_salt


def traced(position: Position, feed: str = "aic.enterprise") -> str:
    envelope = b'\x02["row of somebody","0","1"]' + b"aic.main" + str(position).encode() + b"public"
    return trace_in(envelope, envelope.index(b"aic"), trace_salt(feed))[1].decode()


def test_a_trace_id_is_one_of_w3c_and_the_same_for_the_same_change() -> None:
    position = Position(1, 0xABCDEF, 2)
    assert re.fullmatch("[0-9a-f]{32}", traced(position))
    assert traced(position) == traced(Position(1, 0xABCDEF, 2))
    others = {traced(Position(1, 0xABCDEF, n)) for n in range(100)} | {traced(position, "tax.t")}
    assert len(others) == 101


def test_what_has_no_position_has_no_trace_and_nothing_else_of_the_record_is_taken_for_one() -> None:
    assert trace_in(b'["row"]' + b"x" * 40, 7, b"aaaa")[1] == b"0" * 32
    assert not is_trace("0" * 32)
    assert not is_trace("aaaarow of somebody")
    assert is_trace("0" * 31 + "1")
