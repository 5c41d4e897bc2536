from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract
from schemas.errors import Misconfigured, Rejected
from schemas.expression.expression import parse
from schemas.expression.predicate import predicate
from schemas.wire.codec import Codec
from schemas.wire.envelope import out_value_schema, value_schema
from schemas.wire.scan import Scanner, Shape
from streams.egress.cut import Removal
from streams.egress.egress import Cutting, cutting, definition_text
from tests.unit.streams import grant_oracle as oracle

KEY = b"a subscriber's secret"
FEED = "aic.enterprise"
TYPES: dict[str, Any] = {
    "string": "string",
    "int": "int",
    "long": "long",
    "boolean": "boolean",
    "double": "double",
    "float": "float",
    "bytes": "bytes",
    "date": {"type": "int", "logicalType": "date"},
    "timestamp": {"type": "long", "logicalType": "timestamp-micros"},
    "decimal": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
    "array": {"type": "array", "items": ["null", "string"]},
    "map": {"type": "map", "values": "long"},
    "fixed": {"type": "fixed", "name": "Twelve", "size": 12},
    "interval": {
        "type": "record",
        "name": "Interval",
        "fields": [{"name": "months", "type": "int"}, {"name": "micros", "type": "long"}],
    },
    "note": {"type": "record", "name": "Note", "fields": [{"name": "text", "type": ["null", "string"]}]},
    "records": {
        "type": "array",
        "items": {
            "type": "record",
            "name": "Source",  # as the envelope's own record is called
            "fields": [
                {"name": "feed", "type": "string"},
                {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
                {"name": "counts", "type": {"type": "map", "values": ["null", "long"]}},
            ],
        },
    },
}
LONG = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.one_of(st.text(max_size=12), st.text(min_size=30, max_size=90))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "int": st.integers(-(1 << 31), (1 << 31) - 1),
    "long": LONG,
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "float": st.floats(width=32, allow_nan=False),
    "bytes": st.binary(max_size=100),
    "date": st.integers(-1000, 30000),
    "timestamp": LONG,
    "decimal": LONG.map(lambda n: n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True)),
    "array": st.lists(st.none() | st.text(max_size=5), max_size=4),
    "map": st.dictionaries(st.text(max_size=5), LONG, max_size=3),
    "fixed": st.binary(min_size=12, max_size=12),
    "interval": st.fixed_dictionaries({"months": st.integers(-9, 9), "micros": LONG}),
    "note": st.fixed_dictionaries({"text": st.none() | st.text(max_size=70)}),
    "records": st.lists(
        st.fixed_dictionaries(
            {
                "feed": st.text(max_size=70),
                "at": st.none() | LONG,
                "counts": st.dictionaries(st.text(max_size=3), st.none() | LONG, max_size=2),
            }
        ),
        max_size=3,
    ),
}
NAMED_ONCE = {"fixed", "interval", "note", "records"}


def contract_of(fields: list[tuple[str, str, bool]], feed: str = FEED) -> Contract:
    """Fields are (name, kind, is_lossless); the first is the key."""
    entries: list[dict[str, Any]] = []
    for place, (name, kind, is_lossless) in enumerate(fields):
        avro_type = TYPES[kind]
        if place:
            avro_type = ["null", avro_type, "string"] if is_lossless else ["null", avro_type]
        entries.append({"name": name, "type": avro_type})
    return Contract.parse({"type": "record", "name": "T", "gov": {"key": [fields[0][0]]}, "fields": entries}, feed)


def grant_of(columns: list[str], row_filter: str | None = None, mask: Mapping[str, Mask] | None = None) -> Grant:
    return Grant(
        grant_id=f"customs.{FEED}",
        subscriber="customs",
        feed=FEED,
        columns=tuple(columns),
        purpose="duty",
        row_filter=row_filter,
        mask=mask or {},
    )


