"""`mesh check` warns of what a subscriber's database cannot hold, and what it says to do works (D-29)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.lint.check import Problem, check
from schemas.errors import Misconfigured
from schemas.wire.name import avro_name
from sinks.postgresql.table.table import DeliveredTable
from sinks.row import WireColumn

LONG = avro_name("统一社会信用代码登记机关名称及其所在地区划代码")
"""Of 23 characters, 69 bytes. PostgreSQL has a column of 63 at most; a source of another kind may have this one."""
SHORT = avro_name("统一社会信用代码登记机关名称")
"""Of 14 characters: 42 bytes, 98 as it stands on the wire."""


def folder(
    root: Path, *, name: str = LONG, feed: str = "t", columns: str = "[]", tables: str = "{}", kind: str = "postgres"
) -> list[Problem]:
    for code in ("aic", "customs"):
        (root / code).mkdir(exist_ok=True)
    (root / "aic" / "agency.yaml").write_text(
        'agency: aic\nname: 局\nsources: [{name: main, kind: postgres, connection: "${X}"}]\n'
    )
    fields = [{"name": "id", "type": "int", "doc": "号", "confluent:tags": ["L1"]}]
    fields += [{"name": name, "type": ["null", "string"], "default": None, "doc": "名", "confluent:tags": ["L1"]}]
    record = {
        "type": "record",
        "name": "T",
        "doc": "表",
        "gov": {"key": ["id"], "class": "UNCONDITIONAL"},
        "fields": fields,
    }
    (root / "aic" / f"{feed}.avsc").write_text(json.dumps(record, ensure_ascii=False))
    path = ', connection: "${Y}"'
    (root / "customs" / "subscriber.yaml").write_text(
        f"subscriber: customs\nname: 关\nsinks: [{{name: main, kind: {kind}{path}, options: {tables}}}]\n"
        f"grants:\n  - feed: aic.{feed}\n    columns: {columns}\n    purpose: 核验\n"
    )
    return [problem for problem in check(root).problems if "bytes that PostgreSQL keeps" in problem.message]


def test_a_name_that_the_target_cannot_hold_is_warned_of_on_its_line(tmp_path: Path) -> None:
    (problem,) = folder(tmp_path, columns=f"[{LONG}]")
    assert (problem.severity.value, problem.line) == ("warning", 5)
    assert "column 统一社会信用代码登记机关名称及其所在地区划代码" in problem.message
    assert "leave the column out of the grant" in problem.fix
    assert folder(tmp_path, columns="[id]") == [], "what the fix says, done"
    assert folder(tmp_path, columns=f"[{LONG}]", kind="webhook") == []
    assert folder(tmp_path, name=SHORT, columns=f"[{SHORT}]") == [], (
        "what counts is the name that the column bears there"
    )


def test_a_table_with_a_name_too_long_gets_another_by_the_option_that_the_fix_names(tmp_path: Path) -> None:
    feed = "a" * 60
    (problem,) = folder(tmp_path, feed=feed, columns="[id]")
    assert "`tables: {<feed>: <name>}`" in problem.fix
    assert folder(tmp_path, feed=feed, columns="[id]", tables=f"{{tables: {{aic.{feed}: short}}}}") == []


def test_the_sink_says_of_a_column_what_helps_a_column() -> None:
    column = WireColumn(name="名" * 22, wire="n", kind="string", is_nullable=True, is_lossless=False, doc="")
    with pytest.raises(Misconfigured, match=r"table t, column .* is longer") as refused:
        DeliveredTable(schema="public", name="t", columns=(column,), key=())
    assert "leave the column out" in refused.value.fix
