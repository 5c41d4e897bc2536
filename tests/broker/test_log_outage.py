"""The broker stands still for longer than a record may wait: whoever writes resumes by itself once it goes on."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from ops.embedded.kafka import EmbeddedKafka
from ops.host.process import EXIT_CRASHED
from ops.redelivery.dead_letter_log import DeadLetterLog
from ops.watch.deafness import Deafness
from ops.watch.incidents import IncidentLog
from ops.watch.standstills import StandstillLog
from schemas.agreement.anchor import Anchor
from schemas.dead_letter import DeadLetter
from schemas.errors import Transient
from schemas.feed import ANCHORS, GRANTS, INCIDENTS, STANDSTILLS, dead_letter_topic
from schemas.incident import MemoryIncidents, key_of
from schemas.log.control import follower
from schemas.log.control.follower import Follower
from schemas.log.control.records import publish
from schemas.log.control.store import ControlStore
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log
from schemas.registry import topic as topic_module
from schemas.registry.client import RegistryClient
from schemas.registry.server import RegistryServer
from sinks.lane.standstill import StandingStill
from tests.broker.conftest import running_registry
from tests.stage import feeds
from tests.stage.kafka_text import written
from tests.stage.until import until, until_none

ROOT = Path(__file__).parent.parent.parent
ANCHOR = Anchor(public_key=b"\1" * 32, name="district")
FOLLOWING = """
import sys, time
from ops.host import process
from schemas.log.control.follower import Follower
from tests.stage.kafka_text import read
process.log_to(sys.stderr, "INFO")
process.watch_threads()
Follower(read(sys.argv[1]))
print("following", flush=True)
time.sleep(120)
"""
BRIEF = {"delivery.timeout.ms": "2000", "socket.timeout.ms": "1000", "request.timeout.ms": "1000"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker of this file's own, which it may stop."""
    kafka = EmbeddedKafka(tmp_path_factory.mktemp("kafka"))
    kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()


@contextmanager
def standing_still(broker: EmbeddedKafka) -> Iterator[None]:
    assert broker.pid
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


def topic_on(broker: EmbeddedKafka) -> str:
    topic = f"t.{secrets.token_hex(4)}"
    feeds.create(broker.entered_by(), topic, partitions=1)
    return topic


def values(broker: EmbeddedKafka, topic: str) -> list[bytes | None]:
    return [message.value() for message in feeds.read_all(broker.entered_by(), [topic])[topic, 0]]


