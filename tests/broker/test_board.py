"""A board's rows on the real broker become figures, follow updates, and go with a delete."""

from __future__ import annotations

import threading
from contextlib import closing

from ops.metrics.board import Boards, following
from ops.metrics.exporter import Exporter
from ops.metrics.flow_metrics import BoardMetrics
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import Position
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from streams.operators.flow import Row
from tests.stage import feeds
from tests.stage.until import until, until_none


def test_figures_follow_a_board(kafka: Kafka, unique: str) -> None:
    feed = f"{unique}.board"
    fields = [{"name": "rule", "type": "string"}, {"name": "open", "type": ["null", "long"], "default": None}]
    gov = {"key": ["rule"], "provider": unique, "board": ["open"]}
    contract = Contract.parse({"type": "record", "name": "Board", "gov": gov, "fields": fields}, feed)
    entry = FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)
    schemas = {1: key_schema(contract), 2: value_schema(contract)}
    feeds.create(kafka, feed, partitions=1)
    exporter = Exporter(clock=lambda: 0.0)
    derived = DerivedFeed(entry)
    present = [Directory()]
    stop = threading.Event()
    thread = following(Boards(kafka, lambda: present[0], schemas.__getitem__, BoardMetrics(exporter)), stop)

    def figures() -> dict[str, float]:
        families = exporter.registry.collect()
        return {
            sample.labels["row"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "mesh_board"
        }

    def write(number: int, before: Row | None, after: Row | None) -> None:
        change = RowChange("f", feed, "", before, after, Position(1, number, 1), 0, None)
        with closing(Log(kafka, client_id="tests")) as log:
            for topic, key, value, _, headers in derived.records(change):
                log.append(topic, key, value, headers=headers)
            log.flush(30)

    try:
        write(1, None, {"rule": "W1", "open": 3})
        present[0] = Directory(feeds={feed: entry})  # onboarded while it runs
        until(lambda: figures() == {"W1": 3.0}, 30, "the figure of a row that was there")
        write(2, {"rule": "W1", "open": 3}, {"rule": "W1", "open": 4})
        write(3, None, {"rule": "W2", "open": None})
        until(lambda: figures() == {"W1": 4.0}, 30, "the newest figure, and none for null")
        write(4, {"rule": "W1", "open": 4}, None)
        until_none(figures, 30, "no figure of a deleted row")
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
