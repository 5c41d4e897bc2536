"""What is read of `mesh.egress`, and when: a derived feed's offsets have gaps, and a gap is not news."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.change import Batch, Record
from tests.unit.streams.memory import MemoryMesh
from tests.unit.streams.test_relay import FEED, GRANT, created, grant_of, mesh

__all__ = ["mesh"]


def counted(mesh: MemoryMesh) -> list[int]:
    """Counts the loads of the control topic in its one item."""
    loads, load = [0], mesh.load

    def counting() -> Mapping[str, Mapping[str, Any]]:
        loads[0] += 1
        return load()

    mesh.load = counting  # type: ignore[method-assign]
    return loads


def behind_a_marker(batch: Batch, markers: int) -> Batch:
    """The batch as it is read when so many transaction markers came before it."""
    records = [Record(record.offset + markers, *record[1:]) for record in batch.records]
    return Batch(topic=batch.topic, partition=batch.partition, records=records)


def test_gaps_of_offsets_make_nobody_read_the_control_topic(mesh: MemoryMesh) -> None:
    loads = counted(mesh)
    mesh.grant(grant_of())
    relay = mesh.relay()
    relay.assigned()
    for number in range(100):
        for partition in (0, 1):
            relay.handle([behind_a_marker(mesh.put(created(number), partition=partition), number)])
    assert loads == [1]
    assert len(mesh.out(GRANT)) == 200

    relay.assigned()
    relay.handle([behind_a_marker(mesh.put(created(100)), 100)])
    relay.idle({(FEED, 0): 201, (FEED, 1): 199})
    assert loads == [2]


def test_a_partition_that_went_and_came_back_is_read_of_again(mesh: MemoryMesh) -> None:
    loads = counted(mesh)
    relay = mesh.relay()
    relay.idle({(FEED, 0): 0, (FEED, 1): 0})
    relay.idle({(FEED, 0): 0})
    relay.assigned()
    relay.idle({(FEED, 0): 0, (FEED, 1): 0})
    assert loads == [2]
