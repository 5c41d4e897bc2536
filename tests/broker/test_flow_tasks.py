"""How many tasks the flows have: what is remembered, what is refused and how it is put right, and an interrupted growth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from ops.run.flow_tasks import FlowTasks, TaskGrowth
from schemas.errors import Misconfigured
from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.offsets import partitions_of
from schemas.log.writer import Log
from streams.engine.inbox.message import DIVIDE, unpack
from streams.engine.task import TaskTopics
from tests.stage import feeds


class Mesh:
    """The topics of flows that began with four tasks and nobody folds for."""

    def __init__(self, kafka: Kafka, prefix: str, log: Log) -> None:
        self.kafka = kafka
        self.topics = TaskTopics(4, f"{prefix}.inbox", f"{prefix}.state")
        self.store = ControlStore(kafka, f"{prefix}.record", log)
        self.growth = TaskGrowth(kafka, self.store, self.topics, flow="demo", group=f"{prefix}.flows")
        feeds.create(kafka, f"{prefix}.record", partitions=1)

    def begin(self) -> None:
        feeds.create(self.kafka, self.topics.inbox, self.topics.state, partitions=4)

    @property
    def tasks(self) -> FlowTasks | None:
        return FlowTasks.of(self.kafka, self.store, self.topics)


@pytest.fixture
def mesh(kafka: Kafka, unique: str) -> Iterator[Mesh]:
    with closing(Log(kafka, client_id="test", linger_ms=0)) as log:
        yield Mesh(kafka, unique, log)


def test_flows_that_never_ran_are_told_to_start(mesh: Mesh) -> None:
    assert mesh.tasks is None
    with pytest.raises(Misconfigured, match="never ran here"):
        mesh.growth.grow(8, within_seconds=0)


def test_flows_of_an_earlier_version_have_as_many_as_their_topics(mesh: Mesh) -> None:
    mesh.begin()
    assert mesh.tasks == FlowTasks(begun=4, routed=4, wanted=4)


@pytest.mark.parametrize("wanted", [1, 2, 3, 6, 10])
def test_a_number_that_is_no_multiple_is_refused_and_one_that_is_told_is_taken(mesh: Mesh, wanted: int) -> None:
    mesh.begin()
    with pytest.raises(Misconfigured) as refused:
        mesh.growth.grow(wanted, within_seconds=0)
    assert partitions_of(mesh.kafka, mesh.topics.inbox) == 4
    told = [int(number) for number in re.findall(r"\d+", refused.value.fix)]
    assert told == [8, 12, 16]
    assert mesh.growth.grow(told[1], within_seconds=0).tasks.wanted == 12


def test_the_number_there_is_changes_nothing(mesh: Mesh) -> None:
    mesh.begin()
    grown = mesh.growth.grow(4, within_seconds=0)
    assert grown.is_complete
    assert feeds.end_offsets(mesh.kafka, [mesh.topics.inbox]) == dict.fromkeys(
        [(mesh.topics.inbox, number) for number in range(4)], 0
    )


def test_a_growth_that_nobody_works_on_is_remembered_and_said_how_to_go_on(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    mesh.begin()
    grown = mesh.growth.grow(8, within_seconds=0)
    assert not grown.is_complete
    grown.render()
    told = re.search(r"`mesh tasks (\d+)` goes on", capsys.readouterr().out)
    assert told
    assert told[1] == "8"
    assert mesh.tasks == FlowTasks(begun=4, routed=4, wanted=8)
    assert [partitions_of(mesh.kafka, topic) for topic in (mesh.topics.inbox, mesh.topics.state)] == [8, 8]
    with pytest.raises(Misconfigured, match="not all of their part yet") as refused:
        mesh.growth.grow(16, within_seconds=0)
    assert refused.value.fix == "`mesh tasks 8` first"
    mesh.growth.grow(8, within_seconds=0)
    records = feeds.read_all(mesh.kafka, [mesh.topics.inbox])
    told_tasks = {place[1]: [unpack(record.value()) for record in found] for place, found in records.items()}
    assert told_tasks == {number: [[DIVIDE, 8], [DIVIDE, 8]] for number in range(8)}, "told again, which is heard once"