class Bench:
    """One contract with its grants: encodes envelopes, cuts them, decodes what comes out."""

    def __init__(
        self,
        contract: Contract,
        grants: list[Grant],
        *,
        out_contract: Contract | None = None,
        is_keyed_only: bool = False,
        held: str | None = "false",
        is_snapshot: bool = False,
    ) -> None:
        self.schemas = {1: value_schema(contract)}
        self.codec = Codec(self.schemas.__getitem__)
        shape = Shape.of(self.schemas[1])
        self.cuttings: list[Cutting] = []
        for place, grant in enumerate(grants):
            self.schemas[100 + place] = out_value_schema(out_contract or contract, grant)
            self.cuttings.append(
                cutting(
                    shape,
                    Shape.of(self.schemas[100 + place]),
                    GrantEntry(grant=grant, key_schema_id=5, value_schema_id=100 + place, version=1),
                    key=contract.key,
                    is_keyed_only=is_keyed_only,
                    hash_key=lambda subscriber: KEY,
                    held=held,
                    is_snapshot=is_snapshot,
                )
            )
        self.scanner = Scanner(shape, frozenset().union(*(each.boundaries for each in self.cuttings)))
        self.cuts = [each.build(self.scanner) for each in self.cuttings]

    def cut(self, envelope: Mapping[str, Any], place: int = 0) -> Any:
        """The decoded out envelope and its reason; SUPPRESSED; UNKNOWN."""
        message = self.codec.encode(1, envelope)
        spans = self.scanner.scan(message)
        try:
            out = self.cuts[place](message, spans)
        except Rejected as error:
            return error.reason
        if out is None:
            return oracle.SUPPRESSED
        reason = "OUT_OF_SCOPE" if isinstance(out, Removal) else "SOURCE_DELETED" if envelope["op"] == "d" else ""
        if spans[6] is not None:
            out = out[: len(out) - len(message) + spans[5]] + self.cuttings[place].trailer(spans[6])
        return self.codec.decode(bytes(out)), reason


def envelope_of(op: str, before: Any, after: Any, **more: Any) -> dict[str, Any]:
    source: dict[str, Any] = {
        "version": "1",
        "connector": "postgresql",
        "name": "aic.main",
        "ts_ms": 1_480_000_000_000,
        "snapshot": None,
        "db": "aic",
        "sequence": '["0001","0000000000000010","00000001"]',
        "schema": "public",
        "table": "enterprise",
        "txId": 77,
        "lsn": 123456,
        "file": None,
        "pos": None,
        "gtid": None,
    }
    source |= more.pop("source", {})
    extras = {"ts_ms": 1, "transaction": None, "unchanged": None, "dq": None}
    return {"before": before, "after": after, "source": source, "op": op, **extras, **more}


# --- random contracts, rows and grants against the oracle ----------------------------------------------------------


@st.composite
def cases(draw: st.DrawFn) -> Any:
    kinds = ["string", *draw(st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=9))]
    seen: set[str] = set()
    kinds = [kind for kind in kinds if kind not in NAMED_ONCE or not (kind in seen or seen.add(kind))]
    kinds.append("string")
    fields = [
        (f"c{n}", kind, kind in {"date", "decimal", "double"} and draw(st.booleans())) for n, kind in enumerate(kinds)
    ]
    names = [name for name, _, _ in fields]
    by_kind = {name: kind for name, kind, _ in fields}

    def row() -> dict[str, Any]:
        values: dict[str, Any] = {"c0": draw(TEXT)}
        for name, kind, is_lossless in fields[1:]:
            pool = st.none() | VALUES[kind]
            values[name] = draw(pool | st.sampled_from(["NaN", "infinity"]) if is_lossless else pool)
        values[names[-1]] = draw(st.none() | st.sampled_from(["440106", "440104", "x" * 70]))
        return values

    grants = []
    for _ in range(draw(st.integers(1, 3))):
        columns = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
        masks = {
            name: mask
            for name in columns
            if name != "c0"
            and (mask := draw(st.sampled_from([Mask.FULL, Mask.FULL, Mask.MASK, Mask.DROP, Mask.HASH])))
            and (mask is not Mask.HASH or by_kind[name] == "string")
        }
        if draw(st.booleans()):
            masks["c0"] = Mask.HASH
        last = names[-1]
        filters = [
            None,
            f"{last} == '440106'",
            f"{last} in ['440106', '440104']",
            f"{last} != null && !starts_with({last}, '4401')",
            f"{last} == '{'x' * 70}' || {last} == null",
        ]
        for name, kind, _ in fields[1:-1]:
            if kind in {"int", "long", "decimal", "double"}:
                filters += [f"{name} > 0", f"{name} == null || {name} <= 100.5", f"{name} in [0, 1]"]
            if kind == "date":
                filters.append(f"{name} < '2000-01-01'")
            if kind == "boolean":
                filters.append(f"!{name}")
        grants.append(grant_of(columns, draw(st.sampled_from(filters)), masks))
    op = draw(st.sampled_from("crudt"))
    before = row() if op in "ud" and draw(st.integers(0, 5)) else None
    after = row() if op in "cru" else None
    if before and after and draw(st.booleans()):
        after = {**after, names[-1]: before[names[-1]]}
    marks = st.fixed_dictionaries(
        {
            "code": st.text(max_size=5),
            "columns": st.lists(st.sampled_from(names), max_size=3),
            "normalised": st.none() | st.text(max_size=20),
        }
    )
    transaction = st.fixed_dictionaries({"id": TEXT, "total_order": LONG, "data_collection_order": LONG})
    envelope = envelope_of(
        op,
        before,
        after,
        ts_ms=draw(st.none() | LONG),
        transaction=draw(st.none() | transaction),
        unchanged=draw(st.none() | st.none() | st.lists(st.sampled_from(names), max_size=2)) if op == "u" else None,
        dq=draw(st.none() | st.none() | st.lists(marks, max_size=3)),
        source={"ts_ms": draw(LONG), "snapshot": draw(st.none() | st.just("true")), "lsn": draw(st.none() | LONG)},
    )
    return fields, grants, envelope


