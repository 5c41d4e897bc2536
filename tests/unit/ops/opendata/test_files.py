"""A set as a file: what Excel opens, what a program reads, and what somebody hostile wrote into it."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest

from ops.opendata.answers import Answers
from ops.opendata.condition import Order, conditions, orders
from ops.opendata.files import FORMATS
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal
from ops.opendata.store import News, Store
from streams.flows.opendata.catalogue import LISTED

HOSTILE = '=HYPERLINK("http://x.example","张三"),\r\n'


def made(answers: Answers, form: str, code: str = "enterprise", **asked: str) -> bytes:
    told, rows = answers.whole(code, Query(asked.items()))
    file = io.BytesIO()
    FORMATS[form][1](file, told, rows)
    return file.getvalue()


def lines(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline="")))


@pytest.fixture
def hostile(store: Store) -> None:
    """A row whose name is a formula, with what ends fields and lines."""
    content = {"uscc": "U99", "name": HOSTILE, "kind": "ENTERPRISE", "established": "2016-02-29", "capital": "-1.50"}
    key = {"dataset": "enterprise", "row_no": "zz"}
    row = {**key, "content": json.dumps({**content, "legal_rep_id": "SECRET99"})}
    store.take([News(kind="dataset", key=key, row=row)], {})


def test_csv_opens_in_a_spreadsheet_as_chinese_and_runs_nothing(answers: Answers, hostile: None) -> None:
    text = made(answers, "csv")
    assert text.startswith(b"\xef\xbb\xbf")
    rows = lines(text)
    assert list(rows[0])[:3] == ["统一社会信用代码", "工商注册号", "名称"]
    assert len(rows) == 41
    assert rows[-1]["名称"] == f"'{HOSTILE}"
    assert rows[-1]["注册资本"] == "'-1.50"
    assert b"SECRET" not in text


def test_json_and_parquet_have_every_value_as_it_is(answers: Answers, hostile: None) -> None:
    told = json.loads(made(answers, "json"))
    table = pq.read_table(io.BytesIO(made(answers, "parquet")))
    assert told["licence"] == answers.terms.licence.url
    assert [column["column"] for column in told["columns"]] == table.column_names
    assert table.schema.metadata[b"licence"].decode() == told["licence"]
    assert table.schema.field("name").metadata == {b"title": "名称".encode()}
    last = table.to_pylist()[-1]
    assert (last["name"], last["established"], last["capital"]) == (HOSTILE, date(2016, 2, 29), Decimal("-1.50"))
    assert (len(told["rows"]), told["rows"][-1]["name"]) == (table.num_rows, HOSTILE)
    assert made(answers, "parquet", "credit_list"), "a set without rows is a file all the same"
    assert json.loads(made(answers, "json", "credit_list"))["rows"] == []


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ({"established.from": "2016"}, 1),
        ({"established.to": "2015"}, 40),
        ({"established.from": "2016-02-29", "established.to": "2016-02"}, 1),
        ({"established.from": "2016-03"}, 0),
        ({"capital.from": "99.5"}, 40),
        ({"capital.to": "-1.5"}, 1),
        ({"capital.from": "100", "capital.to": "100", "industry": "A"}, 10),
    ],
)
def test_bounds_are_inclusive_and_a_year_is_all_of_it(
    answers: Answers, hostile: None, asked: dict[str, str], count: int
) -> None:
    assert len(lines(made(answers, "csv", **asked))) == count
    assert len(answers.rows("enterprise", Query({**asked, "limit": "1000"}.items())).rows) == count


@pytest.mark.parametrize(
    "asked",
    [
        {"established.from": "2016' OR 1=1 --"},
        {"established.from": "二〇一六"},
        {"established.from": ""},
        {"capital.from": "1e309"},
        {"capital.from": "nan"},
        {"capital.from": "\uff19"},
        {"name.from": "a"},
        {"established.like": "2016"},
        {"legal_rep_id.from": "1"},
        {'x" = 1 OR "': "1"},
    ],
)
def test_what_is_no_bound_is_refused_and_not_repeated(answers: Answers, asked: dict[str, str]) -> None:
    for ask in (answers.rows, answers.whole):
        with pytest.raises(Refusal) as refused:
            ask("enterprise", Query(asked.items()))
        assert refused.value.status == 400
        told = json.dumps(refused.value.to_json(), ensure_ascii=False)
        assert not any(text in told for text in asked.values() if len(text) > 4)


def test_a_value_is_compared_as_what_it_is_and_never_run(answers: Answers) -> None:
    assert answers.rows("enterprise", Query([("name", "x' OR '1'='1")])).rows == []
    ordered: dict[str, Any] = dict(orders(LISTED["enterprise"], answers.fields(LISTED["enterprise"])))
    assert ordered == {"established": Order.DATE, "capital": Order.NUMBER}
    [one] = conditions([("capital.from", "12.5")], ordered)
    assert (one.column, one.how, one.order) == ("capital", "from", Order.NUMBER)
    quota = LISTED["quota_winner"]
    assert "rank" in orders(quota, answers.fields(quota)), "a number by its contract"
    assert "rank" not in orders(quota, {}), "without one nobody knows"
