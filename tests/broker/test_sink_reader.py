"""Reading ranges and tails of real topics."""

from __future__ import annotations

import threading

import pytest

from producers.log import Log
from schemas.errors import ContractBroken, Transient
from sinks.reader import read_range, tail
from tests.feeds import create, fill
from tests.until import until


def test_a_range_is_exact_and_may_end_behind_the_topic(kafka: str, unique: str) -> None:
    topic = f"out.{unique}.police.person"
    create(kafka, topic, partitions=1)
    log = Log(kafka, client_id="test")
    fill(log, topic, range(5000))
    log.flush(30)
    log.close()
    for start, end in ((0, 5000), (17, 18), (4990, 9999), (5000, 5001)):
        offsets = [record.offset for batch in read_range(kafka, topic, 0, start, end) for record in batch.records]
        assert offsets == list(range(start, min(end, 5000)))
    with pytest.raises(ContractBroken, match="no longer"):
        list(read_range(kafka, topic, 0, 6000, 6001))


def test_a_tail_shows_what_comes_and_joins_no_group(kafka: str, unique: str) -> None:
    topic = f"out.{unique}.police.person"
    create(kafka, topic, partitions=3)
    log, stop = Log(kafka, client_id="test"), threading.Event()
    fill(log, topic, range(100))
    log.flush(30)
    seen: list[bytes | None] = []

    def follow() -> None:
        for batches in tail(kafka, [topic], stop, from_beginning=True):
            seen.extend(record.value for batch in batches for record in batch.records)

    thread = threading.Thread(target=follow)
    thread.start()
    until(lambda: len(seen) == 100, 20, "what is there")
    fill(log, topic, range(100, 200))
    log.flush(30)
    log.close()
    until(lambda: len(seen) == 200, 20, "what comes")
    stop.set()
    thread.join(10)
    assert sorted(int(value or b"") for value in seen) == list(range(200))
    with pytest.raises(Transient, match="no such topic"):
        next(tail(kafka, [f"{topic}.none"], threading.Event()))
