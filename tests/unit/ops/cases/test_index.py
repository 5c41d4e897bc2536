"""Cases in their order: what waits first, counted and found, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from ops.cases.index import NEVER, CaseIndex, Entry, Filter

FEED = "parcel.payment"


def entry(name: str, state: str = "OVERDUE", **more: Any) -> Entry:
    return Entry(**{"name": name, "state": state, "content": {"shown": [name]}, **more})


@pytest.fixture
def index() -> Iterator[CaseIndex]:
    with closing(CaseIndex()) as index:
        yield index


def names(index: CaseIndex, chosen: Filter | None = None, start: int = 0, count: int = 10) -> list[str]:
    return [each.name for each in index.page(FEED, chosen or Filter(), start=start, count=count)]


def test_what_waits_stands_first_and_of_that_what_is_due_first(index: CaseIndex) -> None:
    index.put(FEED, [entry("done", "PAID", rank=NEVER - 9), entry("older", "PAID", rank=NEVER - 5)])
    index.put(FEED, [entry("late", waits=True, due=5, rank=5), entry("soon", waits=True, due=3, rank=3)])
    assert names(index) == ["soon", "late", "done", "older"]
    assert names(index, start=1, count=2) == ["late", "done"]
    assert names(index, Filter(late_at=5)) == ["soon"]
    assert (index.count(FEED, Filter()), index.count(FEED, Filter(state="PAID"))) == (4, 2)


def test_a_case_that_changes_or_goes_is_not_there_twice_nor_found_any_more(index: CaseIndex) -> None:
    index.put(FEED, [entry("a", sought=["h1", "h2"]), entry("b", sought=["h2"])])
    assert (names(index, Filter(sought="h1")), names(index, Filter(sought="h2"))) == (["a"], ["a", "b"])
    index.put(FEED, [entry("a", "PAID", sought=["h2"])], ["b"])
    assert (names(index), names(index, Filter(sought="h1")), names(index, Filter(sought="h2"))) == (["a"], [], ["a"])
    index.put("tax.warning", [entry("a")])
    index.forget(FEED)
    assert (names(index), index.count("tax.warning", Filter())) == ([], 1), "another feed's stay"


def test_cases_are_counted_by_cause_and_state_with_the_oldest_of_them(index: CaseIndex) -> None:
    index.put(FEED, [entry(str(n), "open", cause="X", waits=True, since=n) for n in (7, 3)])
    index.put(FEED, [entry("s", "settled", cause="X", since=1)])
    told = {(each.cause, each.state): (each.waits, each.count, each.since) for each in index.counts(FEED)}
    assert told == {("X", "open"): (True, 2, 3), ("X", "settled"): (False, 1, 1)}
    index.restate(FEED, "7", "under way", waits=False)
    assert names(index, Filter(cause="X", state="under way")) == ["7"]


def test_a_case_is_named_by_the_beginning_of_its_name_where_that_is_one_s_alone(index: CaseIndex) -> None:
    index.put(FEED, [entry("abcdef01"), entry("abcdef02")])
    assert index.one(FEED, "abcdef") is None
    found = index.one(FEED, "abcdef02")
    assert found is not None
    assert (found.name, found.due, found.content) == ("abcdef02", None, {"shown": ["abcdef02"]})
    assert index.one(FEED, "") is None


def test_what_fails_half_way_leaves_what_was_there(index: CaseIndex) -> None:
    index.put(FEED, [entry("a")])
    with pytest.raises(TypeError):
        index.put(FEED, [entry("b"), entry("c", content={"x": b"bytes"})], ["a"])
    assert names(index) == ["a"]
