"""Bundles of messages: where each goes, in which order, and what an earlier version wrote."""

from __future__ import annotations

import pytest

from schemas.change import Record
from streams.engine.inbox.bundle import BUNDLE_BYTES, bundled, partition_of, unbundled
from streams.engine.inbox.intake import Outgoing

INBOX, PARTITIONS = "inbox", 4


def read(partition: int, messages: list[Outgoing]) -> list[tuple[bytes, bytes]]:
    """What the task of a partition reads."""
    records = [
        Record(n, key, value, None, 0) for n, (_, key, value, to, _) in enumerate(written(messages)) if to == partition
    ]
    return [(key, value) for record in records for _, key, value in unbundled(record)]


def written(messages: list[Outgoing]) -> list[tuple[str, bytes | None, bytes | None, int, object]]:
    return list(bundled(messages, INBOX, PARTITIONS))


# From the tests of Apache Kafka's own clients.
@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_partition_that_kafka_gives_it(key: bytes, hashed: int) -> None:
    assert [partition_of(key, count) for count in (1, 4, 97)] == [(hashed & 0x7FFFFFFF) % n for n in (1, 4, 97)]


def test_messages_reach_their_task_in_order_and_few_records_carry_them() -> None:
    messages = [Outgoing(f"flow\0person:{number % 50}".encode(), b"%d" % number) for number in range(1000)]
    assert len(written(messages)) == PARTITIONS
    for partition in range(PARTITIONS):
        mine = [(m.key, m.value) for m in messages if partition_of(m.key, PARTITIONS) == partition]
        assert read(partition, messages) == mine


def test_what_goes_to_all_is_a_record_of_its_own_behind_what_came_before_it() -> None:
    before, tick, after = Outgoing(b"flow\0a:1", b"1"), Outgoing(b"flow\0", b"tick"), Outgoing(b"flow\0a:1", b"2")
    partition = partition_of(before.key, PARTITIONS)
    assert read(partition, [before, tick, after]) == [(m.key, m.value) for m in (before, tick, after)]
    assert [key for _, key, _, _, _ in written([before, tick, after])] == [None, *[tick.key] * PARTITIONS, None]
    for other in set(range(PARTITIONS)) - {partition}:
        assert read(other, [before, tick, after]) == [(tick.key, tick.value)]


def test_a_bundle_ends_before_it_is_too_large_for_a_broker() -> None:
    messages = [Outgoing(b"flow\0a:1", bytes(1000)) for _ in range(1000)]
    sizes = [len(value or b"") for _, _, value, _, _ in written(messages)]
    assert max(sizes) < BUNDLE_BYTES + 2000
    assert len(sizes) == 1000 * 1008 // BUNDLE_BYTES + 1


def test_a_record_of_an_earlier_version_is_one_message() -> None:
    assert list(unbundled(Record(7, b"flow\0a:1", b"v", None, 0))) == [(7, b"flow\0a:1", b"v")]
    assert list(unbundled(Record(8, None, None, None, 0))) == []
