"""One sink, three places: what a drop promises holds in a directory, in a bucket and on an SFTP server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.kinds.sinks import SINKS
from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import ContractBroken
from schemas.incident import MemoryIncidents
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.ending import Endings
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.receivers import Receiver, bucket, local, server
from tests.stage.until import until
from tests.stage.weed import Weed


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


@pytest.fixture(params=["files", "s3", "sftp"])
def receiver(request: pytest.FixtureRequest, weed: Weed, unique: str, tmp_path: Path) -> Receiver:
    (tmp_path / "drop").mkdir()
    match request.param:
        case "s3":
            return bucket(weed, f"{unique}/人口 drop")
        case "sftp":
            return server(weed, unique)
        case _:
            return local(tmp_path / "drop")


def person(number: int) -> dict[str, Any]:
    return {"id": number, "name": "甲", "amount": decimal("1.50")}


@pytest.mark.parametrize("name", ["jsonl", "csv", "parquet"])
def test_a_drop_has_the_same_files_wherever_it_goes(
    receiver: Receiver, feed: OutFeed, name: str, tmp_path: Path
) -> None:
    batch = feed.batch(*(feed.record("c", person(number)) for number in range(300)), partition=3)
    (tmp_path / "beside").mkdir()
    beside = local(tmp_path / "beside")
    for each in (receiver, beside):
        sink = each.sink(SINKS, feed, format=name)
        sink.write([batch])
        sink.close()
    assert receiver.files.names() == beside.files.names()
    assert len(receiver.files.names()) == 3

    def told(each: Receiver, path: str) -> Any:
        content = each.files.read(path)
        return {**json.loads(content), "written_at": ""} if path.endswith(".json") else content

    for path in beside.files.names():
        assert told(receiver, path) == told(beside, path), path


def test_a_drop_cut_short_is_written_again_under_its_name(receiver: Receiver, feed: OutFeed) -> None:
    records = [feed.record("c", person(number)) for number in range(5)]
    first = receiver.sink(SINKS, feed)
    first.write([feed.batch(*records[:2])])
    first.close()
    # Killed behind the file, before its manifest; the next life reads a longer run from the same place.
    receiver.files.remove("police.person/police.person.p0.00000000000000000000.jsonl.done.json")
    receiver.files.remove(".mesh/police.person.p0.json")
    afresh = receiver.sink(SINKS, feed)
    assert afresh.start_offsets([(feed.topic, 0)]) == {}
    assert receiver.lines() == [], "a file without a manifest does not count"
    afresh.write([feed.batch(*records)])
    afresh.close()
    assert [line["id"] for line in receiver.lines()] == [0, 1, 2, 3, 4]


def test_a_crash_before_the_offset_is_kept_repeats_nothing(receiver: Receiver, feed: OutFeed) -> None:
    records = [feed.record("c", person(number)) for number in range(4)]
    first = receiver.sink(SINKS, feed)
    first.write([feed.batch(*records[:1])])
    kept = receiver.files.read(".mesh/police.person.p0.json")
    first.write([feed.batch(*records[1:2])])
    first.close()
    receiver.files.put(".mesh/police.person.p0.json", kept)
    afresh = receiver.sink(SINKS, feed)
    assert afresh.start_offsets([(feed.topic, 0), (feed.topic, 10)]) == {(feed.topic, 0): 2}
    afresh.write([feed.batch(*records)])
    afresh.close()
    assert [line["id"] for line in receiver.lines()] == [0, 1, 2, 3]


def test_a_receiver_may_take_finished_files_away(receiver: Receiver, feed: OutFeed) -> None:
    sink = receiver.sink(SINKS, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    for name in receiver.drops():
        receiver.files.remove(name)
    sink.close()
    afresh = receiver.sink(SINKS, feed)
    assert afresh.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 1}
    afresh.write([feed.batch(feed.record("c", person(2)))])
    afresh.close()
    assert [line["id"] for line in receiver.lines()] == [2]


def test_what_a_killed_process_was_writing_goes_and_what_others_are_writing_stays(
    receiver: Receiver, feed: OutFeed
) -> None:
    ours = ".police.person.p0.00000000000000000000.jsonl.0123456789abcdef.draft"
    others = ".police.person.p10.00000000000000000000.jsonl.0123456789abcdef.draft"
    for name in (ours, others):
        receiver.files.put(f"police.person/{name}", b'{"id": 7')
    sink = receiver.sink(SINKS, feed)
    assert sink.start_offsets([(feed.topic, 0)]) == {}
    sink.close()
    left = {f"police.person/{others}"} | ({f"police.person/{ours}"} if receiver.kind == "s3" else set())
    assert set(receiver.drops()) == left, "in a bucket nothing is ever half written, so there is nothing to remove"
    assert receiver.lines() == []


def test_an_offset_changed_by_hand_stops_with_a_way_out_that_works(receiver: Receiver, feed: OutFeed) -> None:
    sink = receiver.sink(SINKS, feed)
    sink.write([feed.batch(*(feed.record("c", person(number)) for number in range(5)))])
    name = ".mesh/police.person.p0.json"
    receiver.files.put(name, receiver.files.read(name).replace(b'"next_offset": 5', b'"next_offset": 9'))
    with pytest.raises(ContractBroken, match="was changed by hand") as stopped:
        sink.start_offsets([(feed.topic, 0)])
    assert f"/{name}; the drop goes on" in stopped.value.fix
    receiver.files.remove(name)
    assert sink.start_offsets([(feed.topic, 0)]) == {(feed.topic, 0): 5}
    sink.close()


def test_the_end_of_a_grant_is_told_in_a_file_of_its_own_before_it_is_confirmed(
    receiver: Receiver, feed: OutFeed
) -> None:
    sink = receiver.sink(SINKS, feed)
    sink.write([feed.batch(feed.record("c", person(1)))])
    confirmed: list[list[str]] = []
    endings = Endings(feed.schemas.__getitem__, lambda *_: confirmed.append(receiver.drops()), MemoryIncidents())
    endings.due = [
        Ending(
            topic=feed.topic,
            grant_id=f"{feed.subscriber}.police.person",
            purpose="test",
            subscriber=feed.subscriber,
            sink="main",
            at_end=AtEnd.REMOVE,
            reason="REVOKED",
            value_schema_id=feed.value_id,
        )
    ]
    endings.look(sink, 0.0)
    sink.close()
    told = "police.person/police.person.p-1.00000000000000000000.jsonl.done.json"
    assert [told in names for names in confirmed] == [True]
    manifest = json.loads(receiver.files.read(told))
    assert (manifest["ops"], manifest["reasons"]) == ({"t": 1}, {"GRANT_ENDED": 1})


def test_a_lane_drops_every_change_once_over_restarts(
    kafka: Kafka, receiver: Receiver, feed: OutFeed, unique: str
) -> None:
    create(kafka, feed.topic, partitions=2)
    config = SinkConfig(name="main", kind=receiver.kind, options={**receiver.options, "every_seconds": 0.2})
    addresses = {(feed.subscriber, name): secret for name, secret in receiver.secrets.items()}
    directory = directory_of({feed.subscriber: config}, feed)
    log = Log(kafka, client_id=unique)
    expected = 0
    for _ in range(2):
        feed.append(log, *(feed.record("c", person(number)) for number in range(200)))
        log.flush(30)
        expected += 200
        with delivering(kafka, directory, kinds=SINKS, schemas=feed.schemas, addresses=addresses):
            until(lambda count=expected: len(receiver.lines()) >= count, 30, "drops")
    log.close()
    found = receiver.lines()
    assert len(found) == expected
    assert len({line["_mesh_token"] for line in found}) == expected, "no change twice"
