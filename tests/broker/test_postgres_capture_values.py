"""Snapshot and log give the same Avro bytes, and say what the database itself says (PG-21), for any value."""

from __future__ import annotations

import ipaddress
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producers.postgresql.value.avro import EPOCH_DAYS
from tests.stage.capturing import DATE, TIME, TIMESTAMP, TIMESTAMPTZ, UUID
from tests.stage.value_oracle import Kind, Oracle, literal, texts

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 4}
INTERVAL = {
    "type": "record",
    "name": "Interval",
    "fields": [{"name": "months", "type": "int"}, {"name": "days", "type": "int"}, {"name": "micros", "type": "long"}],
}


def clock(micros: int) -> str:
    seconds, fraction = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{fraction:06d}"


def array(kind: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    flat = st.lists(inner | st.just("NULL"), max_size=4).map(lambda items: f"ARRAY[{', '.join(items)}]::{kind}[]")
    square = st.tuples(inner, inner).map(lambda two: f"ARRAY[ARRAY[{two[0]}], ARRAY[{two[1]}]]::{kind}[]")
    shifted = st.just(f"'[0:1]={{null,null}}'::{kind}[]")
    return flat | square | shifted


INT4 = st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)
NUMERIC = st.decimals(-(10**16), 10**16, allow_nan=False, allow_infinity=False, places=4).map(str)
FLOATS = st.floats().map(lambda value: literal(str(value)))
MOMENTS = st.integers(-211_813_488_000_000_000, 9_223_371_331_199_999_999)
TEXT = texts(max_size=30).map(literal)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=3), inner, max_size=3),
    max_leaves=5,
).map(lambda value: literal(json.dumps(value)))
PREFIXED = st.ip_addresses().flatmap(lambda ip: st.integers(0, ip.max_prefixlen).map(lambda size: (ip, size)))


