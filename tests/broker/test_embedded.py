"""The embedded servers, as they are: risks of starting, logging in, dying."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage] - re-exported without saying so
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from psycopg.conninfo import conninfo_to_dict

from ops.embedded import database
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import SUPERUSER, Postgres
from ops.embedded.program import Program, launch, wait_ready
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.topics import TopicSpec, ensure_topics
from schemas.log.writer import Log
from tests.conftest import Database
from tests.stage.until import until

STANDS_STILL_SECONDS = 12


def test_broker_serves_topics_of_several_partitions(kafka: Kafka, unique: str):
    admin = AdminClient(kafka.client({}))
    admin.create_topics([NewTopic(unique, num_partitions=4, replication_factor=1)])[unique].result(30)
    assert len(admin.list_topics(unique, timeout=30).topics[unique].partitions) == 4


def test_broker_that_stood_still_leads_on_and_one_that_was_killed_comes_back(tmp_path: Path, unique: str) -> None:
    kafka = EmbeddedKafka(tmp_path)
    running = kafka.start()
    try:
        ensure_topics(kafka.entered_by(), {unique: TopicSpec(partitions=1)})
        led = leader_epoch(kafka.entered_by(), unique)
        os.kill(running.pid, signal.SIGSTOP)
        time.sleep(STANDS_STILL_SECONDS)  # longer than what a broker is given by default
        os.kill(running.pid, signal.SIGCONT)
        until(lambda: offset_written(kafka.entered_by(), unique) == 0, 30, "the broker goes on")
        assert leader_epoch(kafka.entered_by(), unique) == led, "it was fenced: what commits meanwhile gets no marker"
        running.kill()
        kafka.start()
        assert offset_written(kafka.entered_by(), unique) == 1
        assert kafka.bootstrap in (tmp_path / "server.properties").read_text()
    finally:
        kafka.stop()


def test_broker_starts_from_what_an_earlier_one_learned_and_also_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = EmbeddedKafka(tmp_path / "learned")
    running = learned.start()
    try:
        assert ".aot" in Path(f"/proc/{running.pid}/maps").read_text()
    finally:
        learned.stop()
    damaged = tmp_path / "damaged.aot"
    damaged.write_bytes(b"\0" * 4096)
    monkeypatch.setattr("ops.embedded.kafka.aot_cache", lambda *_: damaged)
    without = EmbeddedKafka(tmp_path / "without")
    without.start()
    without.stop()


def test_what_was_committing_as_the_broker_was_killed_is_marked_once_it_is_back(tmp_path: Path, unique: str) -> None:
    kafka = EmbeddedKafka(tmp_path)
    running = kafka.start()
    try:
        ensure_topics(kafka.entered_by(), {unique: TopicSpec(partitions=1)})
        producer = Producer(kafka.entered_by().client({"transactional.id": unique, "log_level": 0}))
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(unique, b"value", b"key", 0)
        producer.commit_transaction(60)
        marked, state = (tmp_path / "data" / name / f"{0:020}.log" for name in (f"{unique}-0", "__transaction_state-0"))
        until(lambda: len(batches(state)) == 4, 30, "it begins, has a partition, commits, and is complete")
        running.kill()
        for log in (marked, state):  # as if it had been killed before anybody was told of the commit
            os.truncate(log, batches(log)[-1])
        kafka.start()
        until(lambda: readable(kafka.entered_by(), unique) == 2, 30, "it is marked again")
    finally:
        kafka.stop()


def batches(log: Path) -> list[int]:
    """Where each batch of records begins in a partition's only file."""
    data, at = log.read_bytes(), [0]
    while at[-1] < len(data):  # its offset, how many bytes follow, and those
        at.append(at[-1] + 12 + int.from_bytes(data[at[-1] + 8 : at[-1] + 12]))
    return at[:-1]


def readable(kafka: Kafka, topic: str) -> int:
    """How far a reader gets in the topic's partition."""
    admin, place = AdminClient(kafka.client({})), TopicPartition(topic, 0)
    latest: Any = OffsetSpec.latest()
    return admin.list_offsets({place: latest}, isolation_level=IsolationLevel.READ_COMMITTED)[place].result(30).offset