@settings(max_examples=250, deadline=None)
@given(cases())
def test_cut_bytes_decode_to_what_the_oracle_says(case: Any) -> None:
    fields, grants, envelope = case
    contract = contract_of(fields)
    bench = Bench(contract, grants)
    kinds = {name: kind for name, kind, _ in fields}
    for _ in range(2):  # the second walk goes by the pattern that the first one learned
        for place, grant in enumerate(grants):
            out_columns = [
                name
                for name in kinds
                if name == "c0" or (name in grant.columns and grant.mask.get(name) is not Mask.DROP)
            ]
            clear = {name for name in out_columns if grant.mask.get(name, Mask.FULL) is Mask.FULL}
            keeps = predicate(parse(grant.row_filter), contract) if grant.row_filter else lambda row: True
            wanted = oracle.expected(envelope, keeps, grant, out_columns, kinds, KEY, clear)
            assert bench.cut(envelope, place) == wanted


# --- named cases ---------------------------------------------------------------------------------------------------

ENTERPRISE = [
    ("ent_id", "string", False),
    ("name", "string", False),
    ("secret", "string", False),
    ("region", "string", False),
]
HERE = {"ent_id": "e1", "name": "a", "secret": "s1", "region": "440106"}
THERE = {**HERE, "secret": "s2", "region": "440104"}
FILTER = "region == '440106'"


def test_a_row_that_moves_away_is_removed_and_one_that_comes_is_created() -> None:
    bench = Bench(contract_of(ENTERPRISE), [grant_of(["name"], FILTER)])
    out, reason = bench.cut(envelope_of("u", HERE, THERE))
    assert (out["op"], out["before"], out["after"], reason) == (
        "d",
        {"ent_id": "e1", "name": "a"},
        None,
        "OUT_OF_SCOPE",
    )
    out, reason = bench.cut(envelope_of("u", THERE, HERE))
    assert (out["op"], out["before"], out["after"], reason) == ("c", None, {"ent_id": "e1", "name": "a"}, "")
    assert bench.cut(envelope_of("u", THERE, THERE)) == oracle.SUPPRESSED
    assert bench.cut(envelope_of("d", THERE, None)) == oracle.SUPPRESSED


def test_past_is_served_as_a_snapshot_and_removals_stay_removals() -> None:
    bench = Bench(contract_of(ENTERPRISE), [grant_of(["name"], FILTER), grant_of(["name"])], is_snapshot=True)
    for envelope in (envelope_of("c", None, HERE), envelope_of("u", HERE, HERE), envelope_of("u", THERE, HERE)):
        for place in (0, 1):
            out, _ = bench.cut(envelope, place)
            assert (out["op"], out["before"], out["after"]) == ("r", None, {"ent_id": "e1", "name": "a"})
            assert out["source"] == envelope["source"]
    assert bench.cut(envelope_of("u", HERE, THERE))[1] == "OUT_OF_SCOPE"
    assert bench.cut(envelope_of("d", HERE, None))[0]["op"] == "d"
    assert bench.cut(envelope_of("c", None, THERE)) == oracle.SUPPRESSED


def test_keyed_only_feed_never_tells_of_a_row_that_was_not_granted() -> None:
    bench = Bench(contract_of(ENTERPRISE), [grant_of(["name", "region"], FILTER)], is_keyed_only=True)
    key_only = {"ent_id": "e1", "name": None, "secret": None, "region": None}
    assert bench.cut(envelope_of("d", key_only, None)) == oracle.UNKNOWN
    assert bench.cut(envelope_of("u", key_only, THERE)) == oracle.UNKNOWN
    out, _ = bench.cut(envelope_of("u", key_only, HERE))
    assert (out["op"], out["before"], out["after"]["region"]) == ("u", None, "440106")


def test_keyed_only_feed_decides_a_filter_on_the_key() -> None:
    bench = Bench(contract_of(ENTERPRISE), [grant_of(["name"], "starts_with(ent_id, 'e')")], is_keyed_only=True)
    out, reason = bench.cut(envelope_of("d", {**HERE, "name": None}, None))
    assert (out["op"], reason) == ("d", "SOURCE_DELETED")


def test_column_added_upstream_reaches_nobody_until_granted() -> None:
    grown = contract_of([*ENTERPRISE[:1], ("extra", "string", False), *ENTERPRISE[1:]])
    bench = Bench(grown, [grant_of(["name", "region"])], out_contract=contract_of(ENTERPRISE))
    out, _ = bench.cut(envelope_of("c", None, {**HERE, "extra": "hidden"}))
    assert out["after"] == {"ent_id": "e1", "name": "a", "region": "440106"}


