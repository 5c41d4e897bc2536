from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.change import Batch, Record
from streams.engine.time import past
from streams.engine.time.past import Past


class Kept:
    def __init__(self) -> None:
        self.records: dict[str, Mapping[str, Any]] = {}

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return dict(self.records)

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        self.records[key] = record


def replay(topic: str, partition: int, start: int, end: int) -> Iterator[Batch]:
    for first in range(start, end, 10):
        records = [Record(offset, b"", b"", None, 0) for offset in range(first, min(first + 10, end))]
        yield Batch(topic=topic, partition=partition, records=records)


def test_flows_that_read_from_the_start_have_no_past() -> None:
    kept = Kept()
    taking = Past({"a.t": {"one", "two"}}, kept, replay)
    taking.begin(("a.t", 0), 0)
    assert not list(taking.slices())
    assert kept.records == {"a.t|0": {"flows": ["one", "two"]}}


def test_a_flow_that_comes_later_takes_the_past_once(monkeypatch: Any) -> None:
    monkeypatch.setattr(past, "SLICE_RECORDS", 20)
    kept = Kept()
    kept.records["a.t|0"] = {"flows": ["one"]}
    taking = Past({"a.t": {"one", "two"}}, kept, replay)
    taking.begin(("a.t", 0), 45)
    taken: list[int] = []
    while taking.behind():
        assert taking.behind() == {"two": {("a.t", 0)}}
        for batch, flows in taking.slices():
            assert flows == {"two"}
            taken += [record.offset for record in batch.records]
        assert kept.records["a.t|0"] == {"flows": ["one"]}, "not on record before all of it is durable"
        taking.settle()
        taking.begin(("a.t", 0), 60)
    assert taken == list(range(45))
    assert kept.records["a.t|0"] == {"flows": ["one", "two"]}
    assert not list(taking.slices())


def test_a_flow_that_was_out_of_use_while_others_read_on_takes_the_past_again() -> None:
    kept = Kept()
    kept.records["a.t|0"] = {"flows": ["one", "two"]}
    taking = Past({"a.t": {"one"}}, kept, replay)
    taking.begin(("a.t", 0), 45)
    assert kept.records["a.t|0"] == {"flows": ["one"]}
    taking.readers = {"a.t": {"one", "two"}}
    taking.begin(("a.t", 0), 60)
    assert taking.behind() == {"two": {("a.t", 0)}}
    taking.readers = {"a.t": {"one"}}
    list(taking.slices())
    list(taking.slices())
    taking.settle()
    assert kept.records["a.t|0"] == {"flows": ["one"]}, "it went again meanwhile"


def test_a_past_that_failed_is_taken_from_its_start(monkeypatch: Any) -> None:
    monkeypatch.setattr(past, "SLICE_RECORDS", 20)
    kept = Kept()
    kept.records["a.t|0"] = {"flows": []}
    taking = Past({"a.t": {"one"}}, kept, replay)
    taking.begin(("a.t", 0), 45)
    list(taking.slices())
    taking.restart()
    taking.begin(("a.t", 0), 50)
    assert next(iter(taking.slices()))[0].records[0].offset == 0
