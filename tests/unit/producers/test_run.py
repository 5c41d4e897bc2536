"""One run of a source: what it may confirm, and when (invariant 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError

from producers.run import CaptureRun
from producers.source import SourceBatch
from schemas.errors import Transient
from schemas.log.lane import Lane, Line


class _HeldProducer:
    """A producer whose broker acknowledges when it is told to."""

    def __init__(self) -> None:
        self._open: list[Callable[[Any, Any], None]] = []

    def produce(self, topic: str, value: object, key: object, partition: int, on_delivery: Callable[..., None]) -> None:
        self._open.append(on_delivery)

    def poll(self, seconds: float) -> int:
        return 0

    def acknowledge(self, count: int) -> None:
        for _ in range(count):
            self._open.pop(0)(None, None)


class _Observer:
    """Takes note of nothing but lag."""

    def __init__(self) -> None:
        self.lags: list[float] = []

    def lag(self, *, source: str, seconds: float) -> None:
        self.lags.append(seconds)


class _Scripted:
    """A source that gives these batches; each is preceded by what happens meanwhile."""

    def __init__(self, *steps: tuple[Callable[[], object], SourceBatch]) -> None:
        self._steps = steps
        self.confirmed: list[Any] = []
        self.is_closed = False

    def batches(self) -> Iterator[SourceBatch]:
        for meanwhile, batch in self._steps:
            meanwhile()
            yield batch

    def confirm(self, mark: Any) -> None:
        self.confirmed.append(mark)

    def close(self) -> None:
        self.is_closed = True


def batch(records: int, *marks: tuple[int, str]) -> SourceBatch:
    return SourceBatch(records=[("a.t", b"k", b"v", -1, None)] * records, marks=list(marks))


def run_of(source: _Scripted, producer: Any, begun: list[str]) -> CaptureRun:
    observer: Any = _Observer()
    return CaptureRun("a.main", source, Lane(Line(producer)), observer, lambda: begun.append("begun"))


def test_a_mark_is_confirmed_once_all_before_it_is_acknowledged_and_not_sooner() -> None:
    producer, begun = _HeldProducer(), list[str]()
    seen: list[list[str]] = []
    source = _Scripted(
        (lambda: None, batch(2, (0, "before any record"), (2, "two"))),
        (lambda: seen.append([*source.confirmed]), batch(3, (1, "three"), (3, "five"))),
        (lambda: producer.acknowledge(2), batch(0)),
        (lambda: seen.append([*source.confirmed]), batch(0)),
        (lambda: producer.acknowledge(3), batch(0)),
    )
    run_of(source, producer, begun).run(lambda: True)
    assert seen == [["before any record"], ["before any record", "two"]]
    assert source.confirmed == ["before any record", "two", "three", "five"]
    assert (source.is_closed, begun) == (True, ["begun"])


def test_nothing_is_confirmed_past_a_lost_record() -> None:  # KF-04
    producer = _HeldProducer()
    lane = Lane(Line(producer))  # pyright: ignore[reportArgumentType]
    source = _Scripted((lambda: None, batch(0, (0, "zero"))), (lambda: None, batch(0, (0, "never"))))
    observer: Any = _Observer()
    run = CaptureRun("a.main", source, lane, observer, lambda: None)

    def lost() -> bool:
        lane.fail(KafkaError(KafkaError._MSG_TIMED_OUT), "a.t")
        return True

    with pytest.raises(Transient, match=r"a\.t"):
        run.run(lost)
    assert source.confirmed == ["zero"]
    assert source.is_closed


def test_a_run_ends_when_it_is_told_to_and_closes_its_source() -> None:
    source = _Scripted(*[(lambda: None, batch(0, (0, f"{number}"))) for number in range(9)])
    left = iter([True, True, False])
    run_of(source, _HeldProducer(), []).run(lambda: next(left))
    assert source.confirmed == ["0", "1", "2"]
    assert source.is_closed