def failed(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except Transient as error:
        return str(error)
    return ""


def test_progress_is_saved_again_after_an_outage_that_outlasts_the_delivery(broker: EmbeddedKafka) -> None:
    topic = topic_on(broker)
    with closing(Log(broker.entered_by(), client_id="test", extra=BRIEF)) as log:
        store = ControlStore(broker.entered_by(), topic, log, within_seconds=3)
        store.save("police.main", {"at": 1})
        with standing_still(broker):
            assert failed(lambda: store.save("police.main", {"at": 2}))
            assert failed(lambda: store.save("police.main", {"at": 3}))
        until(lambda: not failed(lambda: store.save("police.main", {"at": 4})), 30, "the place is saved again")
        assert store.load("police.main") == {"at": 4}


def test_what_was_said_of_an_outage_and_is_over_with_it_goes(broker: EmbeddedKafka) -> None:
    ensure_control_topics(broker.entered_by())
    key, standing = key_of("process", "capture"), StandingStill(called_by="its key", reason="gone")
    with ExitStack() as parts:
        log = parts.enter_context(closing(Log(broker.entered_by(), client_id="test")))
        stores = [
            ControlStore(broker.entered_by(), topic, log, within_seconds=1.0) for topic in (INCIDENTS, STANDSTILLS)
        ]
        told = parts.enter_context(closing(IncidentLog(stores[0])))
        told.begin("process", "streams", state="parked", reason="before the outage")
        until(lambda: bool(stores[0].all()), 30, "it stands")
        kept = parts.enter_context(closing(StandstillLog(stores[1])))
        with standing_still(broker):
            told.begin("process", "capture", state="parked", reason="grants cannot be read")
            kept.keep("sub.court.main", standing)
            until(lambda: stores[0].is_unsure(key), 30, "it is written, and not acknowledged")
            until(lambda: stores[1].is_unsure("sub.court.main"), 30, "it is written, and not acknowledged")
            told.end("process", "capture")
            kept.forget("sub.court.main")
        told.end("process", "streams")
        until(lambda: not stores[0].all(), 60, "what began with the outage has ended with it")
        until(lambda: not stores[1].all(), 60, "the lane does not stand still")
        assert kept.of("sub.court.main") is None


def test_a_registry_whose_write_outlasts_an_outage_says_so_and_its_successor_goes_on(
    broker: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_module, "WRITE_SECONDS", 1.0)
    topic = f"_schemas_{secrets.token_hex(4)}"
    server, stop, ended = RegistryServer(broker.entered_by(), topic=topic), threading.Event(), list[BaseException]()

    def serve() -> None:
        try:
            server.run(stop)
        except BaseException as error:  # noqa: BLE001 - looked at below
            ended.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert server.ready.wait(60)
        with closing(RegistryClient(server.url)) as client:
            known = client.register("a", {"type": "int"})
        with standing_still(broker):
            body = {"schema": '{"type": "long"}'}
            answer = httpx.post(f"{server.url}/subjects/b/versions", json=body, timeout=60)
            assert answer.status_code == 500
            thread.join(60)
            assert not thread.is_alive(), "it ends"
    finally:
        stop.set()
        thread.join(60)
    (error,) = ended
    assert isinstance(error, Transient), error
    assert "the broker did not answer in time" in str(error)
    assert "another registry" not in str(error)
    with running_registry(broker.entered_by(), topic) as successor, closing(RegistryClient(successor.url)) as client:
        assert client.register("a", {"type": "int"}) == known
        assert client.register("b", {"type": "long"}) > known


def test_a_failure_is_told_once_and_the_next_record_goes_by_a_new_lane(broker: EmbeddedKafka) -> None:
    topic = topic_on(broker)
    with closing(Log(broker.entered_by(), client_id="test", extra=BRIEF)) as log:
        with standing_still(broker):
            log.append(topic, b"k", b"lost")
            assert failed(lambda: log.flush(10))
        until(lambda: not failed(lambda: log.write([(topic, b"k", b"direct", -1, None)], 5)), 30, "the broker is back")
        log.append(topic, b"k", b"after")
        log.flush(10)
        assert values(broker, topic)[-1] == b"after"

        with standing_still(broker):  # and where nobody has waited for it yet: its appender hears of it
            log.append(topic, b"k", b"lost too")
            assert failed(lambda: log.write([(topic, b"k", b"another writer's", -1, None)], 10))
            assert failed(lambda: log.append(topic, b"k", b"next"))
        log.append(topic, b"k", b"at last")
        until(lambda: not failed(lambda: log.flush(10)), 30, "what is appended afterwards arrives")


def test_a_lane_whose_producer_is_dead_for_good_gets_another_producer(broker: EmbeddedKafka) -> None:
    topic = topic_on(broker)
    with closing(Log(broker.entered_by(), client_id="test")) as log:
        lane = log.lane()
        lane.fail(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "sequence", fatal=True), topic)
        with pytest.raises(Transient):
            lane.append(topic, b"k", b"by the dead one")
        log.write([(topic, b"k", b"by the next", -1, None)], 10)
        log.append(topic, b"k", b"and by its own lane")
        log.flush(10)
    assert values(broker, topic) == [b"by the next", b"and by its own lane"]


def letter_of(topic: str, subscriber: str) -> DeadLetter:
    return DeadLetter(
        topic=topic,
        partition=0,
        offset=7,
        key=b"k",
        value=b"v",
        hop="deliver",
        reason="check",
        subscriber=subscriber,
    )


