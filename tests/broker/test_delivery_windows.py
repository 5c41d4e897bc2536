"""What was delivered by each grant is in the audit: by the hour, for which purpose, to whom; once, whatever is killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from ops.audit.audited_log import AuditedLog
from ops.audit.trail import read_trail
from ops.audit.windows import DeliveryWindows
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Status
from schemas.agreement.subscriber import SinkConfig
from schemas.log.kafka import Kafka
from schemas.log.topics import ensure_control_topics
from tests.stage import windows_child
from tests.stage.delivering import OutFeed, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

NOON = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)


class Delivered:
    """A grant's topic of two partitions, and a group that confirms it."""

    def __init__(self, kafka: Kafka, unique: str) -> None:
        self.kafka = kafka
        self.feed = OutFeed(unique, "police.person")
        create(kafka, self.feed.topic, partitions=2)
        ensure_control_topics(kafka)
        self.directory = directory_of({unique: SinkConfig(name="main", kind="webhook")}, self.feed)
        group = {"group.id": f"sub.{unique}.main", "enable.auto.commit": False, "log_level": 0}
        self.consumer = Consumer(kafka.client(group))

    def confirm(self, *offsets: int) -> None:
        places = [TopicPartition(self.feed.topic, number, offset) for number, offset in enumerate(offsets)]
        self.consumer.commit(offsets=places, asynchronous=False)

    def lines(self) -> list[Mapping[str, Any]]:
        grant_id = f"{self.feed.subscriber}.{self.feed.feed}"
        lines = [each.line for each in read_trail(self.kafka)]
        return [line for line in lines if (line["what"], line["subject"]) == ("delivered", grant_id)]

    def runs(self) -> list[Any]:
        return [line["offsets"] for line in self.lines()]


@pytest.fixture
def delivered(kafka: Kafka, unique: str) -> Iterator[Delivered]:
    made = Delivered(kafka, unique)
    yield made
    made.consumer.close()


def test_an_hour_in_which_something_was_delivered_is_a_line_with_purpose_and_by_whom(delivered: Delivered) -> None:
    present: list[Directory] = [delivered.directory]
    with closing(AuditedLog(delivered.kafka)) as log, closing(AuditedLog(delivered.kafka)) as other:
        windows = [DeliveryWindows(delivered.kafka, lambda: present[-1], each) for each in (log, other)]
        windows[0].look(NOON)
        assert delivered.lines() == [], "nothing was delivered"
        delivered.confirm(10, 4)
        windows[0].look(NOON)
        [line] = delivered.lines()
        assert (line["purpose"], line["subscriber"], line["feed"]) == (
            "test",
            delivered.feed.subscriber,
            "police.person",
        )
        assert (line["offsets"], line["records"], line["since"]) == ({"0": [0, 10], "1": [0, 4]}, 14, None)
        delivered.confirm(25, 4)
        windows[1].look(NOON + timedelta(minutes=40))
        assert len(delivered.lines()) == 1, "its hour is not over"
        both = [threading.Thread(target=each.look, args=(NOON + timedelta(hours=1),)) for each in windows]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
        [_, line] = delivered.lines()
        assert (line["offsets"], line["since"]) == ({"0": [10, 25]}, NOON.isoformat()), "once, though two looked"
        windows[0].look(NOON + timedelta(hours=2))
        assert len(delivered.lines()) == 2, "an hour without a record is no line"
        # The group is set back, as for a replay: what comes again is no second window.
        delivered.confirm(5, 5)
        windows[0].look(NOON + timedelta(hours=3))
        assert delivered.runs()[2:] == [{"1": [4, 5]}]
        # It ends in the middle of its hour.
        delivered.confirm(30, 5)
        entry = delivered.feed.grant
        ended = replace(entry, grant=replace(entry.grant, status=Status.REVOKED))
        present.append(replace(delivered.directory, grants={entry.grant.grant_id: ended}))
        windows[1].look(NOON + timedelta(hours=3, minutes=1))
        assert delivered.runs()[3:] == [{"0": [25, 30]}]
        delivered.confirm(31, 5)
        present.append(replace(delivered.directory, grants={}))
        windows[0].look(NOON + timedelta(hours=3, minutes=2))
        assert delivered.runs()[4:] == [{"0": [30, 31]}], "also of a grant that has left"


def test_windows_tile_whoever_is_killed_when(delivered: Delivered) -> None:
    chance, offset, since = random.Random(20261130), 0, time.time()
    wanted = {"kafka": delivered.kafka.environment(), "subscriber": delivered.feed.subscriber, "since": since}
    command = [sys.executable, windows_child.__file__, json.dumps(wanted)]
    for _ in range(3):
        children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        try:
            for child in children:
                assert child.stdout is not None
                child.stdout.readline()
            before = len(delivered.lines())
            for _ in range(chance.randrange(5, 20)):
                offset += chance.randrange(1, 50)
                delivered.confirm(offset)
            until(lambda before=before: len(delivered.lines()) > before, 60, "a window is closed")
        finally:
            for child in children:
                child.kill()
                child.wait()
                assert child.stdout is not None
                child.stdout.close()
    delivered.confirm(offset + 1)
    with closing(AuditedLog(delivered.kafka)) as log:
        last = datetime(2030, 1, 1, tzinfo=UTC)
        DeliveryWindows(delivered.kafka, lambda: delivered.directory, log).look(last)
    runs = [run["0"] for run in delivered.runs()]
    assert runs[0][0] == 0
    assert [start for start, _ in runs[1:]] == [end for _, end in runs[:-1]]
    assert runs[-1][1] == offset + 1
