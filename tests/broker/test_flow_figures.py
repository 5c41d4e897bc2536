"""What operators see of flows: what they wrote, counted as of any feed; how far they are behind; when their rows were caused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ops.metrics.exporter import Exporter
from ops.metrics.flow_metrics import FlowMetrics
from ops.metrics.lag_watch import LagWatch, behind, flow_report, flow_topics, staleness, watching
from ops.metrics.metric import DERIVED
from ops.metrics.page import serve
from ops.metrics.scrape import Samples, gather
from ops.run.flow_worker import run_worker
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader
from ops.watch.status_table import reasons
from schemas.agreement.directory import Directory
from schemas.log.kafka import Kafka
from streams.engine.task import TaskTopics
from tests.chaos.test_kill_flows import City
from tests.stage import feeds
from tests.stage.demo_flow import flow
from tests.stage.rehearsal import days, writing
from tests.stage.until import until

PEOPLE = 300
PARTITIONS = 4


class Rig:
    """A flow's feeds and inbox on the broker, the page of its process, and that process's loop when a test lets it run."""

    def __init__(self, kafka: Kafka, registry: str, city: City, folder: Path) -> None:
        self.city = city
        self.flow = flow(city.prefix)
        self.group = f"{city.prefix}flows"
        self.inbox = f"{city.prefix}inbox"
        self.directory = Directory(feeds=city.entries, agencies=writing(self.flow, city.entries))
        self.folder = folder
        self._kafka = kafka
        self._registry = registry
        self.exporter = Exporter()
        self.metrics = FlowMetrics(self.exporter)

    def topics(self) -> list[str]:
        return flow_topics([self.flow], self.directory, self.inbox)

    def watch(self) -> LagWatch:
        report = flow_report([self.flow], self.metrics.lag, self.metrics.task_lag, self.inbox)
        return LagWatch(self._kafka, self.group, self.topics, report)

    @contextmanager
    def working(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(
            target=run_worker,
            args=([self.flow], stop),
            kwargs={
                "kafka": self._kafka,
                "registry": self._registry,
                "directory": lambda: self.directory,
                "topics": TaskTopics(PARTITIONS, self.inbox, f"{self.city.prefix}state"),
                "group": self.group,
                "instance_id": None,
                "folder": self.folder / "worker",
                "progress": _Forgetful(),
                "observer": self.metrics,
            },
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)
        assert not thread.is_alive()

    def samples(self) -> Samples:
        return gather(self.folder)[0]


class _Forgetful:
    def load(self) -> dict[str, dict[str, object]]:
        return {}

    def save(self, key: str, record: object) -> None: ...


@pytest.fixture
def rig(kafka: Kafka, registry: str, unique: str, tmp_path: Path) -> Iterator[Rig]:
    with closing(City(kafka, registry, f"{unique}.")) as city:
        rig = Rig(kafka, registry, city, tmp_path)
        stop = threading.Event()
        with closing(serve(tmp_path, "flows", rig.exporter)):
            watch = watching(rig.watch(), stop)
            yield rig
            stop.set()
            watch.join(30)


def fill(city: City) -> None:
    for number in range(PEOPLE):
        city.put("police.resident", {"citizen_id": f"{number}", "name": "somebody", "hukou_region": "440106"})
    city.put("police.vehicle", {"vin": "V1", "owner_id": "7", "first_registered": days("2016-01-01")})
    city.flush()


def test_a_flow_that_is_behind_is_seen_until_it_has_folded_all(rig: Rig, kafka: Kafka) -> None:
    fill(rig.city)
    name = rig.flow.name

    def records() -> float:
        return rig.samples().latest("mesh_flow_lag_records", flow=name) or 0

    until(lambda: records() > PEOPLE, 60, "the flow's page says that it is behind")
    status = StatusReader(rig.folder, lambda: rig.directory, lambda _groups: {}, time.time).read()
    assert [(entry.flow, entry.lag_records) for entry in status.flows] == [(name, PEOPLE + 1)]
    assert status.flows[0].lag_seconds > 0
    with rig.working():
        until(lambda: records() == 0, 120, "the flow has folded all")
        samples = rig.samples()
        assert samples.values("mesh_flow_task_lag_records", "task") == [str(number) for number in range(PARTITIONS)]
        assert samples.latest("mesh_flow_lag_seconds", flow=name) == 0

    with closing(LagReader(kafka)) as lags:
        rig.city.put("police.resident", {"citizen_id": "1", "name": "somebody else", "hukou_region": "440106"})
        rig.city.flush()
        found = lags.read({rig.group: rig.topics()})[rig.group]
        assert behind(rig.flow, found, rig.inbox)[0] == 1
        assert staleness(rig.flow, found) == ""


def test_changes_of_a_derived_feed_are_counted_as_those_of_any_feed(rig: Rig) -> None:
    fill(rig.city)
    feed = f"{rig.city.prefix}demo.person"

    def counted(op: str) -> int:
        return int(rig.samples().total("mesh_events_total", feed=feed, op=op, origin=DERIVED))

    with rig.working():
        until(lambda: counted("c") == PEOPLE, 120, "all are counted")
        rig.city.delete("police.resident", "3")
        rig.city.flush()
        until(lambda: counted("d") == 1, 60, "one that went is counted")
    rig.samples().total("mesh_event_bytes_total", feed=feed)
    status = StatusReader(rig.folder, lambda: rig.directory, lambda _groups: {}, time.time).read()
    shown = {entry.feed: entry for entry in status.feeds}[feed]
    assert shown.captured == sum(counted(op) for op in "cud") > PEOPLE
    assert shown.per_second > 0
    assert reasons(status) == []


def test_a_board_bears_the_commit_that_its_figures_are_of(rig: Rig, kafka: Kafka) -> None:
    before_ms = int(time.time() * 1000)
    fill(rig.city)
    feed = f"{rig.city.prefix}demo.region"
    with rig.working():
        until(lambda: rig.city.rows(kafka, "demo.region").get("440106", {}).get("people") == PEOPLE, 120, "the figure")
    values = [
        rig.city._codec.decode(message.value())
        for records in feeds.read_all(kafka, [feed]).values()
        for message in records
        if message.value() is not None
    ]
    assert {value["after"]["people"] for value in values if value["after"]} >= {PEOPLE}
    assert all(before_ms <= value["source"]["ts_ms"] <= value["ts_ms"] for value in values)