def test_a_dead_letter_under_way_in_an_outage_is_kept_once(broker: EmbeddedKafka) -> None:
    feed = f"t.{secrets.token_hex(4)}"
    feeds.create(broker.entered_by(), dead_letter_topic(feed), partitions=1)
    with closing(Log(broker.entered_by(), client_id="test")) as log:
        keep = DeadLetterLog(log, within_seconds=1)
        with standing_still(broker):
            for _ in range(3):
                assert failed(lambda: keep(letter_of(feed, "transport")))
        until(lambda: not failed(lambda: keep(letter_of(feed, "transport"))), 30, "the letter is kept")
    assert values(broker, dead_letter_topic(feed)) == [b"v"]


def test_a_dead_letter_that_fails_for_good_is_written_anew(broker: EmbeddedKafka) -> None:
    feed = f"t.{secrets.token_hex(4)}"
    feeds.create(broker.entered_by(), dead_letter_topic(feed), partitions=1)
    with closing(Log(broker.entered_by(), client_id="test", extra=BRIEF)) as log:
        keep = DeadLetterLog(log, within_seconds=5)
        with standing_still(broker):
            for _ in range(2):
                assert failed(lambda: keep(letter_of(feed, "transport")))
        until(lambda: not failed(lambda: keep(letter_of(feed, "transport"))), 30, "the letter is kept")
    assert values(broker, dead_letter_topic(feed)) == [b"v"]


def test_one_subscribers_dead_letters_do_not_wait_for_anothers(broker: EmbeddedKafka) -> None:
    missing, feed = f"t.{secrets.token_hex(4)}", f"t.{secrets.token_hex(4)}"
    feeds.create(broker.entered_by(), dead_letter_topic(feed), partitions=1)
    with closing(Log(broker.entered_by(), client_id="test")) as log:
        keep = DeadLetterLog(log, within_seconds=5)
        held_up = threading.Thread(target=lambda: failed(lambda: keep(letter_of(missing, "housing"))))
        held_up.start()
        for _ in range(20):
            keep(letter_of(feed, "transport"))
        assert held_up.is_alive(), "the other one still waits"
        held_up.join()
    assert len(values(broker, dead_letter_topic(feed))) == 20


def test_grants_that_cannot_be_read_for_long_are_told_and_read_once_kafka_answers(
    broker: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in {"HEARING_EVERY_SECONDS": 0.2, "HEARING_ANSWER_SECONDS": 0.5, "DEAF_SECONDS": 1.0}.items():
        monkeypatch.setattr(follower, name, seconds)
    ensure_control_topics(broker.entered_by())
    with (
        closing(Log(broker.entered_by(), client_id="test")) as log,
        closing(Follower(broker.entered_by())) as directory,
    ):
        incidents = MemoryIncidents()
        directory.tell_deafness(Deafness(incidents, "delivery"))
        with standing_still(broker):
            until(lambda: "grants cannot be read" in caplog.text, 60, "the log says so")
            (incident,) = until(lambda: list(incidents.present().values()), 60, "and so do the incidents")
            assert (incident.kind, incident.name, incident.state) == ("process", "delivery", "parked")
            assert "a revocation is not seen" in incident.reason
        publish(log.append, ANCHORS, ANCHOR.fingerprint, ANCHOR.to_json())
        log.flush(30)
        until(lambda: directory().anchors, 30, "what is agreed is read again")
        until(lambda: "grants are read again" in caplog.text, 60, "and the log says that too")
        until_none(incidents.present, 60, "and the incident ends")


def test_a_process_that_can_no_longer_hear_of_revocations_ends(broker: EmbeddedKafka) -> None:
    ensure_control_topics(broker.entered_by())
    admin = AdminClient(broker.entered_by().client({}))
    line = [sys.executable, "-c", FOLLOWING, written(broker.entered_by())]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "following\n"
        admin.delete_topics([GRANTS])[GRANTS].result(30)
        _, said = process.communicate(timeout=90)
    assert process.returncode == EXIT_CRASHED
    assert "the thread 'directory' died, which ends the process: control topics:" in said
