"""The file sink: formats, manifests, and lanes that gather by time."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import ContractBroken
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.drops.files import build_files, files_batching
from sinks.drops.folder import DropFolder
from sinks.drops.format import format_of
from sinks.drops.sink import DropSink
from sinks.kind import SinkKind
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


FIELDS = [
    {"name": "id", "type": "int"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "amount", "type": ["null", logical("bytes", "decimal", precision=18, scale=2)]},
    {"name": "born", "type": ["null", logical("int", "date"), "string"]},
    {"name": "day", "type": ["null", logical("int", "date")]},
    {"name": "at", "type": ["null", logical("long", "time-micros")]},
    {"name": "seen", "type": ["null", logical("long", "timestamp-micros")]},
    {"name": "local", "type": ["null", logical("long", "local-timestamp-micros")]},
    {"name": "raw", "type": ["null", "bytes"]},
    {"name": "tags", "type": ["null", {"type": "array", "items": ["null", "string"]}]},
    {"name": "flag", "type": ["null", "boolean"]},
]
FULL = {
    "id": 1,
    "name": '公民, "甲"\n',
    "amount": decimal("-0.07"),
    "born": "infinity",
    "day": 1,
    "at": 86_399_000_001,
    "seen": 1_700_000_000_000_001,
    "local": -1,
    "raw": b"\x00\xff",
    "tags": ["a", None],
    "flag": False,
}


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person", FIELDS)


def sink_of(directory: Path, feed: OutFeed, name: str = "jsonl") -> DropSink:
    ending, write_file = format_of(name, "test")
    return DropSink(
        place=DropFolder(directory),
        subscriber=feed.subscriber,
        schema_of=feed.schemas.__getitem__,
        ending=ending,
        write_file=write_file,
        now=lambda: 0.0,
    )


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "police.person").iterdir())


def lines(directory: Path) -> list[dict[str, Any]]:
    """The content of every finished file, in order of offsets; each must be what its manifest says."""
    found: list[dict[str, Any]] = []
    for path in sorted((directory / "police.person").glob("*.done.json")):
        manifest = json.loads(path.read_text("utf-8"))
        content = (path.parent / manifest["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == manifest["sha256"]
        read = [json.loads(line) for line in content.decode().splitlines()]
        assert len(read) == manifest["records"] == sum(manifest["ops"].values())
        found += read
    return found


def test_json_lines_with_removals_and_a_manifest(tmp_path: Path, feed: OutFeed) -> None:
    sink = sink_of(tmp_path, feed)
    sink.write([feed.batch(feed.record("c", FULL), feed.record("d", FULL), feed.tombstone(FULL), partition=3)])
    assert files(tmp_path) == [
        "police.person.p3.00000000000000000000.jsonl",
        "police.person.p3.00000000000000000000.jsonl.done.json",
    ]
    manifest = json.loads((tmp_path / "police.person" / files(tmp_path)[1]).read_text("utf-8"))
    assert (manifest["grant_id"], manifest["purposes"]) == (f"{feed.subscriber}.police.person", ["test"])
    assert len({manifest["first_trace_id"], manifest["last_trace_id"]}) == 2
    assert manifest["corrections"] == {}
    first, removal = lines(tmp_path)
    assert first["amount"] == "-0.07"
    assert first["born"] == "infinity"
    assert first["day"] == "1970-01-02"
    assert first["seen"] == "2023-11-14T22:13:20.000001Z"
    assert (removal["_mesh_op"], removal["id"], removal["name"]) == ("d", 1, FULL["name"])
    assert first["_mesh_token"] < removal["_mesh_token"]


def test_csv_keeps_null_and_empty_apart(tmp_path: Path, feed: OutFeed) -> None:
    sink_of(tmp_path, feed, "csv").write([feed.batch(feed.record("c", FULL), feed.record("c", {"id": 2, "name": ""}))])
    path = tmp_path / "police.person" / "police.person.p0.00000000000000000000.csv"
    with path.open(encoding="utf-8", newline="") as file:
        header, full, _ = list(csv.reader(file))
    assert header[:5] == ["_mesh_op", "_mesh_token", "_mesh_committed_at", "id", "name"]
    values = dict(zip(header, full, strict=True))
    assert values["name"] == FULL["name"]
    assert values["amount"] == "-0.07"
    assert values["at"] == "23:59:59.000001"
    assert values["tags"] == '["a", null]'
    assert path.read_text("utf-8").splitlines()[-1].endswith(',2,"",,,,,,,,,')


def test_parquet_keeps_types(tmp_path: Path, feed: OutFeed) -> None:
    sink_of(tmp_path, feed, "parquet").write([feed.batch(feed.record("c", FULL), feed.record("c", {"id": 2}))])
    table = pq.read_table(tmp_path / "police.person" / "police.person.p0.00000000000000000000.parquet")
    full, empty = table.to_pylist()
    assert {name: full[name] for name in FULL} == {
        "id": 1,
        "name": FULL["name"],
        "amount": Decimal("-0.07"),
        "born": "infinity",
        "day": date(1970, 1, 2),
        "at": time(23, 59, 59, 1),
        "seen": datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC),
        "local": datetime(1969, 12, 31, 23, 59, 59, 999_999),  # noqa: DTZ001 -- it has no zone
        "raw": b"\x00\xff",
        "tags": '["a", null]',
        "flag": False,
    }
    assert [
        value for name, value in empty.items() if name not in {"_mesh_op", "_mesh_token", "_mesh_committed_at", "id"}
    ] == [None] * 10


def test_a_drop_cut_short_is_written_again_under_its_name(tmp_path: Path, feed: OutFeed) -> None:
    records = [feed.record("c", {"id": number}) for number in range(5)]
    sink_of(tmp_path, feed).write([feed.batch(*records[:2])])
    # Killed behind the rename, before the manifest; the next life reads a longer run from the same place.
    manifest = tmp_path / "police.person" / "police.person.p0.00000000000000000000.jsonl.done.json"
    manifest.unlink()
    (tmp_path / ".mesh" / "police.person.p0.json").unlink()
    afresh = sink_of(tmp_path, feed)
    assert afresh.start_offsets([(feed.topic, 0)]) == {}
    afresh.write([feed.batch(*records)])
    assert [line["id"] for line in lines(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_crash_before_the_offset_is_kept_repeats_nothing(tmp_path: Path, feed: OutFeed) -> None:
    records = [feed.record("c", {"id": number}) for number in range(4)]
    sink_of(tmp_path, feed).write([feed.batch(*records[:2])])
    (tmp_path / ".mesh" / "police.person.p0.json").unlink()
    afresh = sink_of(tmp_path, feed)
    assert afresh.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 2}
    afresh.write([feed.batch(*records)])
    assert [line["id"] for line in lines(tmp_path)] == [0, 1, 2, 3]


def test_a_receiver_may_take_finished_files_away(tmp_path: Path, feed: OutFeed) -> None:
    sink_of(tmp_path, feed).write([feed.batch(feed.record("c", {"id": 1}))])
    for path in (tmp_path / "police.person").iterdir():
        path.unlink()
    assert sink_of(tmp_path, feed).start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 1}


def test_what_stands_in_the_way_stops_the_drop(tmp_path: Path, feed: OutFeed) -> None:
    (tmp_path / "police.person").write_text("in the way")
    with pytest.raises(ContractBroken, match="stands where it has no business"):
        sink_of(tmp_path, feed).write([feed.batch(feed.record("c", {"id": 1}))])


def test_a_lane_gathers_by_time_and_repeats_nothing_over_restarts(kafka: Kafka, tmp_path: Path, feed: OutFeed) -> None:
    create(kafka, feed.topic, partitions=2)
    config = SinkConfig(name="main", kind="files", options={"every_seconds": 0.5})
    directory = directory_of({feed.subscriber: config}, feed)
    known = {
        "kinds": {"files": SinkKind(build=build_files, batching=files_batching)},
        "schemas": feed.schemas,
        "addresses": {(feed.subscriber, "main"): str(tmp_path)},
    }
    log = Log(kafka, client_id="test")
    expected = 0
    for _ in range(3):
        feed.append(log, *(feed.record("c", {"id": number}) for number in range(40)))
        log.flush(30)
        expected += 40
        with delivering(kafka, directory, **known):
            until(lambda count=expected: len(lines(tmp_path)) >= count, 30, "drops")
    log.close()
    found = lines(tmp_path)
    assert len(found) == expected
    assert len({line["_mesh_token"] for line in found}) == expected
    assert len(list((tmp_path / "police.person").glob("*.done.json"))) <= 8, "gathered, not one file per fetch"
