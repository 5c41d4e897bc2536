from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from ops.opendata.condition import Condition
from ops.opendata.store import ALL, News, Store
from streams.flows.opendata.catalogue import LISTED
from tests.stage.open_city import catch_up, firm, tick
from tests.stage.rehearsal import Rehearsal

PLACE = ("open.dataset", 0)


def row(number: str, content: str | None) -> News:
    key = {"dataset": "enterprise", "row_no": number}
    return News(kind="dataset", key=key, row=None if content is None else {**key, "content": content})


def test_rows_and_offsets_outlive_the_process_together(tmp_path: Path) -> None:
    path = tmp_path / "opendata.sqlite"
    with closing(Store(path)) as store:
        store.take([row("a", '{"name": "x"}')], {PLACE: 7})
        name = store.id
        with pytest.raises(KeyError):
            store.take([row("b", '{"name": "y"}'), News(kind="no such kind", key={}, row={})], {PLACE: 9})
    with closing(Store(path)) as store:
        assert store.id == name
        assert store.starts([PLACE, ("open.heat", 0)]) == {PLACE: 7}, "a batch is taken whole or not at all"
        assert store.rows(LISTED["enterprise"], limit=9) == [("a", {"name": "x"})]


def test_a_store_that_is_cleared_reads_as_another_reader(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "opendata.sqlite")) as store:
        store.take([row("a", "{}")], {PLACE: 7})
        name = store.id
        store.clear()
        assert store.id != name
        assert not store.starts([PLACE])
        assert not store.rows(LISTED["enterprise"], limit=9)


def test_a_feed_that_is_no_longer_open_is_shown_no_longer_and_read_from_its_beginning(store: Store) -> None:
    store.take([], {PLACE: 7})
    store.withdraw("open.dataset", "dataset")
    assert not store.rows(LISTED["enterprise"], limit=9)
    assert store.starts([PLACE])[PLACE] < 0
    assert store.told("profile"), "the others stay"


def test_rows_are_counted_as_they_come_and_go_whatever_the_flow_has_said_of_them(tmp_path: Path) -> None:
    tianhe, huangpu = (json.dumps({"kind": "ENTERPRISE", "reg_region": code}) for code in ("440106", "440112"))
    with closing(Store(tmp_path / "opendata.sqlite")) as store:
        store.take([row("a", tianhe), row("b", tianhe), row("c", huangpu), row("a", tianhe)], {})
        of_kind = {"enterprise": 3, "enterprise_enterprise": 3}
        assert store.counts() == {**of_kind, "enterprise_440106": 2, "enterprise_440112": 1}
        store.take([row("c", None), row("c", None), row("a", huangpu)], {})
        assert store.counts() == {name: 2 for name in of_kind} | {"enterprise_440106": 1, "enterprise_440112": 1}
        store.take([News(kind="dataset", key={"dataset": "left", "row_no": "1"}, row={"content": "{}"})], {})
        assert "left" not in store.counts(), "a set that the catalogue no longer has"
        store.withdraw("open.dataset", "dataset")
        assert not store.counts()


def test_the_counts_are_those_of_the_flow_once_it_has_spoken(store: Store) -> None:
    said = {told["dataset"]: told["rows"] for told in store.told("profile") if told["column"] == ALL and told["rows"]}
    assert store.counts() == said


def test_a_filter_compares_the_text_that_is_shown(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "opendata.sqlite")) as store:
        contents = ['{"name": "true"}', '{"name": true}', '{"name": 12}', '{"name": null}', '{"name": "\\"%"}']
        store.take([row(str(number), content) for number, content in enumerate(contents)], {})

        def found(text: str) -> list[str]:
            return [number for number, _ in store.rows(LISTED["enterprise"], [Condition("name", text)], limit=9)]

        assert (found("true"), found("12"), found(""), found('"%')) == (["0", "1"], ["2"], ["3"], ["4"])


def test_a_trend_is_remembered_though_the_feed_forgets(store: Store, city: Rehearsal) -> None:
    firm(city, 90)
    tick(city, 1)
    catch_up(store, city)
    trend = store.trend("enterprise", 10)
    assert [rows for _, rows in trend] == [40, 41]
    assert store.trend("enterprise", 1) == trend[-1:], "the newest"
    assert store.delay("enterprise") == 1500
    [state] = [told for told in store.told("profile", "enterprise") if told["column"] == ALL]
    store.take([News(kind="profile", key=state, row=None)], {})
    assert ALL not in {told["column"] for told in store.told("profile", "enterprise")}
