"""What a successor of a contract may change, and what it would break: the matrix of SR-04 and SR-05."""

from __future__ import annotations

import copy

import pytest

from schemas.contract import Contract
from schemas.wire.compatibility import LEVELS, breaches
from schemas.wire.envelope import value_schema
from schemas.wire.fault import faults
from schemas.wire.schema import canonical_text, with_references

CAPITAL = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
MOMENT = {"type": "long", "logicalType": "timestamp-micros"}


def row(*fields, name="Row", **attributes):
    return {"type": "record", "name": name, "fields": list(fields), **attributes}


def column(name, kind, **attributes):
    return {"name": name, "type": kind, **attributes}


ID = column("id", "string")
NOTE = column("note", ["null", "string"], default=None)
BASE = row(ID, column("capital", ["null", CAPITAL], default=None), column("at", MOMENT), NOTE)


def changed(name, **attributes):
    schema = copy.deepcopy(BASE)
    field = next(field for field in schema["fields"] if field["name"] == name)
    field.update(attributes)
    return schema


def without(name):
    schema = copy.deepcopy(BASE)
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    return schema


def plus(*fields):
    schema = copy.deepcopy(BASE)
    schema["fields"] += fields
    return schema


BACKWARD, FORWARD = "BACKWARD", "FORWARD"
BOTH = {BACKWARD, FORWARD}

RENAMED = {**BASE, "fields": [*without("note")["fields"], {**NOTE, "name": "memo", "aliases": ["note"]}]}

MATRIX = [
    ("same", BASE, set()),
    ("nullable column added", plus(column("new", ["null", "int"], default=None)), set()),
    ("column added without default", plus(column("new", "int")), {BACKWARD}),
    ("column with default dropped", without("note"), set()),
    ("column without default dropped", without("at"), {FORWARD}),
    ("doc changed", {**BASE, "doc": "登记信息"}, set()),
    ("fields reordered", {**BASE, "fields": BASE["fields"][::-1]}, set()),
    ("micros to millis", changed("at", type={"type": "long", "logicalType": "timestamp-millis"}), BOTH),
    ("timestamp to bare long", changed("at", type="long"), BOTH),
    ("scale", changed("capital", type=["null", {**CAPITAL, "scale": 3}]), BOTH),
    ("precision", changed("capital", type=["null", {**CAPITAL, "precision": 20}]), BOTH),
    ("string to bytes", changed("id", type="bytes"), BOTH),
    ("string to uuid", changed("id", type={"type": "string", "logicalType": "uuid"}), BOTH),
    ("string to int", changed("id", type="int"), BOTH),
    ("becomes nullable", changed("id", type=["null", "string"]), {FORWARD}),
    ("no longer nullable", changed("note", type="string", default=""), {BACKWARD}),
    ("lossless branch added", changed("capital", type=["null", CAPITAL, "string"]), {FORWARD}),
    ("renamed by alias", RENAMED, BOTH),
    ("record renamed", {**BASE, "name": "Other"}, BOTH),
    ("namespace changed", {**BASE, "namespace": "gz.other"}, BOTH),
    ("bad default", changed("note", default="x"), BOTH),
]  # fmt: skip


@pytest.mark.parametrize(("new", "broken"), [case[1:] for case in MATRIX], ids=[case[0] for case in MATRIX])
@pytest.mark.parametrize("level", LEVELS)
def test_level_refuses_what_breaks_its_readers(level, new, broken):
    direction = level.removesuffix("_TRANSITIVE")
    expected = broken if direction == "FULL" else broken & {direction}
    assert bool(breaches([BASE], new, level)) == bool(expected), breaches([BASE], new, level)


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("int", "long", {FORWARD}),
        ("long", "int", {BACKWARD}),
        ("float", "double", {FORWARD}),
        ("long", "double", {FORWARD}),
    ],
)
def test_promotion_is_good_for_new_readers_only(old, new, broken):
    before, after = row(column("n", old)), row(column("n", new))
    assert bool(breaches([before], after, BACKWARD)) == (BACKWARD in broken)
    assert bool(breaches([before], after, FORWARD)) == (FORWARD in broken)


def test_transitive_looks_at_every_version_and_plain_at_the_latest():
    first = row(ID, column("n", "string"))
    second = row(ID)
    third = row(ID, column("n", "int", default=0))
    assert breaches([first, second], third, "BACKWARD") == []
    assert breaches([first, second], third, "BACKWARD_TRANSITIVE") == ["n: string becomes int"]


def test_enum_symbols():
    def state(*symbols):
        return row(column("s", {"type": "enum", "name": "S", "symbols": list(symbols)}))

    assert breaches([state("A")], state("A", "B"), "BACKWARD") == []
    assert "gains B" in breaches([state("A")], state("A", "B"), "FORWARD")[0]
    assert "drops B" in breaches([state("A", "B")], state("A"), "BACKWARD")[0]
    assert any("Avro enum" in text for text in breaches([state("A")], state("A"), "FULL"))


