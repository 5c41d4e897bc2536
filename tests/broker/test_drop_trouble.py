"""Drops on an ordinary bad day: a full disk, links laid beforehand, an offsets file changed by hand, a receiver who tidies up."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import ContractBroken, Fenced, Transient
from schemas.log.kafka import Kafka
from sinks.drops.files import build_files, files_batching
from sinks.drops.folder import DropFolder
from sinks.drops.format import format_of
from sinks.drops.sink import DropSink
from sinks.kind import SinkKind
from tests.stage.delivering import Desk, OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until
from tests.stage.webhooks import append

FILES = {"files": SinkKind(build=build_files, batching=files_batching)}


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


def person(number: int, name: str = "甲") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal("1.50")}


def sink_of(directory: Path, feed: OutFeed, name: str = "jsonl") -> DropSink:
    ending, write_file = format_of(name, "test")
    return DropSink(
        place=DropFolder(directory),
        subscriber=feed.subscriber,
        schema_of=feed.schemas.__getitem__,
        ending=ending,
        write_file=write_file,
    )


@contextmanager
def dropping(kafka: Kafka, feed: OutFeed, directory: Path) -> Iterator[Desk]:
    config = SinkConfig(name="main", kind="files", options={"every_seconds": 0.2})
    addresses = {(feed.subscriber, "main"): str(directory)}
    with delivering(
        kafka, directory_of({feed.subscriber: config}, feed), kinds=FILES, schemas=feed.schemas, addresses=addresses
    ) as desk:
        yield desk


@contextmanager
def file_bytes_max(size: int) -> Iterator[None]:
    """No file of this process may be larger: the kernel refuses the rest of a write, as a full disk does."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def rows(directory: Path) -> dict[int, str]:
    """The newest name of each key, from finished files."""
    found: dict[int, tuple[str, str, str]] = {}
    for path in sorted((directory / "police.person").glob("*.done.json")):
        manifest = json.loads(path.read_text("utf-8"))
        lines = (path.parent / manifest["file"]).read_text("utf-8").splitlines()
        assert len(lines) == manifest["records"]
        for line in map(json.loads, lines):
            state = (line["_mesh_token"], line["_mesh_op"], line["name"])
            found[line["id"]] = max(found.get(line["id"], state), state)
    return {key: name for key, (_, op, name) in found.items() if op != "d"}


def drafts(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.name.endswith(".draft")]


# --- disk full ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_half_a_file_is_never_left(tmp_path: Path, feed: OutFeed, name: str) -> None:
    sink = sink_of(tmp_path, feed, name)
    batch = feed.batch(*(feed.record("c", person(number, f"{number * 7919 % 1_000_003}")) for number in range(3_000)))
    with file_bytes_max(4_096), pytest.raises(Transient, match="File too large"):
        sink.write([batch])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    sink.write([batch])
    sink.close()
    assert len(list((tmp_path / "police.person").iterdir())) == 2


def test_a_full_disk_with_room_again_leaves_exactly_the_rows(kafka: Kafka, tmp_path: Path, feed: OutFeed) -> None:
    create(kafka, feed.topic, partitions=2)
    append(kafka, feed, [feed.record("c", person(number)) for number in range(500)])
    with dropping(kafka, feed, tmp_path) as desk:
        until(lambda: len(rows(tmp_path)) == 500, 30, "the first rows are dropped")
        with file_bytes_max(600):  # manifests and offsets fit, drops do not
            append(kafka, feed, [feed.record("u", person(number, "乙")) for number in range(0, 500, 2)])
            append(kafka, feed, [feed.record("d", person(number)) for number in range(0, 500, 5)])
            until(lambda: desk.watch.parked_lanes.get(feed.subscriber) is True, 30, "parked")
            (incident,) = desk.incidents.present().values()
            assert "make room" in incident.fix
        with file_bytes_max(100):  # not even those
            append(kafka, feed, [feed.record("c", person(number)) for number in range(1_000, 1_300)])
            retries = desk.watch.retries[feed.subscriber]
            until(lambda: desk.watch.retries[feed.subscriber] > retries + 3, 30, "it is tried again and again")
        expected = {number: "乙" if number % 2 == 0 else "甲" for number in range(500) if number % 5}
        expected |= dict.fromkeys(range(1_000, 1_300), "甲")
        until(lambda: rows(tmp_path) == expected, 30, "exactly the rows")
        until(lambda: desk.incidents.present() == {}, 10, "delivers again")
    assert drafts(tmp_path) == []


# --- somebody else writes there -----------------------------------------------------------------------------------