def leader_epoch(kafka: Kafka, topic: str) -> int | None:
    """How often the partition's leader was chosen."""
    admin, place = AdminClient(kafka.client({})), TopicPartition(topic, 0)
    latest: Any = OffsetSpec.latest()
    return admin.list_offsets({place: latest})[place].result(30).leader_epoch


def offset_written(kafka: Kafka, topic: str) -> int:
    """Write one record; where it stands."""
    with closing(Log(kafka, client_id="embedded")) as log:
        log.write([(topic, b"key", b"value", 0, None)], 30)
    return bounds(kafka, topic, 0)[1] - 1


def test_database_decodes_logically_and_asks_for_a_password(postgres: Database, unique: str):
    dsn = postgres.create_database(unique)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        assert connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("on",)
    without = {**conninfo_to_dict(dsn), "password": "wrong"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**without)


def test_subscriber_reads_what_its_acl_names_and_nothing_else(kafka: Kafka, kafka_sasl: str, unique: str):
    admin = AdminClient(kafka.client({}))
    granted, other = f"{unique}.granted", f"{unique}.other"
    for created in admin.create_topics([NewTopic(granted, 1, 1), NewTopic(other, 1, 1)]).values():
        created.result(30)
    credential = UserScramCredentialUpsertion(unique, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"pw")
    admin.alter_user_scram_credentials([credential])[unique].result(30)
    allowed = [
        AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{unique}", "*", AclOperation.READ, AclPermissionType.ALLOW
        )
        for kind, name in ((ResourceType.TOPIC, granted), (ResourceType.GROUP, unique))
    ]
    for acl in admin.create_acls(allowed).values():
        acl.result(30)
    producer = Producer(kafka.client({}))
    producer.produce(granted, b"yes")
    producer.produce(other, b"no")
    assert producer.flush(30) == 0

    subscriber = Kafka(kafka_sasl, user=unique, password="pw")
    login = subscriber.client({"group.id": unique, "auto.offset.reset": "earliest"})
    assert read_one(login, granted) == b"yes"
    assert read_one(login, other) == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_port_that_is_taken_after_it_was_chosen_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as rival:
        offers = iter([[rival.getsockname()[1]]])
        choose = database.free_ports
        monkeypatch.setattr(database, "free_ports", lambda count, known: next(offers, None) or choose(count, known))
        server = Postgres(tmp_path, is_durable=False)
        server.start()
        try:
            assert server.port != rival.getsockname()[1]
            server.create_database(f"{SUPERUSER}_x")
        finally:
            server.stop()


def test_directory_is_free_only_once_every_process_that_lived_in_it_is_gone(tmp_path: Path):
    # The child forks and ends; what it forked lives on and, unlike a pid file, still holds the directory.
    lingering = "import os, time; os.fork() or time.sleep(3600)"
    program = Program(
        name="lingering", argv=[sys.executable, "-c", lingering], log=tmp_path / "log", lives_in=tmp_path / "data"
    )
    first = launch(program)
    assert first.wait() == 0
    with pytest.raises(Transient, match="an earlier one still runs"):
        launch(program, vacant_within_seconds=0.2)
    first.stop()
    launch(program, vacant_within_seconds=10).stop()


def test_program_that_is_missing_says_so_in_its_log(tmp_path: Path):
    running = launch(Program(name="missing", argv=[str(tmp_path / "nothing")], log=tmp_path / "log"))
    with pytest.raises(Transient, match=r"missing ended with status 1.*(?s:.*)nothing"):
        wait_ready(running, lambda: False, 10)


def read_one(login: dict[str, str], topic: str) -> bytes | int | None:
    """The first record's value, or the code of the first error that is not about connecting."""
    consumer = Consumer(login)
    try:
        consumer.subscribe([topic])
        message = until(lambda: consumer.poll(1), 30, f"a record or a refusal from {topic}")
        error = message.error()
        return error.code() if error else message.value()
    finally:
        consumer.close()
