"""A hop that starts while Kafka is away waits for it, says so, and goes on by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.program import Program, launch
from ops.host.up import mesh_command
from ops.watch.flow_backlog import until_folded
from ops.watch.lag import LagReader
from schemas.errors import Transient
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log
from tests.stage import feeds
from tests.stage.until import until

WITHIN_SECONDS = 60


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    kafka = EmbeddedKafka(tmp_path / "kafka")
    kafka.start()
    yield kafka
    kafka.stop()


def test_a_hop_that_starts_while_kafka_stands_still_waits_and_goes_on(broker: EmbeddedKafka, tmp_path: Path) -> None:
    assert broker.pid
    address = {
        **broker.entered_by().environment(),
        "MESH_REGISTRY": "http://127.0.0.1:9",
        "MESH_DATABASE": "dbname=none",
    }
    log = tmp_path / "delivery.log"
    program = Program(
        name="delivery",
        argv=mesh_command("run", "delivery", "--dir", str(tmp_path / "mesh")),
        log=log,
        env={**address, "PYTHONUNBUFFERED": "1"},
    )
    os.kill(broker.pid, signal.SIGSTOP)
    running = launch(program)
    try:
        until(
            lambda: "waits for Kafka at" in log.read_text() or running.ended() is not None, WITHIN_SECONDS, "it waits"
        )
        assert running.ended() is None, log.read_text()
        os.kill(broker.pid, signal.SIGCONT)
        until(lambda: "goes on" in log.read_text() or running.ended() is not None, WITHIN_SECONDS, "it goes on")
        assert running.ended() is None, log.read_text()
        running.ask_to_stop()
        until(lambda: running.ended() is not None, WITHIN_SECONDS, "it ends when asked")
        assert running.ended() == 0, log.read_text()
    finally:
        os.kill(broker.pid, signal.SIGCONT)
        running.kill()


def test_a_hop_that_waits_for_kafka_ends_when_asked(tmp_path: Path) -> None:
    log = tmp_path / "capture.log"
    address = {"MESH_KAFKA": "127.0.0.1:9", "MESH_REGISTRY": "http://127.0.0.1:9", "MESH_DATABASE": "dbname=none"}
    argv = mesh_command("run", "capture", "--dir", str(tmp_path / "mesh"))
    running = launch(Program(name="capture", argv=argv, log=log, env={**address, "PYTHONUNBUFFERED": "1"}))
    try:
        until(
            lambda: "waits for Kafka at" in log.read_text() or running.ended() is not None, WITHIN_SECONDS, "it waits"
        )
        running.ask_to_stop()
        until(lambda: running.ended() is not None, WITHIN_SECONDS, "it ends when asked")
        assert running.ended() == 0, log.read_text()
    finally:
        running.kill()


def test_lag_is_read_again_once_a_broker_that_died_is_back(broker: EmbeddedKafka) -> None:
    assert broker.pid
    feeds.create(broker.entered_by(), "feed", partitions=1)
    with closing(Log(broker.entered_by(), client_id="writes")) as log:
        feeds.fill(log, "feed", range(2))

    def behind() -> int:
        with suppress(Transient):
            return lags.read({"group": ["feed"]})["group"]["feed"].records
        return 0

    with closing(LagReader(broker.entered_by(), within_seconds=2)) as lags:
        until(lambda: behind() == 2, WITHIN_SECONDS, "the lag is read")
        os.kill(broker.pid, signal.SIGKILL)
        until(lambda: behind() == 0, WITHIN_SECONDS, "no broker answers")
        broker.stop()
        broker.start()
        until(lambda: behind() == 2, WITHIN_SECONDS, "the lag is read again")


def test_whoever_waits_for_the_flows_waits_on_while_kafka_stands_still(broker: EmbeddedKafka) -> None:
    """The demo ended here: it blamed the flows for standing still, while nothing could move."""
    said: list[str] = []
    seen: list[bool] = []
    broker_pid = broker.pid
    assert broker_pid

    def show(_folded: float, _left: int) -> None:
        if not seen:
            os.kill(broker_pid, signal.SIGSTOP)
        seen.append(True)

    def say(line: str) -> None:
        said.append(line)
        if "is waited for" in line:
            os.kill(broker_pid, signal.SIGCONT)

    ensure_control_topics(broker.entered_by())
    try:
        # Without anybody to say so it would give up, since the broker goes on only when that is said.
        assert until_folded(broker.entered_by(), lambda: 0.0, say, show, moves_within_seconds=30.0)
    finally:
        os.kill(broker_pid, signal.SIGCONT)
    assert [line.split(" ", 1)[0] for line in said] == ["Kafka", "Kafka"]
    assert "is waited for" in said[0]
    assert "answers again" in said[1]
