"""Grants on a flow's feed are compared with the rows that stand in it: through a real topic, egress and every readable sink."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.proof.compare import Comparison, compare
from ops.proof.derived import standing
from schemas.agreement.agency import FLOW, Agency, SourceConfig
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant, Mask
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range
from schemas.log.writer import Log
from schemas.position import Position
from sinks.copy import Copy
from sinks.document import Documents
from sinks.drops.copy import FileCopy
from sinks.drops.folder import DropFolder
from sinks.drops.format import format_of
from sinks.drops.sink import DropSink
from sinks.http.copy import WebhookCopy
from sinks.postgresql.copy import DeliveredCopy
from sinks.postgresql.sink import PostgresSink
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from tests.broker.test_sink_nested import BARE, FIELDS, RAW
from tests.stage.feeds import create
from tests.unit.streams.memory import MemoryMesh

CONTRACT = {
    "type": "record",
    "name": "Disclosure",
    "gov": {"key": ["ent_id"]},
    "fields": [
        *FIELDS,
        {"name": "region", "type": "string"},
        {"name": "born", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "rep_id", "type": ["null", "string"]},
        {"name": "secret", "type": ["null", "string"]},
    ],
}
FINE = {**RAW, "share": 0.1}
SECRET = b"secret of customs"  # as MemoryMesh has it


def row(number: int, **more: Any) -> dict[str, Any]:
    nested = {"permits": [FINE, BARE], "counts": {"2016": number, "空": None}, "origin": FINE, "rules": ["W1"]}
    return {"ent_id": f"e{number}", **nested, "region": "440106", "born": 0, "rep_id": "r1", "secret": "s", **more}


class Mesh:
    """A derived feed on the broker, and one grant on it, whose out records are handed to a sink."""

    def __init__(self, kafka: Kafka, feed: str) -> None:
        self.kafka, self.feed = kafka, feed
        contract = Contract.parse(CONTRACT, feed)
        self.mesh = MemoryMesh(contract)
        self.mesh.feed = dataclasses.replace(self.mesh.feed, partitions=1)
        self.grant = Grant(
            grant_id=f"customs.{feed}",
            subscriber="customs",
            feed=feed,
            columns=("permits", "counts", "origin", "rules", "rep_id", "born"),
            purpose="duty",
            row_filter="region == '440106' && born < '2000-01-01'",
            mask={"rep_id": Mask.HASH},
        )
        self.mesh.grant(self.grant)
        self._relay = self.mesh.relay()
        self._flow = DerivedFeed(self.mesh.feed)
        self._log = Log(kafka, client_id="test")
        self._count = 0

    def close(self) -> None:
        self._log.close()

    def say(self, before: Any, after: Any) -> Batch:
        """Let the flow change a row; what the grant gets of it."""
        self._count += 1
        change = RowChange("f", self.feed, "", before, after, Position(1, self._count, 1), 7, None)
        written = list(self._flow.records(change))
        for topic, key, value, _, headers in written:
            self._log.append(topic, key, value, partition=0, headers=headers)
        self._log.flush(30)
        taken = [Record(self._count * 2 + place, *each[1:3], each[4], 0) for place, each in enumerate(written)]
        topic = f"out.customs.{self.feed}"
        start = len(self.mesh.topics[topic])
        self._relay.handle([Batch(topic=self.feed, partition=0, records=taken)])
        out = list(enumerate(self.mesh.topics[topic]))[start:]
        records = [Record(offset, key, value, headers, 0) for offset, (key, value, _, headers) in out]
        return Batch(topic=topic, partition=0, records=records)

    def compared(self, copy: Copy) -> Comparison:
        low, high = bounds(self.kafka, self.feed, 0)
        rows = standing(self.mesh.feed.contract, read_range(self.kafka, self.feed, 0, low, high), self.mesh.codec)
        return compare(self.grant, self.mesh.feed.contract, rows, copy, SECRET)


@pytest.fixture
def mesh(kafka: Kafka, unique: str) -> Iterator[Mesh]:
    feed = f"{unique}.disclosure"
    create(kafka, feed, partitions=1)
    with closing(Mesh(kafka, feed)) as mesh:
        yield mesh


def play(mesh: Mesh, write: Callable[[Batch], None]) -> None:
    """Rows that stay, change, go, leave the filter, come into it, and never were in it."""
    kept = row(1, permits=[], counts={}, origin=None, rep_id=None)
    story = [
        (None, row(1)),
        (row(1), kept),
        (None, row(2)),
        (row(2), None),
        (None, row(3)),
        (row(3), row(3, region="440104")),
        (None, row(4, region="440104")),
        (row(4, region="440104"), row(4)),
        (None, row(5, born=20_000)),
        (None, row(6, secret=None)),
    ]
    for before, after in story:
        batch = mesh.say(before, after)
        if batch.records:
            write(batch)


EXACT = {"expected": 3, "found": 3, "missing": 0, "surplus": 0, "different": 0, "withdrawn": 0, "exact": True}


def test_a_table_equals_the_rows_that_stand_in_the_feed(postgres: Any, mesh: Mesh) -> None:
    dsn = postgres.create_database("derived")
    schema_of = mesh.mesh.schemas.__getitem__
    sink = PostgresSink(dsn=dsn, subscriber="customs", schema_of=schema_of, schema="public", tables={})
    copy = DeliveredCopy(dsn=dsn)
    play(mesh, lambda batch: sink.write([batch]))
    assert mesh.compared(copy).to_json() == EXACT
    table = mesh.feed.replace(".", "_")
    for damage in (
        "permits = jsonb_set(permits, '{0,amount}', '\"-0.08\"')",
        "counts = counts - '空'",
        "origin = NULL",
        "rep_id = 'r1'",
    ):
        with psycopg.connect(dsn) as connection:
            connection.execute(f"UPDATE {table} SET {damage} WHERE ent_id = 'e4'".encode())
            connection.commit()
            assert mesh.compared(copy).different == 1, damage
    sink.write([mesh.say(row(4), row(4, rules=[]))])
    assert mesh.compared(copy).is_exact, "the next change of the row mends it"
    behind = mesh.say(None, row(7))
    assert mesh.compared(copy).missing == 1
    sink.write([behind])
    assert mesh.compared(copy).is_exact
    sink.close()


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_drops_equal_the_rows_that_stand_in_the_feed(tmp_path: Path, mesh: Mesh, name: str) -> None:
    ending, write_file = format_of(name, "test")
    schema_of = mesh.mesh.schemas.__getitem__
    sink = DropSink(
        place=DropFolder(tmp_path), subscriber="customs", schema_of=schema_of, ending=ending, write_file=write_file
    )
    play(mesh, lambda batch: sink.write([batch]))
    copy = FileCopy(directory=tmp_path, format=name)
    assert mesh.compared(copy).to_json() == EXACT
    mesh.say(row(6, secret=None), row(6, counts={"2016": 7, "空": None}))
    assert mesh.compared(copy).different == 1


def test_a_receivers_log_equals_the_rows_that_stand_in_the_feed(tmp_path: Path, mesh: Mesh) -> None:
    log = tmp_path / "received.jsonl"
    documents = Documents(mesh.mesh.schemas.__getitem__, "customs")

    def write(batch: Batch) -> None:
        with log.open("a") as file:
            for record in batch.records:
                if document := documents.document(batch.topic, record):
                    file.write(json.dumps(document.json(), ensure_ascii=False) + "\n")

    play(mesh, write)
    assert mesh.compared(WebhookCopy(log=log)).to_json() == EXACT


def test_a_feed_is_derived_by_its_agencys_source(mesh: Mesh) -> None:
    entry = dataclasses.replace(mesh.mesh.feed)
    code = entry.contract.agency
    for kind, expected in ((FLOW, True), ("postgres", False)):
        agency = Agency(agency=code, name=code, sources=(SourceConfig(name="main", kind=kind),))
        assert Directory(agencies={code: agency}, feeds={entry.feed: entry}).is_derived(entry.feed) is expected
