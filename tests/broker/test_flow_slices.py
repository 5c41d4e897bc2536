"""A tick for thousands of subjects on the real broker: several transactions, killed between two, restored from the changelog."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ops.run.flow_worker import StateChangelog, topic_specs
from schemas.agreement.directory import FeedEntry
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.log.lane import Outgoing
from schemas.log.topics import ensure_topics
from schemas.log.transaction import TransactionWriter
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.inbox.message import FACT, TICK, message_key, pack
from streams.engine.task import Task, TaskTopics
from streams.engine.time.sweep import SLICE_SUBJECTS
from tests.stage import feeds
from tests.stage.demo_flow import contracts, flow
from tests.stage.rehearsal import micros

VEHICLES = 2 * SLICE_SUBJECTS + 500


class KilledAfter(TransactionWriter):
    """A writer whose process dies once so many transactions are committed, before anybody hears of the last."""

    def __init__(self, kafka: Kafka, name: str, commits: int) -> None:
        super().__init__(kafka, name)
        self._left = commits
        self.records = 0

    def write(self, records: Iterable[Outgoing], last: Outgoing) -> int:
        written = list(records)
        self.records = max(self.records, len(written))
        offset = super().write(written, last)
        self._left -= 1
        if not self._left:
            raise Transient("killed")
        return offset


def entries(found: Mapping[str, Contract]) -> tuple[dict[str, FeedEntry], Codec]:
    schemas: dict[int, Mapping[str, Any]] = {}
    made: dict[str, FeedEntry] = {}
    for number, (feed, agreed) in enumerate(found.items()):
        schemas[2 * number + 1], schemas[2 * number + 2] = key_schema(agreed), value_schema(agreed)
        made[feed] = FeedEntry(
            contract=agreed, version=1, key_schema_id=2 * number + 1, value_schema_id=2 * number + 2, partitions=1
        )
    return made, Codec(schemas.__getitem__)


def test_a_tick_of_thousands_survives_a_kill_between_its_slices(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    prefix = f"{unique}."
    topics = TaskTopics(1, f"{unique}.inbox", f"{unique}.state")
    ensure_topics(kafka, topic_specs(1, inbox=topics.inbox, state=topics.state))
    known, codec = entries(contracts(prefix))
    old = f"{prefix}demo.old"
    feeds.create(kafka, *flow(prefix).outputs, partitions=1)
    writers: list[KilledAfter] = []

    def opened(folder: str, commits: int) -> Task:
        def writer(name: str) -> KilledAfter:
            writers.append(KilledAfter(kafka, name, commits))
            return writers[-1]

        changelog = StateChangelog(kafka, topics.state)
        return Task(0, topics, [flow(prefix)], tmp_path / folder, changelog, writer, lambda *_: None)

    registered = micros("2016-01-01")
    facts = [
        [FACT, f"{prefix}police.vehicle", f"V{n:05}", str(Position(1, n, 1)), registered, 1, {"owner_id": "1"}, False]
        for n in range(VEHICLES)
    ]
    records = [Record(n, message_key("demo", f"vehicle:V{n:05}"), pack(fact), None, 0) for n, fact in enumerate(facts)]
    task = opened("first", -1)
    task.handle(Batch(topic=topics.inbox, partition=0, records=records), known)
    task.close()

    tick = Record(VEHICLES, message_key("demo", ""), pack([TICK, micros("2016-03-01")]), None, 0)
    ticked = Batch(topic=topics.inbox, partition=0, records=[tick])
    for life, commits in (("first", 1), ("second", 1)):  # the second has to read everything back
        task = opened(life, commits)
        with pytest.raises(Transient, match="killed"):
            task.handle(ticked, known)
        task.close()
    task = opened("third", -1)
    beats: list[None] = []
    summary = task.handle(ticked, known, lambda: beats.append(None))
    task.handle(ticked, known)
    task.close()

    written = [message for message in feeds.read_all(kafka, [old])[old, 0] if message.value()]
    rows = [codec.decode(message.value() or b"") for message in written]
    assert [row["after"]["vin"] for row in rows] == [f"V{n:05}" for n in range(VEHICLES)]
    positions = [row["source"]["sequence"] for row in rows]
    assert positions == sorted(set(positions))
    assert len(beats) == 1
    assert summary.emitted["demo", old, "c"][0] == 500
    assert max(writer.records for writer in writers[1:]) < 5 * SLICE_SUBJECTS