PREPARED = ("CREATE TYPE mood AS ENUM ('glad', 'NULL', 'a b')", "CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
MICROS = "(extract(epoch FROM {0}) * 1000000)::numeric(30)::text"
KINDS: Mapping[str, Kind] = {
    "c_bool": Kind("bool", st.booleans().map(str), "boolean", "{0}::int::text"),
    "c_int2": Kind("int2", st.integers(-(2**15), 2**15 - 1).map(lambda n: f"({n})"), "int", "{0}::text"),
    "c_int4": Kind("int4", INT4.map(lambda n: f"({n})"), "int", "{0}::text"),
    "c_int8": Kind("int8", INT8.map(lambda n: f"'{n}'"), "long", "{0}::text"),
    "c_oid": Kind("oid", st.integers(0, 2**32 - 1).map(str), "long", "{0}::text"),
    "c_numeric": Kind("numeric(20,4)", NUMERIC | st.just("'NaN'"), DECIMAL, "trunc({0} * 10000)::text"),
    "c_free": Kind(
        "numeric",
        st.decimals(allow_nan=True, allow_infinity=False).map(
            lambda d: f"'{d}'".replace("sNaN", "NaN").replace("-NaN", "NaN")
        )
        | st.sampled_from(["'Infinity'", "'-Infinity'", "1.500", "0.00", "100000", "0.00010000"]),
    ),
    "c_float4": Kind("float4", st.floats(width=32).map(lambda value: literal(str(value))), "float"),
    "c_float8": Kind("float8", FLOATS, "double"),
    "c_date": Kind(
        "date",
        st.integers(-2_451_545, 2_145_031_948).map(lambda n: f"date '2000-01-01' + ({n})")
        | st.integers(-730_500, 2_921_940).map(lambda n: f"date '2000-01-01' + ({n})")
        | st.sampled_from(
            ["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'0001-01-01'", "'9999-12-31'", "'10000-01-01'"]
        ),
        DATE,
        "({0} - date '1970-01-01')::text",
    ),
    "c_timestamp": Kind(
        "timestamp",
        MOMENTS.map(lambda n: f"timestamp '2000-01-01' + interval '{n} microseconds'")
        | st.sampled_from(
            ["'infinity'", "'-infinity'", "'1970-01-01'", "'1969-12-31 23:59:59.999999'", "'2024-05-05 05:05:05'"]
        ),
        TIMESTAMP,
        MICROS,
    ),
    "c_timestamptz": Kind(
        "timestamptz",
        MOMENTS.map(lambda n: f"timestamptz '2000-01-01 00:00+00' + interval '{n} microseconds'")
        | st.sampled_from(["'infinity'", "'-infinity'", "'1970-01-01+08'", "'2024-05-05 05:05:05.123+08'"]),
        TIMESTAMPTZ,
        MICROS,
    ),
    "c_time": Kind(
        "time", (st.integers(0, 86_400_000_000) | st.just(86_400_000_000)).map(lambda n: f"'{clock(n)}'"), TIME, MICROS
    ),
    "c_timetz": Kind(
        "timetz",
        st.tuples(st.integers(0, 86_400_000_000), st.integers(-57_599, 57_599)).map(
            lambda v: f"'{clock(v[0])}{'-' if v[1] < 0 else '+'}{clock(abs(v[1]) * 10**6)[:8]}'"
        ),
    ),
    "c_interval": Kind(
        "interval",
        st.tuples(INT4, INT4, INT8).map(
            lambda v: f"('{v[0]} months'::interval + '{v[1]} days'::interval + '{v[2]} microseconds'::interval)"
        )
        | st.tuples(*[st.integers(-30, 30)] * 3).map(lambda v: f"'{v[0]} months {v[1]} days {v[2] * 1000} ms'")
        | st.sampled_from(["'infinity'", "'-infinity'", "'0'"]),
        INTERVAL,
    ),
    "c_text": Kind("text", TEXT, "string", "{0}"),
    "c_char": Kind("char(5)", texts(max_size=5).map(literal)),
    "c_bytea": Kind(
        "bytea", st.binary(max_size=40).map(lambda b: f"decode('{b.hex()}', 'hex')"), "bytes", "encode({0}, 'hex')"
    ),
    "c_uuid": Kind("uuid", st.uuids().map(lambda u: f"'{u}'"), UUID, "{0}::text"),
    "c_json": Kind("json", JSON),
    "c_jsonb": Kind("jsonb", JSON.filter(lambda text: "\\u0000" not in text)),
    "c_inet": Kind("inet", PREFIXED.map(lambda v: f"'{v[0]}/{v[1]}'")),
    "c_cidr": Kind("cidr", PREFIXED.map(lambda v: f"'{ipaddress.ip_network((v[0], v[1]), strict=False)}'")),
    "c_mac": Kind("macaddr", st.binary(min_size=6, max_size=6).map(lambda b: f"'{b.hex(':')}'")),
    "c_mac8": Kind("macaddr8", st.binary(min_size=8, max_size=8).map(lambda b: f"'{b.hex(':')}'")),
    "c_bit": Kind("bit(11)", st.text("01", min_size=11, max_size=11).map(lambda t: f"B'{t}'")),
    "c_varbit": Kind("varbit", st.text("01", max_size=20).map(lambda t: f"B'{t}'")),
    "c_money": Kind(
        "money", INT8.map(lambda n: f"('{n}'::int8)::numeric::money / 100" if abs(n) < 10**15 else "1::money")
    ),
    "c_lsn": Kind("pg_lsn", st.integers(0, 2**64 - 1).map(lambda n: f"'{n >> 32:X}/{n & 0xFFFFFFFF:X}'")),
    "c_enum": Kind("mood", st.sampled_from(["'glad'", "'NULL'", "'a b'"])),
    "c_domain": Kind("positive", st.integers(1, 10**6).map(str), "int", "{0}::text"),
    "c_ints": Kind("int4[]", array("int4", INT4.map(lambda n: f"({n})")), {"type": "array", "items": ["null", "int"]}),
    "c_texts": Kind("text[]", array("text", TEXT), {"type": "array", "items": ["null", "string"]}),
    "c_numerics": Kind("numeric(20,4)[]", array("numeric(20,4)", NUMERIC | st.just("'NaN'"))),
    "c_floats": Kind("float8[]", array("float8", FLOATS)),
}
ROW = st.fixed_dictionaries({name: kind.values | st.just("NULL") for name, kind in KINDS.items()})


@pytest.fixture(scope="module")
def oracle(postgres: Any) -> Iterator[Oracle]:
    oracle = Oracle(postgres.create_database("oracle"), KINDS, *PREPARED)
    yield oracle
    oracle.close()


def is_typed(kind: Kind, value: Any) -> bool:
    """Whether the value is in its typed branch; in the string branch it is text."""
    return value is not None and (kind.avro in ("string", UUID) or not isinstance(value, str))


def plain(kind: Kind, value: Any) -> str:
    """A typed value as its oracle writes it."""
    if kind.avro == DECIMAL:
        return str(int.from_bytes(value, "big", signed=True))
    if isinstance(value, bytes):
        return value.hex()
    return str(int(value)) if isinstance(value, bool) else str(value)


NOTHING = dict.fromkeys(KINDS, "NULL")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(row=ROW)
@example(row=NOTHING)
@example(row={**NOTHING, "c_time": "'24:00:00'", "c_date": "'0044-03-15 BC'", "c_numeric": "'NaN'", "c_ints": "'{}'"})
@example(row={**NOTHING, "c_float8": "'-0'", "c_float4": "'1e-45'", "c_interval": "'-1 mons +2 days -00:00:00.5'"})
@example(
    row={**NOTHING, "c_inet": "'::ffff:1.2.3.4'", "c_cidr": "'::/0'", "c_texts": "ARRAY['', 'null', 'a\"b\\c', '{}']"}
)
def test_log_and_snapshot_give_the_same_bytes_and_say_what_the_database_says(
    oracle: Oracle, row: dict[str, str]
) -> None:
    if (read := oracle.read(row)) is None:
        return
    assert read.textual == {"id": read.number, **read.printed}
    finite = {name: k.oracle.format(name) for name, k in KINDS.items() if k.oracle and is_typed(k, read.typed[name])}
    said = oracle.says(read.number, {"id": "id", **finite})
    for name in finite:
        assert plain(KINDS[name], read.typed[name]) == said[name], name
    for name, kind in KINDS.items():
        if isinstance(read.typed[name], str) and kind.avro not in ("string", UUID):
            assert read.typed[name] == read.printed[name], f"{name}: the string branch carries the text"
    if isinstance(read.typed["c_float8"], float):
        (bits,) = oracle.says(read.number, {"bits": "encode(float8send(c_float8), 'hex')"}).values()
        assert struct.pack(">d", read.typed["c_float8"]).hex() == bits


def test_dates_are_counted_from_1970() -> None:
    assert EPOCH_DAYS == 10_957
