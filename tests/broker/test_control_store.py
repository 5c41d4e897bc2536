"""A hop's progress on a control topic: read on from where it was read to, whoever wrote it, and by many at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka.admin import AdminClient

from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage import feeds
from tests.stage.kafka_text import written

SAVES, SOURCES = 20_000, 24
RESIDENT_MIB_MAX = 500
LOADING = """
import sys, threading
from contextlib import closing
from schemas.log.control.store import ControlStore
from schemas.log.writer import Log
from tests.stage.kafka_text import read
kafka, topic, sources = read(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with closing(Log(kafka, client_id="loads")) as log:
    store, found = ControlStore(kafka, topic, log), []
    threads = [threading.Thread(target=lambda n=n: found.append(store.load(f"source.{n}"))) for n in range(sources)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert len(found) == sources and None not in found
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture
def log(kafka: Kafka) -> Iterator[Log]:
    with closing(Log(kafka, client_id="saves")) as log:
        yield log


@pytest.fixture
def topic(kafka: Kafka, unique: str) -> str:
    feeds.create(kafka, unique, partitions=1)
    return unique


def test_what_another_process_saved_or_forgot_since_is_known(kafka: Kafka, topic: str, log: Log) -> None:
    mine, others = ControlStore(kafka, topic, log), ControlStore(kafka, topic, log)
    assert mine.all() == {}
    others.save("a", {"at": 1})
    others.save("b", {"at": 1})
    assert mine.all() == {"a": {"at": 1}, "b": {"at": 1}}
    others.save("a", {"at": 2})
    others.save("b", None)
    assert mine.all() == {"a": {"at": 2}}
    assert mine.load("b") is None


def test_a_topic_that_was_made_anew_is_read_from_its_start(kafka: Kafka, topic: str, log: Log) -> None:
    store = ControlStore(kafka, topic, log)
    for number in range(3):
        store.save("a", {"at": number})
    assert store.all() == {"a": {"at": 2}}
    admin = AdminClient(kafka.client({}))
    admin.delete_topics([topic])[topic].result(30)
    feeds.create(kafka, topic, partitions=1)
    store.save("b", {"at": 1})
    assert store.all() == {"b": {"at": 1}}


def test_sources_that_open_together_do_not_each_hold_the_history_of_all(kafka: Kafka, topic: str, log: Log) -> None:
    tables = {f"table_{number}": {"state": "live", "captured": "column " * 20} for number in range(50)}
    for number in range(SAVES):
        record = {"confirmed": number, "tables": tables}
        log.append(topic, f"source.{number % SOURCES}".encode(), json.dumps(record).encode())
    log.flush(60)
    argv = [sys.executable, "-c", LOADING, written(kafka), topic, str(SOURCES)]
    ended = subprocess.run(argv, capture_output=True, check=True, timeout=120, text=True)
    assert int(ended.stdout) / 1024 < RESIDENT_MIB_MAX