def test_record_written_before_a_granted_column_existed_has_null_there() -> None:
    grown = contract_of([*ENTERPRISE, ("extra", "long", False)])
    grant = grant_of(["name", "extra"], "extra == null")
    out, _ = Bench(contract_of(ENTERPRISE), [grant], out_contract=grown).cut(envelope_of("c", None, HERE))
    assert out["after"] == {"ent_id": "e1", "name": "a", "extra": None}


def test_lossless_successor_takes_rows_of_its_typed_predecessor() -> None:
    old = contract_of([("id", "string", False), ("capital", "decimal", False)])
    new = contract_of([("id", "string", False), ("capital", "decimal", True)])
    out, _ = Bench(old, [grant_of(["capital"])], out_contract=new).cut(
        envelope_of("c", None, {"id": "1", "capital": b"\x05"})
    )
    assert out["after"] == {"id": "1", "capital": b"\x05"}


def test_out_schema_wider_than_the_grant_gets_null_not_the_value() -> None:
    contract = contract_of(ENTERPRISE)
    entry = GrantEntry(grant=grant_of(["name"]), key_schema_id=5, value_schema_id=2, version=1)
    wide = Shape.of(value_schema(contract))
    made = cutting(wide, wide, entry, key=("ent_id",), is_keyed_only=False, hash_key=lambda subscriber: KEY)
    scanner = Scanner(wide, made.boundaries)
    codec = Codec({1: value_schema(contract), 2: value_schema(contract)}.__getitem__)
    message = codec.encode(1, envelope_of("c", None, HERE))
    out = made.build(scanner)(message, scanner.scan(message))
    assert out is not None
    assert codec.decode(out)["after"] == {"ent_id": "e1", "name": "a", "secret": None, "region": None}


@pytest.mark.parametrize("mask", [Mask.MASK, Mask.DROP])
def test_hiding_a_key_column_is_refused(mask: Mask) -> None:
    with pytest.raises(Misconfigured, match="key column"):
        Bench(contract_of(ENTERPRISE), [grant_of(["name"], mask={"ent_id": mask})])


def test_redefined_grant_takes_back_what_the_old_filter_gave() -> None:
    bench = Bench(contract_of(ENTERPRISE), [grant_of(["name"], "region == '440104'")], held=FILTER)
    out, reason = bench.cut(envelope_of("r", None, HERE))
    assert (out["op"], out["before"], out["after"], reason) == (
        "d",
        {"ent_id": "e1", "name": "a"},
        None,
        "OUT_OF_SCOPE",
    )
    assert bench.cut(envelope_of("r", None, {**HERE, "region": "440105"})) == oracle.SUPPRESSED
    out, reason = bench.cut(envelope_of("u", HERE, HERE))
    assert (out["op"], reason) == ("d", "OUT_OF_SCOPE")
    out, _ = bench.cut(envelope_of("r", None, THERE))
    assert out["op"] == "r"


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_cut_or_damaged_bytes_are_rejected_and_nothing_worse(data: st.DataObject) -> None:
    contract = contract_of([("id", "string", False), *((f"c{n}", kind, False) for n, kind in enumerate(sorted(TYPES)))])
    row = {"id": "1", **{f"c{n}": data.draw(st.none() | VALUES[kind]) for n, kind in enumerate(sorted(TYPES))}}
    bench = Bench(contract, [grant_of(["c3"])])
    whole = bench.codec.encode(1, envelope_of("u", row, row))
    bench.scanner.scan(whole)
    place = data.draw(st.integers(5, len(whole) - 1))
    for damaged in (whole[:place], whole + b"\0"):
        with pytest.raises((Rejected, IndexError)):
            bench.scanner.scan(damaged)
    flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :]
    with contextlib.suppress(Rejected, IndexError):  # nothing else may come of it
        bench.cuts[0](flipped, bench.scanner.scan(flipped))


def text_of(grant: Grant, edition: int = 1) -> str:
    return definition_text(GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=1, edition=edition))


def test_definition_tells_grants_apart_by_what_they_let_through() -> None:
    one = grant_of(["name", "region"], FILTER)
    assert text_of(one) == text_of(grant_of(["region", "name"], FILTER, {"name": Mask.FULL}))
    assert text_of(one) == text_of(dataclasses.replace(one, legal_basis="another"))
    for other in (
        grant_of(["name"], FILTER),
        grant_of(["name", "region"]),
        grant_of(["name", "region"], FILTER, {"name": Mask.HASH}),
    ):
        assert text_of(one) != text_of(other)
    assert text_of(one) != text_of(one, 2)
