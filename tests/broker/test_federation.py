"""A source of kind `mesh`: what another mesh provides arrives as it stands there, and only while that mesh is trusted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.agreement.identity import Identity
from schemas.contract import Contract
from schemas.log.kafka import Kafka
from schemas.wire.envelope import frame
from tests.broker.conftest import running_registry
from tests.stage import feeds
from tests.stage.capturing import contract, record_of
from tests.stage.far_side import MOMENT_MS, FarSide, NearRig, grid_contract
from tests.stage.until import until

WITHIN = 30


@pytest.fixture(scope="session")
def far_registry(far_kafka: tuple[Kafka, str]) -> Iterator[str]:
    with running_registry(far_kafka[0], f"_schemas_{secrets.token_hex(4)}") as server:
        yield server.url


@pytest.fixture
def agreed(unique: str) -> Contract:
    return grid_contract(unique)


@pytest.fixture
def far(far_kafka_alone: tuple[Kafka, str], far_registry: str, unique: str, agreed: Contract) -> FarSide:
    return FarSide(far_kafka_alone, far_registry, f"{unique}city", agreed)


@pytest.fixture
def near(kafka: Kafka, far: FarSide, unique: str, agreed: Contract) -> NearRig:
    rig = NearRig(kafka, far.address, unique, far.identity.fingerprint)
    rig.add(agreed)
    return rig


def identities(rig: NearRig, feed: str) -> list[tuple[str, int | None, str]]:
    """(op, key, position) of every change, in the order of positions."""
    found = [(change.op.value, change.key.get("id"), str(change.position)) for change in rig.changes(feed)]
    return sorted(found, key=lambda entry: entry[2])


def given(far: FarSide) -> list[tuple[str, int | None, str]]:
    return [(op, number, str(position)) for op, number, position in far.written]


def stopped(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    until(lambda: all(word in caplog.text for word in words), WITHIN, f"it stops and says {words}")


def test_nothing_is_taken_before_the_anchor_is_there_nor_after_it_is_gone(
    near: NearRig, far: FarSide, agreed: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    far.rows(range(1, 200))
    with near.capturing():
        stopped(caplog, "is not uploaded here", "mesh anchor add")
        assert near.changes(agreed.feed) == []
        near.trust(far.identity)
        until(lambda: len(near.changes(agreed.feed)) == 199, WITHIN, "it flows")
        assert identities(near, agreed.feed) == given(far)
        assert near.seen.connections == {near.source: True}

        caplog.clear()
        near.trust()
        removed = time.monotonic()
        until(lambda: near.seen.connections == {near.source: False}, 5, "it stops")
        stopped(caplog, "is not uploaded here")
        assert time.monotonic() - removed < 5
        far.rows(range(200, 300))
        time.sleep(1)  # nothing comes: there is no condition to wait for
        assert len(near.changes(agreed.feed)) == 199

        near.trust(far.identity)
        until(lambda: len(near.changes(agreed.feed)) == 299, WITHIN, "it goes on where it was")
    assert identities(near, agreed.feed) == given(far)


def test_rows_removals_and_truncates_arrive_as_they_are(near: NearRig, far: FarSide, agreed: Contract) -> None:
    near.trust(far.identity)
    far.rows(range(1, 9))
    far.write([("u", 2, {"id": 2, "name": "changed"})])
    far.write([("d", 3, None)], reason="OUT_OF_SCOPE")
    far.write([("t", 0, None)])
    far.rows(range(20, 25))
    with near.capturing():
        until(lambda: len(near.fold(agreed.feed)) == 5, WITHIN, "all of it")
        # Each partition over there tells of the truncate, and each time every partition here hears of it.
        until(lambda: sum(change.op == "t" for change in near.changes(agreed.feed)) == 3 * 4, WITHIN, "the truncates")
    changes = {change.position: change for change in near.changes(agreed.feed)}
    assert [str(position) for position in sorted(changes)] == [position for _, _, position in given(far)]
    update = next(change for change in changes.values() if change.op == "u")
    assert (update.after, update.committed_at_ms) == ({"id": 2, "name": "changed"}, MOMENT_MS)
    found = feeds.read_all(near.kafka, [agreed.feed]).values()
    (history,) = (
        same
        for partition in found
        if len(same := [m for m in partition if m.key() and near.codec.decode(m.key()) == {"id": 3}]) > 1
    )
    assert [message.value() is None for message in history] == [False, False, True]
    removal = near.codec.change(agreed.feed, record_of(history[1]))
    assert removal is not None
    assert (removal.op, removal.before, removal.headers) == ("d", {"id": 3, "name": None}, {"reason": "OUT_OF_SCOPE"})
    envelope = near.codec.decode(history[0].value())
    assert (envelope["source"]["name"], envelope["source"]["db"]) == ("grid.main", "grid")


@pytest.mark.parametrize("spoiled", ["other_key", "signature", "cluster"])
def test_whoever_is_not_the_anchored_mesh_is_not_listened_to(
    near: NearRig, far: FarSide, agreed: Contract, spoiled: str, caplog: pytest.LogCaptureFixture
) -> None:
    near.trust(far.identity)
    far.rows([1, 2, 3])
    words = {"other_key": "another mesh answers", "signature": "is not signed", "cluster": "is not signed"}
    changes: dict[str, dict[str, Any]] = {
        "other_key": {"identity": Identity.new()},
        "signature": {"signature": bytes(64)},
        "cluster": {"cluster": "elsewhere"},
    }
    far.say(**changes[spoiled])
    with near.capturing():
        stopped(caplog, words[spoiled])
    assert near.changes(agreed.feed) == []


def test_a_mesh_that_becomes_another_one_is_left_at_once(
    near: NearRig, far: FarSide, agreed: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    near.trust(far.identity)
    far.rows([1, 2, 3])
    with near.capturing():
        until(lambda: len(near.changes(agreed.feed)) == 3, WITHIN, "it flows")
        far.say(Identity.new())
        stopped(caplog, "another mesh answers")
        far.rows([4])
    assert len(near.changes(agreed.feed)) == 3


def test_a_gap_stops_and_a_resync_leaves_what_stands_there(
    near: NearRig, far: FarSide, agreed: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    near.trust(far.identity)
    far.rows(range(1, 11))
    with near.capturing():
        until(lambda: len(near.fold(agreed.feed)) == 10, WITHIN, "it flows")
    record = near.progress.load(near.source)
    assert record is not None
    assert sum(record["topics"][far.topic].values()) == 10

    near.progress.save(near.source, {**record, "read_at": time.time() - 8 * 86_400})
    far.write([("d", 1, None)])
    with near.capturing():
        stopped(caplog, "deletes stay for seven", f"mesh resync {near.source}")
    near.progress.save(near.source, {**record, "cluster": "former"})
    with near.capturing():
        stopped(caplog, "was made anew")
    near.progress.save(near.source, {**record, "topics": {far.topic: {"0": 999}}})
    with near.capturing():
        stopped(caplog, "we are at 999")
    assert len(near.fold(agreed.feed)) == 10

    near.progress.save(near.source, record)
    near.resync(near.source)
    with near.capturing():
        until(lambda: len(near.fold(agreed.feed)) == 9, WITHIN, "what stands there, above the truncate")
        far.rows([30])
        until(lambda: len(near.fold(agreed.feed)) == 10, WITHIN, "and what comes after")
    after = near.progress.load(near.source)
    assert after is not None
    assert (after["phase"], after["shift"]) == ("ready", 2)


def test_what_no_longer_fits_the_contract_stops_and_what_cannot_be_read_is_set_aside(
    near: NearRig, far: FarSide, agreed: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    near.trust(far.identity)
    far.raw(b"\1 no envelope")
    far.raw(frame(far.value_id) + b"\2")
    far.rows([3])
    with near.capturing():
        until(lambda: len(near.changes(agreed.feed)) == 1, WITHIN, "the good one")
        assert dict(near.seen.rejections) == {
            (agreed.feed, "bad_magic"): 1,
            (agreed.feed, "not_decodable"): 1,
        }
        letters = [m for of in feeds.read_all(near.kafka, [f"dlq.{agreed.feed}"]).values() for m in of]
        assert sorted(bytes(letter.value()) for letter in letters)[1] == b"\1 no envelope"

        far.publish(contract(agreed.feed, {"id": "long"}))
        far.write([("c", 4, {"id": 4})])
        stopped(caplog, "name: is not among what we are granted")
    assert len(near.changes(agreed.feed)) == 1


def test_a_wrong_password_is_said_in_words(
    near: NearRig, far: FarSide, agreed: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    near.trust(far.identity)
    near.dsn = far.address.replace("sixteen", "seventeen")
    with near.capturing():
        stopped(caplog, "refuses", far.user)
    assert "seventeen" not in caplog.text
    assert near.changes(agreed.feed) == []
