"""Ranges, composites, search types, geometry, vectors: what has no Avro type prints as the database prints it (PG-21)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.stage.value_oracle import Kind, Oracle, literal, texts

PREPARED = (
    "CREATE EXTENSION vector",
    "CREATE TYPE mood AS ENUM ('glad', 'NULL', 'a b')",
    "CREATE TYPE words AS RANGE (SUBTYPE = text)",
    "CREATE TYPE pair AS (a int, b text, c numeric(9,3))",
    "CREATE TYPE deep AS (p pair, r int4range, e numeric[], w words, m mood, t timestamptz)",
    "CREATE DOMAIN span AS int4range CHECK (NOT isempty(VALUE))",
    "CREATE DOMAIN many AS text[]",
    "CREATE DOMAIN couple AS pair",
)
NULL = st.just("NULL")
INT = st.integers(-(2**31) + 1, 2**31 - 2)
WORD = texts(max_size=6) | st.sampled_from(["", "NULL", "a,b", 'q"q', "b\\s", "(x)", "[y]", "{z}", "tab\t", " ", "o'k"])
TEXT = WORD.map(lambda text: f"{literal(text)}::text")
NUMBER = st.decimals(-(10**5), 10**5, allow_nan=False, allow_infinity=False, places=3).map(lambda d: f"({d})")
FLOAT = st.floats(allow_nan=True).map(lambda value: f"{literal(str(value))}::float8")
PLAIN_FLOAT = st.floats(-1e6, 1e6).map(lambda value: f"{literal(str(value))}::float8")
MOMENT = st.integers(-(10**17), 10**17).map(lambda n: f"timestamp '2000-01-01' + interval '{n} microseconds'")
ZONED = MOMENT.map(lambda text: f"(({text}) AT TIME ZONE 'UTC')")
DAY = st.integers(-800_000, 3_000_000).map(lambda n: f"date '2000-01-01' + ({n})")


def spans(kind: str, bound: st.SearchStrategy[str], collate: str = "") -> st.SearchStrategy[str]:
    def between(drawn: tuple[str, str, str]) -> str:
        low, high, edges = drawn
        return f"{kind}(least({low}{collate}, {high}{collate}), greatest({low}, {high}), '{edges}')"

    edges = st.sampled_from(["[]", "[)", "(]", "()"])
    whole = st.tuples(bound, bound, edges).map(between)
    half = st.tuples(bound, edges).flatmap(
        lambda v: st.sampled_from([f"{kind}({v[0]}, NULL, '{v[1]}')", f"{kind}(NULL, {v[0]}, '{v[1]}')"])
    )
    return whole | half | st.sampled_from([f"'empty'::{kind}", f"'(,)'::{kind}"])


def several(kind: str, span: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(span, max_size=3).map(lambda items: f"{kind}({', '.join(items)})")


def arrays(kind: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    flat = st.lists(inner | NULL, max_size=3).map(lambda items: f"ARRAY[{', '.join(items)}]::{kind}[]")
    square = st.tuples(inner, inner).map(lambda two: f"ARRAY[ARRAY[{two[0]}], ARRAY[{two[1]}]]::{kind}[]")
    return flat | square | st.just(f"'[0:1]={{null,null}}'::{kind}[]")


INTS = spans("int4range", INT.map(str))
SPANS = {
    "int4range": INTS,
    "int8range": spans("int8range", st.integers(-(2**62), 2**62).map(str)),
    "numrange": spans(
        "numrange", NUMBER | st.sampled_from(["'NaN'::numeric", "'Infinity'::numeric", "'-Infinity'::numeric"])
    ),
    "tsrange": spans("tsrange", MOMENT | st.just("'infinity'::timestamp")),
    "tstzrange": spans("tstzrange", ZONED | st.just("'-infinity'::timestamptz")),
    "daterange": spans("daterange", DAY | st.just("'infinity'::date")),
    "words": spans("words", TEXT),
}
MULTI = {
    "int4multirange": INTS,
    "datemultirange": SPANS["daterange"],
    "tstzmultirange": SPANS["tstzrange"],
    "words_multirange": SPANS["words"],
}
PAIR = st.tuples(INT.map(str) | NULL, TEXT | NULL, NUMBER | NULL).map(lambda v: f"ROW({', '.join(v)})::pair")
NUMBERS = st.lists(NUMBER | NULL, max_size=3).map(lambda items: f"ARRAY[{', '.join(items)}]::numeric[]")
MOOD = st.sampled_from(["'glad'", "'NULL'", "'a b'"])
DEEP = st.tuples(*(part | NULL for part in (PAIR, INTS, NUMBERS, SPANS["words"], MOOD, ZONED))).map(
    lambda v: f"ROW({', '.join(v)})::deep"
)
WEIGHTED = st.tuples(texts(max_size=20), st.sampled_from("ABCD"), st.lists(WORD.filter(bool), max_size=2)).map(
    lambda v: (
        f"setweight(to_tsvector('simple', {literal(v[0])}), '{v[1]}') || array_to_tsvector("
        f"ARRAY[{', '.join(literal(word) for word in v[2])}]::text[]) || to_tsvector('simple', 'tail {v[1]}')"
    )
)


def operand(drawn: tuple[str, str]) -> str:
    word = drawn[0].replace("\\", "\\\\").replace("'", "''")
    return f"{literal(chr(39) + word + chr(39) + drawn[1])}::tsquery"


QUERY = st.recursive(
    st.tuples(
        st.text(st.characters(min_codepoint=33, exclude_categories=("Cs", "Zs")), min_size=1, max_size=4),
        st.sampled_from(["", ":*", ":A", ":*BD", ":ABCD"]),
    ).map(operand),
    lambda inner: st.tuples(inner, inner).flatmap(
        lambda v: st.sampled_from(
            [
                f"({v[0]} && {v[1]})",
                f"({v[0]} || {v[1]})",
                f"(!! {v[0]})",
                f"tsquery_phrase({v[0]}, {v[1]})",
                f"tsquery_phrase({v[0]}, {v[1]}, 7)",
            ]
        )
    ),
    max_leaves=6,
) | st.just("''::tsquery")
POINT = st.tuples(FLOAT, FLOAT).map(lambda v: f"point({v[0]}, {v[1]})")
POINTS = st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 2), min_size=1, max_size=4).map(
    lambda items: ",".join(f"({x},{y})" for x, y in items)
)
BOX = st.tuples(POINT, POINT).map(lambda v: f"box({v[0]}, {v[1]})")
HALF = st.floats(-60000, 60000, width=16)
FLOATS = {"type": "array", "items": "float"}


def listed(numbers: list[float]) -> str:
    return f"[{','.join(str(number) for number in numbers)}]"


VECTOR = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=5).map(
    lambda v: f"'{listed(v)}'::vector"
)
KINDS: Mapping[str, Kind] = {
    **{f"c_{name}": Kind(name, values) for name, values in SPANS.items()},
    **{f"c_{name}": Kind(name, several(name, span)) for name, span in MULTI.items()},
    "c_spans": Kind("int4range[]", arrays("int4range", INTS), {"type": "array", "items": ["null", "string"]}),
    "c_span": Kind("span", INT.map(lambda n: f"int4range({n}, NULL)")),
    "c_pair": Kind("pair", PAIR),
    "c_couple": Kind("couple", PAIR),
    "c_pairs": Kind("pair[]", arrays("pair", PAIR), {"type": "array", "items": ["null", "string"]}),
    "c_deep": Kind("deep", DEEP),
    "c_deeps": Kind("deep[]", arrays("deep", DEEP)),
    "c_many": Kind("many", arrays("text", TEXT), {"type": "array", "items": ["null", "string"]}),
    "c_manies": Kind(
        "many[]",
        st.lists(arrays("text", TEXT), max_size=2).map(
            lambda v: f"ARRAY[{', '.join(f'({a})::many' for a in v)}]::many[]"
        ),
    ),
    "c_moods": Kind("mood[]", arrays("mood", MOOD), {"type": "array", "items": ["null", "string"]}),
    "c_tsvector": Kind("tsvector", WEIGHTED),
    "c_tsquery": Kind("tsquery", QUERY),
    "c_queries": Kind("tsquery[]", arrays("tsquery", QUERY)),
    "c_jsonpath": Kind("jsonpath", st.sampled_from(["'$.a[*] ? (@ > 1)'", "'strict $'", "'$.\"a b\"'"])),
    "c_snapshot": Kind("pg_snapshot", st.sampled_from(["'10:20:10,14,15'", "'10:10:'"])),
    "c_txid": Kind("txid_snapshot", st.just("'10:20:10,14,15'")),
    "c_tid": Kind("tid", st.just("'(4294967295,65535)'")),
    "c_xid": Kind("xid", st.just("'4294967295'")),
    "c_xid8": Kind("xid8", st.just("'18446744073709551615'")),
    "c_byte": Kind('"char"', st.sampled_from(["'a'", "''", "'\\377'", "'\\'"])),
    "c_name": Kind("name", TEXT),
    "c_cursor": Kind("refcursor", WORD.map(literal)),
    "c_vector2": Kind("int2vector", st.sampled_from(["'1 -2 3'", "''"])),
    "c_oids": Kind("oidvector", st.sampled_from(["'1 4294967295'", "''"])),
    "c_point": Kind("point", POINT),
    "c_box": Kind("box", BOX),
    "c_boxes": Kind("box[]", arrays("box", BOX), {"type": "array", "items": ["null", "string"]}),
    "c_lseg": Kind("lseg", st.tuples(POINT, POINT).map(lambda v: f"lseg({v[0]}, {v[1]})")),
    "c_line": Kind("line", st.sampled_from(["'{1,-2.5,1e300}'", "line(point(0,0), point(3,4))"])),
    "c_path": Kind("path", POINTS.flatmap(lambda p: st.sampled_from([f"'[{p}]'", f"'({p})'"]))),
    "c_polygon": Kind("polygon", POINTS.map(lambda p: f"'({p})'")),
    "c_circle": Kind("circle", st.tuples(POINT, PLAIN_FLOAT).map(lambda v: f"circle({v[0]}, abs({v[1]}))")),
    "c_vector": Kind("vector", VECTOR, FLOATS, "{0}::real[]::float8[]"),
    "c_half": Kind(
        "halfvec",
        st.lists(HALF, min_size=1, max_size=5).map(lambda v: f"'{listed(v)}'"),
        FLOATS,
        "{0}::real[]::float8[]",
    ),
    "c_sparse": Kind(
        "sparsevec", st.lists(HALF, min_size=1, max_size=6).map(lambda v: f"'{listed(v)}'::vector::sparsevec")
    ),
    "c_vectors": Kind("vector[]", arrays("vector", VECTOR)),
}
ROW = st.fixed_dictionaries({name: kind.values | NULL for name, kind in KINDS.items()})
NOTHING = dict.fromkeys(KINDS, "NULL")


@pytest.fixture(scope="module")
def oracle(postgres: Any) -> Iterator[Oracle]:
    oracle = Oracle(postgres.create_database("types"), KINDS, *PREPARED)
    yield oracle
    oracle.close()


@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # the difference of two rows names the column well enough
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
@given(row=ROW)
@example(row=NOTHING)
@example(
    row={**NOTHING, "c_pair": "ROW(NULL, NULL, NULL)::pair", "c_deep": "ROW(NULL, NULL, NULL, NULL, NULL, NULL)::deep"}
)
@example(row={**NOTHING, "c_words": "words('', 'a\"b\\c,(d) e')", "c_words_multirange": "words_multirange()"})
def test_what_avro_has_no_type_for_prints_as_the_database_prints_it(oracle: Oracle, row: dict[str, str]) -> None:
    if (read := oracle.read(row)) is None:
        return
    assert read.textual == {"id": read.number, **read.printed}
    for name, kind in KINDS.items():
        if isinstance(read.typed[name], str):
            assert read.typed[name] == read.printed[name]
        elif kind.oracle and read.typed[name] is not None:
            assert {"found": read.typed[name]} == oracle.says(read.number, {"found": kind.oracle.format(name)})
