"""The rehearsal of a flow on a real broker: same words as tests/stage/rehearsal.py, every hop the real one but Faust.

A change is encoded and appended to a topic; what stands there is read and given to the flows' `Runner`, whose messages go
through an inbox topic, whose tasks write transactions, and whose derived rows are read back from their topic. Feeds share
one topic in and one out, told apart by a header, so that a test of twenty feeds needs four topics.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from ops.run.flow_worker import StateChangelog
from schemas.agreement.directory import Directory, FeedEntry
from schemas.change import Batch, Change, Record
from schemas.contract import Contract
from schemas.decision import Decision
from schemas.feed import DECISIONS
from schemas.log.kafka import Kafka
from schemas.log.transaction import Outgoing, TransactionWriter
from schemas.log.writer import Log
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.derived import BASIS, SUBJECT, DerivedFeed
from streams.engine.effects import RowChange
from streams.engine.inbox.message import TICK, message_key, pack
from streams.engine.runner import Runner, RunnerSetting
from streams.engine.task import TaskTopics
from streams.operators.flow import Row, row_id
from tests.stage import feeds
from tests.stage.rehearsal import Rehearsal, micros, writing
from tests.stage.until import until

ROUNDS_MAX = 1000


class BrokerRehearsal(Rehearsal):
    """Give it a broker with `on`; use it as Rehearsal; `close` it."""

    kafka = ""
    unique = ""
    opened: list[BrokerRehearsal]
    _numbers: Iterator[int]
    _is_settled = True
    _later = 0.0

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._name = f"{self.unique}.{next(self._numbers)}"
        self._task_topics = TaskTopics(1, f"{self._name}.inbox", f"{self._name}.state", decisions=DECISIONS)
        self._in, self._out = f"{self._name}.in", f"{self._name}.out"
        feeds.create(self.kafka, self._in, self._out, self._task_topics.inbox, self._task_topics.state, partitions=1)
        self._schemas: dict[int, Mapping[str, Any]] = {}
        self._entries = {name: self._entry(number, self.contracts[name]) for number, name in enumerate(self._feeds())}
        self._codec = Codec(self._schemas.__getitem__)
        self._log = Log(self.kafka, client_id="tests", linger_ms=0)
        self._folder = tempfile.TemporaryDirectory(prefix="mesh-flow-")
        self._reader = Consumer(
            self.kafka.client(
                {
                    "group.id": self._name,
                    "enable.partition.eof": True,
                    "isolation.level": "read_committed",
                    "fetch.wait.max.ms": 5,
                }
            )
        )
        self._all = Consumer(self.kafka.client({"group.id": self._name, "isolation.level": "read_uncommitted"}))
        self._topics = [self._in, self._task_topics.inbox, self._out]
        self._reader.assign([TopicPartition(topic, 0, OFFSET_BEGINNING) for topic in self._topics])
        directory = Directory(feeds=self._entries, agencies=writing(self.flow, self._entries))
        self._runner = Runner(
            RunnerSetting(
                flows=[self.flow],
                directory=lambda: directory,
                schema_of=self._schemas.__getitem__,
                open_outlet=self._log.lane,
                open_writer=lambda name: _Renamed(TransactionWriter(self.kafka, name), self._task_topics, self._out),
                changelog=StateChangelog(self.kafka, self._task_topics.state),
                topics=self._task_topics,
                data_dir=Path(self._folder.name),
                progress=_Kept(),
                replay=lambda *_: iter(()),
                observer=_Counting(self._queued),
                is_replay=self.is_replay,
                now=lambda: time.time() + self._later,
            )
        )
        self.opened.append(self)

    def _feeds(self) -> list[str]:
        return sorted({*self.flow.outputs, *(entry.feed for entry in self.flow.inputs)})

    def _entry(self, number: int, contract: Contract) -> FeedEntry:
        # Its rules are the stream hop's matter, and rows of these tests are not whole.
        contract = Contract.parse(
            {**contract.record, "gov": {**contract.record.get("gov", {}), "rules": []}}, contract.feed
        )
        key, value = 2 * number + 1, 2 * number + 2
        self._schemas[key], self._schemas[value] = key_schema(contract), value_schema(contract)
        return FeedEntry(contract=contract, version=1, key_schema_id=key, value_schema_id=value, partitions=1)

    def take(self, changes: Iterable[Change]) -> None:
        """See Rehearsal: by way of the broker."""
        for change in changes:
            if change.feed in self.intake.feeds:
                self._write(change)
                self._is_settled = False

    def take_decisions(self, made: Iterable[Decision]) -> None:
        """See Rehearsal: by way of the broker, and of the runner that reads them."""
        for decision in made:
            key, value = decision.key.encode(), json.dumps(decision.to_json()).encode()
            self._log.append(self._in, key, value, headers=[("feed", DECISIONS.encode())])
            self._is_settled = False

    @property
    def history(self) -> list[RowChange]:  # type: ignore[override]
        """See Rehearsal. Changes travel together until somebody looks."""
        self.settle()
        return self._history

    @history.setter
    def history(self, changes: list[RowChange]) -> None:
        self._history = changes

    @property
    def queued(self) -> dict[str, int]:  # type: ignore[override]
        """See Rehearsal."""
        self.settle()
        return self._queued

    @queued.setter
    def queued(self, counts: dict[str, int]) -> None:
        self._queued = counts

    def tick(self, moment: str | int) -> None:
        """See Rehearsal."""
        self.settle()
        clock = moment if isinstance(moment, int) else micros(moment)
        self._log.append(self._task_topics.inbox, message_key(self.flow.name, ""), pack([TICK, clock]), partition=0)
        self._is_settled = False
        self.settle()

    def idle(self, *behind: str) -> None:
        """The worker looks at its clock, as it does about once a second; of these feeds it has more to read."""
        self.settle()
        places = {(feed, 0): 0 for feed in self.intake.feeds} | {(self._task_topics.inbox, 0): 0}
        for later in (
            (0.0, 2.0) if self.is_replay else (0.0,)
        ):  # what was sent a moment ago is looked for at the second look
            self._later = later
            self._runner.idle(places, {(feed, 0) for feed in behind})
        self._later = 0.0
        self._is_settled = False
        self.settle()

    def restart(self) -> None:
        """The worker dies and another machine takes over: nothing local is left."""
        self.settle()
        self._runner.close()
        self._folder.cleanup()
        self._folder = tempfile.TemporaryDirectory(prefix="mesh-flow-")
        self._runner._data_dir = Path(self._folder.name)

    def close(self) -> None:
        """Release everything."""
        self._runner.close()
        self._reader.close()
        self._all.close()
        self._log.close()
        self._folder.cleanup()

    def _write(self, change: Change) -> None:
        row_change = RowChange(
            "source",
            change.feed,
            "",
            change.before,
            change.after,
            change.position,
            change.committed_at_ms,
            None,
        )
        entry = self._entries[change.feed]
        if change.before is None and change.after is None:
            raise NotImplementedError("a truncate is rehearsed in memory")
        for _, key, value, _, _ in DerivedFeed(entry).records(row_change):
            self._log.append(self._in, key, value, headers=[("feed", change.feed.encode())])

    def settle(self) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        self._log.flush(30)
        for _ in range(ROUNDS_MAX):
            found = self._read()
            if not any(found.values()):
                return
            by_feed: dict[str, list[Record]] = {}
            for record in found[self._in]:
                by_feed.setdefault(_feed(record), []).append(record)
            if by_feed:
                self._runner.handle([Batch(topic=feed, partition=0, records=list_) for feed, list_ in by_feed.items()])
            if found[self._task_topics.inbox]:
                self._runner.handle(
                    [Batch(topic=self._task_topics.inbox, partition=0, records=found[self._task_topics.inbox])]
                )
            for record in found[self._out]:
                self._keep(record)
        raise AssertionError("the flow never settles")

    def _read(self) -> dict[str, list[Record]]:
        """What is new on the topics, each read to its end."""
        found: dict[str, list[Record]] = {topic: [] for topic in self._topics}
        waiting = {topic: self._end(topic) for topic in self._topics}
        places = {
            place.topic: place.offset for place in self._reader.position([TopicPartition(t, 0) for t in self._topics])
        }
        unread = {topic for topic, end in waiting.items() if max(places[topic], 0) < end}
        while unread:
            message = self._reader.poll(5)
            assert message is not None, f"{sorted(unread)}: the broker is silent"
            error = message.error()
            if error is not None:
                assert error.code() == KafkaError._PARTITION_EOF, error
                if (message.offset() or 0) >= waiting[message.topic() or ""]:
                    unread.discard(message.topic() or "")
                continue
            record = Record(
                message.offset() or 0, message.key(), message.value(), message.headers(), message.timestamp()[1]
            )  # type: ignore[arg-type]
            found[message.topic() or ""].append(record)
        return found

    def _end(self, topic: str) -> int:
        """The end of a topic once every transaction on it is decided: a commit returns before its markers are written."""
        place = TopicPartition(topic, 0)

        def decided() -> int | None:
            stable = self._reader.get_watermark_offsets(place, timeout=30)[1]
            return stable + 1 if stable == self._all.get_watermark_offsets(place, timeout=30)[1] else None

        return until(decided, 30, f"{topic}: every transaction is decided") - 1

    def _keep(self, record: Record) -> None:
        if record.value is None:
            return
        feed = _feed(record)
        value = self._codec.decode(record.value)
        row: Row = value["after"] if value["after"] is not None else value["before"]
        headers = {name: value.decode() for name, value in record.headers or ()}
        self._history.append(
            RowChange(
                self.flow.name,
                feed,
                row_id(row, self.flow.outputs[feed]),
                value["before"],
                value["after"],
                Position.parse(value["source"]["sequence"]),
                value["source"]["ts_ms"],
                headers.get("reason"),
                (headers[SUBJECT], headers[BASIS]) if SUBJECT in headers else None,
            )
        )


class _Renamed:
    """A task's writer whose derived feeds go to the one topic that stands for all."""

    def __init__(self, writer: TransactionWriter, ways: TaskTopics, out: str) -> None:
        self._writer = writer
        self._task_topics = ways
        self._out = out

    def write(self, records: Iterable[Outgoing], last: Outgoing) -> int:
        return self._writer.write(map(self._named, records), last)

    def _named(self, record: Outgoing) -> Outgoing:
        topic, key, value, partition, headers = record
        if topic in (self._task_topics.inbox, self._task_topics.state):
            return record
        return self._out, key, value, partition, [("feed", topic.encode()), *(headers or ())]

    def close(self) -> None:
        self._writer.close()


class _Kept:
    def load(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def save(self, key: str, record: Mapping[str, Any]) -> None: ...


class _Counting:
    def __init__(self, queued: dict[str, int]) -> None:
        self._queued = queued

    def taken(self, flow: str, count: int) -> None: ...
    def emitted(self, flow: str, feed: str, op: str, count: int, size_bytes: int) -> None: ...
    def clock(self, flow: str, event_at: int) -> None: ...
    def restored(self, partition: int, done: int, total: int) -> None: ...

    def queued(self, flow: str, kind: str, count: int) -> None:
        self._queued[kind] = self._queued.get(kind, 0) + count


def _feed(record: Record) -> str:
    return dict(record.headers or ())["feed"].decode()


def on(kafka: Kafka, unique: str) -> type[BrokerRehearsal]:
    """A BrokerRehearsal bound to a broker; `opened` lists its instances."""
    numbers = iter(range(1_000_000))
    return type(
        "BoundRehearsal", (BrokerRehearsal,), {"kafka": kafka, "unique": unique, "opened": [], "_numbers": numbers}
    )
