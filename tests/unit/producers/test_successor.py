"""What a table changed is changed in its contract, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from producers.postgresql.link.catalog import CatalogTable, ReplicaIdentity, TableColumn
from producers.postgresql.onboarding.successor import successor
from producers.postgresql.value.type import PgType
from schemas.contract import Contract
from schemas.errors import Misconfigured

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}


def column(name: str, kind: str, *, digits: tuple[int, int] | None = None, is_key: bool = False) -> TableColumn:
    typmod = -1 if digits is None else (digits[0] << 16 | digits[1]) + 4
    return TableColumn(
        name=name,
        type=PgType(name=kind),
        typmod=typmod,
        is_not_null=is_key,
        is_generated=False,
        is_key=is_key,
        key_place=int(is_key),
        note=None,
        shown=kind,
    )


def table(*columns: TableColumn, name: str = "public.t") -> CatalogTable:
    return CatalogTable(
        oid=1,
        name=name,
        kind="r",
        persistence="p",
        logged=ReplicaIdentity(kind="f"),
        filenode=1,
        rows=1,
        blocks=1,
        owner="o",
        is_owner=True,
        is_readable=True,
        is_row_secured=False,
        has_children=False,
        columns=columns,
    )


def agreed(**types: Any) -> Contract:
    fields = [{"name": "id", "type": "int", "doc": "编号"}]
    fields += [{"name": name, "type": kind, "doc": "列", "confluent:tags": ["L2"]} for name, kind in types.items()]
    gov = {"key": ["id"], "rules": [{"name": "r", "expr": "id > 0"}]}
    return Contract.parse({"type": "record", "name": "T", "doc": "表", "gov": gov, "fields": fields}, "a.t")


ID = column("id", "int4", is_key=True)


@pytest.mark.parametrize(
    ("kind", "now", "becomes"),
    [
        (["null", "int"], column("v", "int8"), ["null", "long"]),
        ("int", column("v", "int8"), "long"),
        (["null", "int"], column("v", "text"), ["null", "string"]),
        (
            ["null", MONEY],
            column("v", "numeric", digits=(12, 4)),
            ["null", {**MONEY, "precision": 12, "scale": 4}],
        ),
        (
            ["null", MONEY, "string"],
            column("v", "numeric", digits=(7, 2)),
            ["null", {**MONEY, "precision": 7}, "string"],
        ),
        (["null", MONEY, "string"], column("v", "text"), ["null", "string"]),
    ],
)
def test_a_type_that_no_longer_fits_is_followed(kind: Any, now: TableColumn, becomes: Any) -> None:
    before = agreed(v=kind)
    after, differences = successor(before, table(ID, now))
    assert after.record["fields"][1] == {**before.record["fields"][1], "type": becomes}
    assert len(differences) == 1
    assert differences[0].startswith("column v (")
    assert {**after.record, "fields": ()} == {**before.record, "fields": (), "gov": after.record["gov"]}
    assert after.gov == before.gov


@pytest.mark.parametrize(
    ("kind", "now"),
    [
        ("string", column("v", "text")),
        ("string", column("v", "int4")),
        ("long", column("v", "int2")),
        (MONEY, column("v", "numeric", digits=(4, 1))),
        (MONEY, column("v", "numeric")),
    ],
)
def test_a_type_that_takes_every_value_stays(kind: Any, now: TableColumn) -> None:
    before = agreed(v=kind)
    assert successor(before, table(ID, now)) == (before, [])


def test_a_key_of_another_type_and_another_name_are_followed_together() -> None:
    after, differences = successor(agreed(), table(column("id", "int8", is_key=True), name="public.t2"))
    assert (after.record["fields"][0]["type"], after.table) == ("long", "public.t2")
    assert differences == ["column id (int8): int becomes long", "table public.t is public.t2 now"]


def test_a_column_that_is_gone_is_left_out_and_a_key_column_never() -> None:
    after, differences = successor(agreed(v="int"), table(ID, column("w", "int4")))
    assert list(after.by_name) == ["id"]
    assert differences == ["column v is gone: its field is left out; in no contract are w"]
    with pytest.raises(Misconfigured, match="no key column id"):
        successor(agreed(), table(column("number", "int4", is_key=True)))
