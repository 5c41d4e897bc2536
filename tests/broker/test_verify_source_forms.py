"""What the database writes of a row for `mesh verify --source` is what the feed's reader writes of capture's bytes, for any value."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from psycopg import sql

from producers.postgresql.fenced.form import Form, concat, form_of
from producers.postgresql.fenced.printed import key_reader, words_of
from producers.postgresql.link.catalog import SourceTypes, tables
from producers.postgresql.value.transcode import Transcoder
from schemas.contract import Contract, wire_fields
from schemas.errors import Rejected
from tests.broker import test_postgres_capture_types, test_postgres_capture_values
from tests.stage.capturing import contract
from tests.stage.value_oracle import Kind, Oracle

FRAME = b"\0\0\0\0\1"


class Both:
    """One contract of the oracle's table: its text as the database writes it, and as it is read off capture's bytes."""

    def __init__(self, oracle: Oracle, fields: dict[str, Any]) -> None:
        self.oracle = oracle
        agreed = contract("a.v", fields)
        table = tables(oracle.db, SourceTypes(oracle.db), ["public.v"])["public.v"]
        types = {column.name: (column.type, column.typmod) for column in table.columns}
        found = {
            field.name: form_of(*types[field.column], field, sql.Identifier(field.column)) for field in agreed.fields
        }
        self.without = {name for name, form in found.items() if form is None}
        self.forms: dict[str, Form] = {name: form for name, form in found.items() if form is not None}
        self.transcoder = Transcoder(agreed, oracle.columns, 1)
        self.read = {name: key_reader(record(agreed), {name: form}, None) for name, form in self.forms.items()}

    def agree_on(self, number: int) -> bool:
        """Whether the row is one that capture encodes; the two texts are equal then."""
        try:
            row, _, _ = self.transcoder.copied_row(self.oracle.copied(number), 2)
        except Rejected:
            return False
        words = [concat(tuple(words_of([form]))) for form in self.forms.values()]
        texts = sql.SQL(", ").join(sql.SQL("convert_to({}, 'UTF8')").format(word) for word in words)
        said = self.oracle.db.execute(sql.SQL("SELECT {} FROM v WHERE id = {}").format(texts, number)).fetchone()
        found = {name: read(FRAME + row) for name, read in self.read.items()}
        assert {name: bytes(text) for name, text in zip(self.forms, said or (), strict=True)} == found
        return True


def record(agreed: Contract) -> dict[str, Any]:
    return {"type": "record", "name": "V", "fields": wire_fields(agreed)}


def typed(kinds: dict[str, Kind], *, is_lossless: bool) -> dict[str, Any]:
    def branches(kind: Kind) -> list[Any]:
        return ["null", kind.avro, *(["string"] if is_lossless and kind.avro != "string" else [])]

    return {"id": "int", **{name: branches(kind) for name, kind in kinds.items()}}


@pytest.mark.parametrize(
    ("values", "without", "examples"),
    [
        (test_postgres_capture_values, set[str](), 60),
        (test_postgres_capture_types, {"c_vector", "c_half"}, 150),
    ],
    ids=["plain", "made of others"],
)
def test_the_database_and_a_reader_of_the_feed_write_the_same_of_every_value(
    dsn: str, values: Any, without: set[str], examples: int
) -> None:
    kinds: dict[str, Kind] = dict(values.KINDS)
    oracle = Oracle(dsn, kinds, *values.PREPARED)
    texts = {"id": "int", **dict.fromkeys(kinds, "string")}
    contracts = [
        Both(oracle, fields) for fields in (typed(kinds, is_lossless=False), typed(kinds, is_lossless=True), texts)
    ]
    assert [both.without for both in contracts] == [without, without, set()], "all others have a form"

    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(row=values.ROW)
    def agree(row: dict[str, str]) -> None:
        try:
            number = oracle.insert(row)
        except psycopg.DataError:
            return
        assert [both.agree_on(number) for both in contracts][1:] == [True, True]

    with closing(oracle):
        agree()
