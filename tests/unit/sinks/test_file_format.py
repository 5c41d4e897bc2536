"""Drops' formats: columns named like ours, and CSV as spreadsheets take it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas.errors import ContractBroken
from schemas.wire.name import avro_name
from sinks.document import Document, Documents
from sinks.drops.format import format_of
from tests.stage.delivering import OutFeed

NAMES = ("op", "committed_at", "token", "key")
FIELDS = [{"name": "id", "type": "int"}, *({"name": name, "type": ["null", "string"]} for name in NAMES)]
ROW = {"id": 1, **{name: f"the row's {name}" for name in NAMES}}


def written(name: str, row: dict[str, Any], fields: list[dict[str, Any]] = FIELDS, **options: bool) -> bytes:
    feed = OutFeed("tax", "police.person", fields)
    document = Documents(feed.schemas.__getitem__, "tax").document(feed.topic, feed.record("c", row))
    assert isinstance(document, Document)
    file = io.BytesIO()
    format_of(name, "test", **options)[1](file, document.row, [document])
    return file.getvalue()


def test_columns_named_op_and_committed_at_stay_the_rows() -> None:
    (line,) = written("jsonl", ROW).splitlines()
    (fields,) = csv.DictReader(io.StringIO(written("csv", ROW).decode()))
    (packed,) = pq.read_table(io.BytesIO(written("parquet", ROW))).to_pylist()
    for read in (json.loads(line), {**fields, "id": int(fields["id"])}, packed):
        assert {name: read[name] for name in ROW} == ROW
        assert read["_mesh_op"] == "c"
        assert len(read) == len(ROW) + 3


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("column", ["_mesh_token", "_MESH_op"])
def test_a_row_with_a_column_of_ours_is_refused_before_a_byte_is_written(name: str, column: str) -> None:
    with pytest.raises(ContractBroken, match=column):
        written(name, {"id": 1}, [*FIELDS, {"name": column, "type": ["null", "string"]}])


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "'quoted"])
def test_text_that_a_spreadsheet_would_run_has_an_apostrophe(text: str) -> None:
    (fields,) = csv.DictReader(io.StringIO(written("csv", {"id": -1, "op": text}).decode(), newline=""))
    assert (fields["op"], fields["id"]) == (f"'{text}", "-1")
    (plain,) = csv.DictReader(
        io.StringIO(written("csv", {"id": 1, "op": text}, escape_formulas=False).decode(), newline="")
    )
    assert plain["op"] == text


def test_a_byte_order_mark_is_written_where_it_is_asked_for() -> None:
    assert written("csv", ROW, bom=True).startswith(b"\xef\xbb\xbf_mesh_op,")
    assert written("csv", ROW).startswith(b"_mesh_op,")


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("kind", ["string", "double", {"type": "long", "logicalType": "timestamp-millis"}])
def test_a_column_is_called_as_in_its_source(name: str, kind: Any) -> None:
    value = {"string": "甲", "double": 1.5}.get(str(kind), 0)
    field = {"name": avro_name("占比%, 名称"), "type": ["null", kind]}
    content = written(name, {"id": 1, field["name"]: value}, [FIELDS[0], field])
    match name:
        case "jsonl":
            names = list(json.loads(content))
        case "csv":
            names = next(csv.reader(io.StringIO(content.decode())))
        case _:
            names = pq.read_table(io.BytesIO(content)).column_names
    assert names[3:] == ["id", "占比%, 名称"]


def test_the_body_of_a_webhook_calls_columns_as_their_source_does() -> None:
    key, name = avro_name("编号"), avro_name("名称")
    feed = OutFeed(
        "tax", "police.person", [{"name": key, "type": "int"}, {"name": name, "type": ["null", "string"]}], [key]
    )
    record = feed.record("u", {key: 1, name: None}, unchanged=[name])
    document = Documents(feed.schemas.__getitem__, "tax").document(feed.topic, record)
    assert document is not None
    told = document.json()
    assert (told["key"], told["after"], told["unchanged"]) == ({"编号": 1}, {"编号": 1, "名称": None}, ["名称"])