def test_a_link_laid_beforehand_leads_nowhere(tmp_path: Path, feed: OutFeed) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("a department's own")
    drop = tmp_path / "drop"
    (drop / "police.person").mkdir(parents=True)
    (drop / ".mesh").mkdir()
    file = "police.person.p0.00000000000000000000.jsonl"
    for name in (file, f".{file}.draft", f"{file}.done.json", f".{file}.done.json.draft"):
        (drop / "police.person" / name).symlink_to(elsewhere)
    for name in ("police.person.p0.json", ".police.person.p0.json.draft"):
        (drop / ".mesh" / name).symlink_to(elsewhere)
    sink = sink_of(drop, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    sink.close()
    assert elsewhere.read_text() == "a department's own"
    assert rows(drop) == {1: "甲"}
    assert not (drop / "police.person" / file).is_symlink()


@pytest.mark.parametrize("name", ["police.person", ".mesh"])
def test_a_folder_that_is_a_link_stops_the_drop(tmp_path: Path, feed: OutFeed, name: str) -> None:
    elsewhere, drop = tmp_path / "elsewhere", tmp_path / "drop"
    elsewhere.mkdir()
    drop.mkdir()
    (drop / name).symlink_to(elsewhere)
    sink = sink_of(drop, feed)
    with pytest.raises(ContractBroken, match="stands where it has no business") as stopped:
        sink.write([feed.batch(feed.record("c", person(1)))])
    assert str(drop) in stopped.value.fix
    assert list(elsewhere.iterdir()) == []
    (drop / name).unlink()
    sink.write([feed.batch(feed.record("c", person(2)))])
    sink.close()
    assert 2 in rows(drop)


def test_an_offsets_file_that_is_a_link_is_not_read(tmp_path: Path, feed: OutFeed) -> None:
    (tmp_path / "secret").write_text('{"next_offset": 7}')
    (tmp_path / ".mesh").mkdir()
    (tmp_path / ".mesh" / "police.person.p0.json").symlink_to(tmp_path / "secret")
    sink = sink_of(tmp_path, feed)
    with pytest.raises(ContractBroken, match="stands where it has no business"):
        sink.start_offsets([(feed.topic, 0)])
    sink.close()


def test_what_is_dropped_is_this_users_alone(tmp_path: Path, feed: OutFeed) -> None:
    former = os.umask(0)
    try:
        sink = sink_of(tmp_path, feed)
        sink.write([feed.batch(feed.record("c", person(1)))])
        sink.close()
    finally:
        os.umask(former)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {0o700, 0o600}


def test_a_directory_that_is_another_now_begins_anew(tmp_path: Path, feed: OutFeed) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    sink = sink_of(drop, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    drop.rename(tmp_path / "former")
    with pytest.raises(Transient, match="No such file"):
        sink.write([feed.batch(feed.record("c", person(2)))])
    drop.mkdir()
    with pytest.raises(Fenced):
        sink.write([feed.batch(feed.record("c", person(2)))])
    sink.close()


# --- the offsets file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["", '{\n "next_off', "[]", "null", "{}", '{"next_offset": "5"}', '{"next_offset": true}', '{"next_offset": -1}'],
)
def test_an_offsets_file_that_is_cut_says_so_with_the_way_out(tmp_path: Path, feed: OutFeed, content: str) -> None:
    first = sink_of(tmp_path, feed)
    first.write([feed.batch(*(feed.record("c", person(number)) for number in range(5)))])
    first.close()
    path = tmp_path / ".mesh" / "police.person.p0.json"
    path.write_text(content)
    sink = sink_of(tmp_path, feed)
    with pytest.raises(ContractBroken, match="cut or was changed by hand") as stopped:
        sink.start_offsets([(feed.topic, 0)])
    assert f"remove {path}" in stopped.value.fix
    path.unlink()
    assert sink.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 5}
    sink.close()


def test_an_offset_moved_on_by_hand_is_no_silent_gap(kafka: Kafka, tmp_path: Path, feed: OutFeed) -> None:
    create(kafka, feed.topic, partitions=1)
    append(kafka, feed, [feed.record("c", person(number)) for number in range(50)])
    with dropping(kafka, feed, tmp_path):
        until(lambda: len(rows(tmp_path)) == 50, 30, "dropped")
    append(kafka, feed, [feed.record("c", person(number)) for number in range(50, 100)])
    path = tmp_path / ".mesh" / "police.person.p0.json"
    path.write_text(path.read_text().replace('"next_offset": 50', '"next_offset": 90'))
    with dropping(kafka, feed, tmp_path) as desk:
        until(desk.incidents.present, 30, "it stops")
        (incident,) = desk.incidents.present().values()
        assert f"{path} was changed by hand" in incident.reason
        assert len(rows(tmp_path)) == 50
        path.unlink()  # to the letter of the fix
        until(lambda: len(rows(tmp_path)) == 100, 30, "it goes on without loss")
    assert len(list((tmp_path / "police.person").glob("*.done.json"))) == 2, "nothing is dropped twice"


def test_a_manifest_cut_by_hand_was_never_finished(tmp_path: Path, feed: OutFeed) -> None:
    sink = sink_of(tmp_path, feed)
    for start in (0, 3):
        sink.write([feed.batch(*(feed.record("c", person(start + number)) for number in range(3)))])
    (tmp_path / ".mesh" / "police.person.p0.json").unlink()
    (tmp_path / "police.person" / "police.person.p0.00000000000000000003.jsonl.done.json").write_text("{")
    assert sink.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 3}
    sink.close()


def test_a_receiver_may_take_a_feeds_folder_away(tmp_path: Path, feed: OutFeed) -> None:
    sink = sink_of(tmp_path, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    for path in (tmp_path / "police.person").iterdir():
        path.unlink()
    (tmp_path / "police.person").rmdir()
    sink.write([feed.batch(feed.record("c", person(2)))])
    sink.close()
    assert rows(tmp_path) == {2: "甲"}