def test_words_name_the_column_and_both_types():
    texts = breaches([BASE], changed("capital", type=["null", {**CAPITAL, "scale": 3}]), "FULL_TRANSITIVE")
    assert texts == ["capital: decimal(18,2) becomes decimal(18,3); the same bytes would mean another value"]


def test_first_version_is_free_but_must_be_sound():
    assert breaches([], BASE, "FULL_TRANSITIVE") == []
    assert "does not fit" in breaches([], changed("note", default="x"), "BACKWARD")[0]


def test_unknown_level_is_an_error():
    with pytest.raises(ValueError, match="no compatibility level"):
        breaches([BASE], BASE, "SIDEWAYS")


def contract(*fields):
    record = {"type": "record", "name": "Enterprise", "gov": {"key": ["id"]}, "fields": [ID, *fields]}
    return value_schema(Contract.parse(record, "aic.enterprise"))


def test_envelope_may_gain_and_lose_columns_and_reports_a_change_once():
    old = contract(column("name", "string"), column("capital", CAPITAL))
    assert breaches([old], contract(column("name", "string")), "FULL_TRANSITIVE") == []
    assert (
        breaches([old], contract(column("name", "string"), column("capital", CAPITAL), NOTE), "FULL_TRANSITIVE") == []
    )
    texts = breaches([old], contract(column("name", "int"), column("capital", CAPITAL)), "FULL_TRANSITIVE")
    assert texts
    assert all(text.startswith("before.name: ") for text in texts)


def test_recursive_types_end():
    tree = row(column("children", {"type": "array", "items": "Row"}), ID)
    assert breaches([tree], tree, "FULL_TRANSITIVE") == []
    grown = row(column("children", {"type": "array", "items": "Row"}), ID, column("n", "int"))
    assert len(breaches([tree], grown, "FULL_TRANSITIVE")) == 1


FAULTY = [
    ({"type": "string2"}, "unknown type"),
    ("strin", "unknown type"),
    ({"type": "record", "name": "R"}, "no list of fields"),
    ({"type": "record", "fields": []}, "no legal name"),
    (row(column("a-b", "int")), "no legal Avro name"),
    (row(ID, ID), "there twice"),
    (row({"name": "x"}), "has no type"),
    (row(column("x", {"type": "bytes", "logicalType": "decimal"})), "no precision"),
    (row(column("x", {"type": "int", "logicalType": "timestamp-micros"})), "cannot stand on int"),
    (row(column("x", ["string", "null"], default=None)), "does not fit"),
    (row(column("x", "int", default=2**31)), "does not fit"),
    (row(column("x", ["int", ["null"]])), "union directly inside"),
    (["int", "int"], "twice"),
    ({"type": "array"}, "says nothing of its items"),
    ({"type": "fixed", "name": "F"}, "no size"),
    ({"type": "enum", "name": "E", "symbols": ["A", "A"]}, "twice"),
    (7, "is no type"),
    (None, "is no type"),
    ({}, "names no type"),
    ([], "without branches"),
]


@pytest.mark.parametrize(("schema", "text"), FAULTY)
def test_fault_is_named_with_its_fix(schema, text):
    found = faults(schema)
    assert found
    assert text in found[0].message
    assert found[0].fix


def test_deep_nesting_is_a_fault_not_a_crash():
    schema = "int"
    for _ in range(500):
        schema = {"type": "array", "items": schema}
    assert "nested deeper" in faults(schema)[0].message


def test_good_schemas_have_no_faults():
    for schema in ("string", BASE, value_schema(Contract.parse({**BASE, "gov": {"key": ["id"]}}, "aic.enterprise"))):
        assert faults(schema) == []


def test_canonical_text_ignores_white_space_and_keeps_unknown_attributes():
    assert canonical_text({"type": "string"}) == '"string"'
    noisy = {
        "type": "record",
        "name": "R",
        "fields": [{"name": "a", "type": {"type": "int"}, "gov": {"type": "string"}}],
    }
    assert (
        canonical_text(noisy)
        == '{"type":"record","name":"R","fields":[{"name":"a","type":"int","gov":{"type":"string"}}]}'
    )
    swapped = {"name": "R", "fields": noisy["fields"], "type": "record"}
    assert canonical_text(swapped) != canonical_text(noisy)
    assert canonical_text(swapped, is_normalised=True) == canonical_text(noisy, is_normalised=True)


def test_references_are_put_inline_once():
    money = {"type": "record", "name": "Money", "namespace": "gz", "fields": [column("n", "long")]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "gz",
        "fields": [column("a", "Money"), column("b", "gz.Money")],
    }
    alone = with_references(order, [money])
    assert faults(alone) == []
    assert alone["fields"][0]["type"]["name"] == "gz.Money"
    assert alone["fields"][1]["type"] == "gz.Money"
