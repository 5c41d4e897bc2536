from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Misconfigured
from streams.operators.publish import (
    FieldTable,
    Treatment,
    breaches,
    field_tables,
    mask,
    release,
    row_breaches,
    sample,
    show,
    suppress,
    term_until,
)
from tests.stage.rehearsal import cents, days, micros

LINES = [
    {"column": "name", "public": "MASK", "government": "FULL"},
    {"column": "born", "public": "YEAR", "government": "FULL"},
    {"column": "id", "public": "", "government": "FULL"},
]
TABLES = field_tables(LINES, "test")


@pytest.mark.parametrize(
    ("text", "masked"), [("", ""), ("甲", "*"), ("甲乙", "甲*"), ("甲乙丙", "甲*丙"), ("甲乙丙丁", "甲**丁"), (7, None)]
)
def test_a_mask_keeps_first_and_last(text: object, masked: str | None) -> None:
    assert mask(text) == masked


def test_a_view_shows_exactly_its_columns() -> None:
    row = {"name": "王小明", "born": days("1990-02-03"), "id": "1", "secret": "x"}
    assert TABLES["public"].project(row) == {"name": "王*明", "born": "1990"}
    assert TABLES["government"].project({}) == {"name": None, "born": None, "id": None}
    assert show(days("1990-02-03"), Treatment.MONTH) == "1990-02"
    assert show(days("1990-02-03"), Treatment.DAY) == "1990-02-03"
    assert show(cents("-12.50"), Treatment.AMOUNT) == "-12.50"
    assert show("440106198001010010", Treatment.REGION) == "440106"


def test_inclusion_of_tables_and_of_rows() -> None:
    public, government = TABLES["public"], TABLES["government"]
    assert breaches(public, government) == []
    assert breaches(government, public) == ["name", "born", "id"]
    row = {"name": "王小明", "born": days("1990-02-03"), "id": "1"}
    wide = {"r": government.project(row)}
    assert row_breaches({"r": public.project(row)}, wide, public) == []
    assert row_breaches({"r": {"name": "李*明"}, "x": {}}, wide, public) == ["r.name", "x"]


def test_an_unknown_treatment_is_refused() -> None:
    with pytest.raises(Misconfigured, match="unknown treatment"):
        field_tables([{"column": "name", "public": "SOME"}], "test")


def test_a_term_ends_with_the_first_moment_of_its_date() -> None:
    term = term_until(days("2016-11-01"))
    assert not term.is_over(micros("2016-11-01") - 1)
    assert term.is_over(micros("2016-11-01"))
    assert not term_until(None).is_over(micros("2999-01-01"))


def test_fewer_than_k_rows_or_differences_are_held() -> None:
    nine, ten = Counter({"a": 5, "b": 4}), Counter({"a": 5, "b": 5})
    assert release(nine, {}, 10).rows == {}
    assert release(nine, {}, 10).is_held
    first = release(ten, {}, 10)
    assert (first.rows, first.added, first.removed, first.is_held) == (ten, 10, 0, False)
    assert release(ten + Counter({"c": 1}), ten, 10).rows == ten
    assert release(ten + Counter({"c": 10}), ten, 10).added == 10


def test_a_group_that_sinks_below_k_is_withdrawn_whole() -> None:
    sunk = release({"a": 9}, {"a": 10}, 10)
    assert (sunk.rows, sunk.removed, sunk.is_held) == ({}, 10, True)


def test_changed_rows_count_once() -> None:
    assert not release({"a": 10, "c": 5}, {"a": 10, "b": 5}, 10).is_new, "five people, though ten rows differ"


rows = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 8), max_size=6)


@given(steps=st.lists(rows, min_size=1, max_size=12), k=st.integers(1, 12))
def test_no_published_set_and_no_difference_is_smaller_than_k(steps: list[dict[str, int]], k: int) -> None:
    published: Counter[str] = Counter()
    for present in steps:
        future = Counter(release(present, published, k).rows)
        added, removed = (future - published).total(), (published - future).total()
        assert future.total() == 0 or future.total() >= k
        assert max(added, removed) == 0 or max(added, removed) >= k
        published = future
    if sum(steps[-1].values()) >= k and not release(steps[-1], published, k).is_held:
        assert published == Counter(steps[-1])


@given(cells=st.dictionaries(st.text(max_size=3), st.integers(0, 40), max_size=8), k=st.integers(2, 12))
def test_a_blank_cannot_be_had_by_subtraction(cells: dict[str, int], k: int) -> None:
    shown = suppress(cells, k)
    hidden = {cell for cell, count in shown.items() if count is None}
    assert all(count is None or count == 0 or count >= k for count in shown.values())
    assert len(hidden) != 1 or sum(map(bool, cells.values())) == 1
    if hidden and any(count for count in shown.values()):
        assert sum(cells[cell] for cell in hidden) >= k


def test_a_sample_is_the_same_for_the_same_number() -> None:
    ids = [str(number) for number in range(100)]
    assert sample(ids, "2016-001", 10) == sample(reversed(ids), "2016-001", 10)
    assert sample(ids, "2016-001", 10) != sample(ids, "2016-002", 10)
    assert len(sample(ids, "n", 50, size_max=20)) == 20
    assert FieldTable("v", {}).project({"a": 1}) == {}
