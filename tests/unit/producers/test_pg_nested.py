"""Values within values, for rules that show in few bytes; the broker test asks the database itself for the rest."""

from __future__ import annotations

import struct

import pytest

from producers.postgresql.value import nested as pg_nested
from producers.postgresql.value import search as pg_search
from producers.postgresql.value import text as pg_text
from producers.postgresql.value.avro import Unmapped, encoder
from producers.postgresql.value.type import PgType
from schemas.contract import Field


def part(raw: bytes | None) -> bytes:
    return struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw


def field(*branches: str) -> Field:
    return Field(
        name="c",
        branches=branches,
        is_nullable=True,
        is_key=False,
        doc="",
        tags=frozenset(),
        gov={},
        properties={"name": "c"},
    )


def test_hstore_quotes_keys_and_values_but_not_null() -> None:
    raw = struct.pack(">i", 2) + part(b'a"b') + part(b"c\\d") + part("键".encode()) + part(None)
    assert pg_nested.hstore(raw).decode() == r'"a\"b"=>"c\\d", "键"=>NULL'


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x01", b"empty"),
        (b"\x18", b"(,)"),
        (b"\x0c" + part(b""), b'(,""]'),
        (b"\x02" + part(b'a"') + part(b"b c"), b'["a""","b c")'),
    ],
)
def test_ranges_quote_their_bounds(raw: bytes, text: bytes) -> None:
    assert pg_nested.range_of(pg_text.verbatim)(raw) == text


def test_a_row_prints_the_fields_it_was_written_with() -> None:
    pair = PgType(
        name="pair", members=((23, PgType(name="int4")),), known=lambda oid: PgType(name="text") if oid == 25 else None
    )
    text = pair.text
    assert text is not None
    row = struct.pack(">iIi", 2, 23, 4) + struct.pack(">i", 7) + struct.pack(">I", 25)
    assert text(row + part(b"a,b")) == b'(7,"a,b")'
    assert text(row + part(None)) == b"(7,)"
    with pytest.raises(ValueError, match="without a mapping"):
        text(struct.pack(">iIi", 1, 600, 0))


def test_a_search_query_of_any_depth_prints() -> None:
    word = b"\1\0\0a\0"
    depth = 5_000
    raw = struct.pack(">i", depth + 1) + b"\2\1" * depth + word
    assert pg_search.tsquery(raw) == b"!" * depth + b"'a'"


def test_a_type_without_a_binary_form_is_text_alone_and_nothing_within_another() -> None:
    mute = PgType(name="mute", has_output_only=True)
    encode, _ = encoder(mute, field("string"))
    assert encode(b"9") == b"\2\x029"
    with pytest.raises(Unmapped, match="does not send it"):
        encoder(PgType(name="_mute", element=mute), field("string"))


def test_what_we_cannot_print_goes_as_it_was_sent() -> None:
    encode, _ = encoder(PgType(name="geometry"), field("bytes"))
    assert encode(b"\x01\xff") == b"\2\x04\x01\xff"
    with pytest.raises(Unmapped, match="no exact text for the string branch"):
        encoder(PgType(name="geometry"), field("bytes", "string"))
