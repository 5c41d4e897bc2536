"""CSV drops are read back as they were written, by a reader that shares no code with the writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.agreement.grant import Mask
from sinks.document import Documents
from sinks.drops.csv_rows import csv_rows
from sinks.drops.format import write_csv
from tests.stage.delivering import OutFeed, decimal

FIELDS = [
    {"name": "id", "type": "int"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "big", "type": ["null", "long"]},
    {"name": "is_valid", "type": ["null", "boolean"]},
    {"name": "amount", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}]},
]
TEXTS = [
    "",
    None,
    "张三",
    "=1+1",
    "'quoted",
    "''",
    "-",
    'a "b"',
    "a,b",
    "a\r\nb",
    "\n",
    "'",
    "\uff1d甲",
    chr(34),
    "末",
]


def row(number: int, text: str | None) -> dict[str, Any]:
    return {"id": number, "name": text, "big": -(2**40), "is_valid": number % 2 == 0, "amount": decimal("-1.50")}


@pytest.mark.parametrize("escapes", [True, False], ids=["with apostrophes", "as it is"])
@pytest.mark.parametrize("has_bom", [True, False], ids=["marked", "plain"])
def test_every_text_comes_back(tmp_path: Path, escapes: bool, has_bom: bool) -> None:
    feed = OutFeed("bank", "aic.t", fields=FIELDS)
    documents = Documents(feed.schemas.__getitem__, "bank")
    read = [documents.document(feed.topic, feed.record("c", row(*each))) for each in enumerate(TEXTS)]
    written = [document for document in read if document is not None]
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        write_csv(file, written[0].row, written, has_bom=has_bom, escapes_formulas=escapes)
    found = list(csv_rows(path, feed.contract.fields, {}, has_apostrophes=escapes))
    assert [each["name"] for each in found] == TEXTS
    assert [(each["id"], each["big"], each["is_valid"]) for each in found] == [
        (number, -(2**40), number % 2 == 0) for number in range(len(TEXTS))
    ]
    assert {each["amount"] for each in found} == {"-1.50"}
    assert {each["_mesh_op"] for each in found} == {"c"}
    masked = list(csv_rows(path, feed.contract.fields, {"id": Mask.HASH}, has_apostrophes=escapes))
    assert masked[7]["id"] == "7", "a pseudonym is text, whatever the column is"
