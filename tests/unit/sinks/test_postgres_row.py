"""The generated readers say the same as the codec, for any row; and broken bytes never pass."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import Rejected
from schemas.wire.envelope_walk import moment_reader
from sinks.postgresql.table.row import NULL, key_reader, row_reader
from sinks.postgresql.table.run import RUN_MIN, run_reader
from tests.stage.delivering import OutFeed

FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "i", "type": ["null", "int"]},
    {"name": "t", "type": ["null", "string"]},
    {"name": "b", "type": ["null", "bytes"]},
    {"name": "f", "type": ["null", "boolean"]},
    {"name": "d", "type": ["null", "double"]},
    {"name": "a", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
    {"name": "n", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3}, "string"]},
]
ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        "i": st.none() | st.integers(-(2**31), 2**31 - 1),
        "t": st.none() | st.text(max_size=300),
        "b": st.none() | st.binary(max_size=200),
        "f": st.none() | st.booleans(),
        "d": st.none() | st.floats(allow_nan=False),
        "a": st.none() | st.lists(st.none() | st.text(max_size=5), max_size=4),
        "n": st.none() | st.binary(min_size=1, max_size=8) | st.just("NaN"),
    }
)


def cell(value: bytes | None) -> bytes:
    return NULL if value is None else struct.pack(">i", len(value)) + value


@given(
    before=st.none() | ROWS,
    row=ROWS,
    op=st.sampled_from("cur"),
    unchanged=st.none() | st.lists(st.sampled_from("itb"), min_size=1),
    millis=st.integers(0, 2**45),
    repeats=st.integers(1, 3),
)
def test_any_row_is_read_as_the_codec_reads_it(
    before: Any, row: Any, op: str, unchanged: Any, millis: int, repeats: int
) -> None:
    feed = OutFeed("s", "police.person", FIELDS)
    reader, moment = row_reader(feed.schemas[1]), moment_reader(feed.schemas[1])
    # The first message teaches the reader a pattern, the next ones use it.
    for _ in range(repeats):
        envelope = feed.envelope(op, row, before=before, unchanged=unchanged, committed_at_ms=millis)
        message = feed.codec.encode(1, envelope)
        taken = reader.read(message)
        assert taken.op == op.encode()
        assert taken.token.decode() == envelope["source"]["sequence"]
        assert tuple(taken.unchanged) == tuple(unchanged or ())
        assert moment(message) == (op.encode(), millis, taken.token)
    assert taken.cells is not None
    cells = dict(zip((column.name for column in reader.columns), taken.cells, strict=True))
    assert cells["id"] == cell(struct.pack(">q", row["id"]))
    assert cells["i"] == cell(None if row["i"] is None else struct.pack(">i", row["i"]))
    assert cells["t"] == cell(None if row["t"] is None else row["t"].encode())
    assert cells["b"] == cell(row["b"])
    assert cells["f"] == cell(None if row["f"] is None else bytes([row["f"]]))
    assert cells["d"] == cell(None if row["d"] is None else struct.pack(">d", row["d"]))
    assert (cells["a"] == NULL) is (row["a"] is None)
    assert (cells["n"] == NULL) is (row["n"] is None)
    assert (cells["n"] == cell(b"NaN")) is (row["n"] == "NaN")


WIDE = [
    *FIELDS,
    {"name": "e", "type": ["null", {"type": "enum", "name": "E", "symbols": ["x", "y"]}]},
    {"name": "m", "type": ["null", {"type": "map", "values": "int"}]},
    {"name": "p", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 5}]},
    {"name": "s", "type": ["null", {"type": "int", "logicalType": "date"}]},
    {"name": "u", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
    {"name": "v", "type": ["null", "float"]},
]
WIDE_ROWS = st.fixed_dictionaries(
    {
        "e": st.none() | st.sampled_from("xy"),
        "m": st.none() | st.dictionaries(st.text(max_size=3), st.integers(-1000, 1000), max_size=3),
        "p": st.none() | st.binary(max_size=8) | st.binary(min_size=9, max_size=20),
        "s": st.none() | st.integers(-(2**31) + 10_957, 2**31 - 1),
        "u": st.none() | st.integers(-(2**40), 2**40),
        "v": st.none() | st.floats(width=32, allow_nan=False),
    }
)
CHANGES = st.tuples(
    st.none() | ROWS,
    st.none() | st.tuples(ROWS, WIDE_ROWS),
    st.sampled_from("curd"),
    st.none() | st.lists(st.sampled_from("itb"), min_size=1),
)


def number_of(sent: bytes) -> tuple[int, int] | None:
    """A numeric, in units of a hundred-millionth of its scale, and its scale; groups of zeros say nothing."""
    if sent == NULL:
        return None
    count, weight, sign, scale = struct.unpack(">hhHh", sent[4:12])
    groups = struct.unpack(f">{count}H", sent[12:])
    found = sum(group * 10_000 ** (weight - place + 100) for place, group in enumerate(groups))
    return (-found if sign else found), scale


@settings(max_examples=50)
@given(changes=st.lists(CHANGES, min_size=1, max_size=8))
def test_a_run_is_read_as_its_messages_are(changes: Any) -> None:
    feed = OutFeed("s", "police.person", WIDE)
    reader, alone = run_reader(feed.schemas[1]), row_reader(feed.schemas[1]).read
    messages = [
        feed.codec.encode(1, feed.envelope(op, after and {**after[0], **after[1]}, before=before, unchanged=unchanged))
        for before, after, op, unchanged in changes
    ]
    place = [column.name for column in reader.columns].index("p")
    run = messages * (RUN_MIN // len(messages) + 1)
    for message, taken in zip(run, reader.run(run), strict=True):
        expected = alone(message)
        assert (taken.op, taken.token) == (expected.op, expected.token)
        assert tuple(taken.unchanged) == tuple(expected.unchanged)
        if taken.cells is None or expected.cells is None:
            assert taken.cells is expected.cells
            continue
        assert number_of(taken.cells[place]) == number_of(expected.cells[place])
        assert taken.cells[:place] + taken.cells[place + 1 :] == expected.cells[:place] + expected.cells[place + 1 :]


@given(row=ROWS, place=st.integers(0, RUN_MIN), cut=st.integers(0, 400), byte=st.none() | st.integers(0, 255))
def test_a_broken_message_is_refused_in_a_run_as_it_is_alone(row: Any, place: int, cut: int, byte: int | None) -> None:
    feed = OutFeed("s", "police.person", FIELDS)
    reader, alone = run_reader(feed.schemas[1]), row_reader(feed.schemas[1]).read
    good = feed.codec.encode(1, feed.envelope("c", row, before=row))
    at = min(5 + cut, len(good) - 1)
    broken = good[:at] if byte is None else good[:at] + bytes([byte]) + good[at + 1 :]
    run = [good] * RUN_MIN
    run.insert(place, broken)
    try:
        expected = alone(broken)
    except Rejected as error:
        with pytest.raises(Rejected, match=error.problem):
            list(reader.run(run))
    else:
        assert list(reader.run(run))[place] == expected


@given(row=ROWS, cut=st.integers(0, 400), is_second=st.booleans())
def test_a_message_cut_anywhere_is_rejected(row: Any, cut: int, is_second: bool) -> None:
    feed = OutFeed("s", "police.person", FIELDS)
    reader = row_reader(feed.schemas[1])
    if is_second:
        reader.read(feed.codec.encode(1, feed.envelope("c", row)))
    message = feed.codec.encode(1, feed.envelope("c", row, before=row))
    end = min(5 + cut, len(message) - 1)
    with pytest.raises(Rejected):
        reader.read(message[:end])


def test_text_that_looks_like_the_source_block_does_not_mislead() -> None:
    feed = OutFeed("s", "police.person", FIELDS)
    reader = row_reader(feed.schemas[1])
    plain = dict.fromkeys((field["name"] for field in FIELDS), None)
    first = feed.codec.encode(1, feed.envelope("c", {**plain, "id": 1}))
    reader.read(first)
    hostile = {**plain, "id": 2, "b": first, "t": '["FFFF","FFFFFFFFFFFFFFFF","FFFFFFFF"]'}
    message = feed.codec.encode(1, feed.envelope("u", hostile, before=hostile))
    assert reader.read(message).token == b'["0000","0000000000000002","00000001"]'


def test_a_binary_logs_source_is_read_too() -> None:
    feed = OutFeed("s", "police.person")
    reader = row_reader(feed.schemas[1])
    for number in range(3):
        envelope = feed.envelope("c", {"id": number, "name": None, "amount": None})
        envelope["source"] |= {"file": "bin.1", "pos": number, "gtid": f"0-1-{number}", "txId": None, "lsn": None}
        assert reader.read(feed.codec.encode(1, envelope)).token == envelope["source"]["sequence"].encode()


def test_an_envelope_without_position_is_rejected() -> None:
    feed = OutFeed("s", "police.person")
    envelope = feed.envelope("c", {"id": 1, "name": None, "amount": None})
    envelope["source"]["sequence"] = None
    with pytest.raises(Rejected, match="sequence"):
        row_reader(feed.schemas[1]).read(feed.codec.encode(1, envelope))


def test_keys_are_read_in_key_order() -> None:
    feed = OutFeed("s", "police.person", FIELDS, key=("t", "id"))
    feed.use([{"name": "id", "type": "long"}, {"name": "t", "type": "string"}])
    reader = key_reader(feed.schemas[feed.key_id])
    assert [column.name for column in reader.columns] == ["t", "id"]
    key = feed.key_of({"id": 7, "t": "x"})
    assert reader.read(key) == (cell(b"x"), cell(struct.pack(">q", 7)))
    with pytest.raises(Rejected):
        reader.read(key + b"\0")
