"""Kafka with TLS: the mesh enters by settings alone, by password or by certificate, and says in one line why it cannot."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from schemas.change import Batch
from schemas.errors import Misconfigured
from schemas.log.control.store import ControlStore
from schemas.log.entering import check
from schemas.log.kafka import Kafka
from schemas.log.range import read_range
from schemas.log.reader import Reader
from schemas.log.transaction import TransactionWriter
from schemas.log.writer import Log
from streams.worker.app import StreamWorker
from tests.stage import feeds
from tests.stage.running_mesh import run
from tests.stage.secured import Authority, SecuredKafka
from tests.stage.until import until


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    broker = SecuredKafka(tmp_path_factory.mktemp("secured"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(params=["password", "certificate"])
def kafka(request: pytest.FixtureRequest, secured: SecuredKafka) -> Kafka:
    return secured.by_password() if request.param == "password" else secured.by_certificate()


def test_every_client_of_the_mesh_gets_in(kafka: Kafka, tmp_path: Path) -> None:
    topic, group = f"t.{secrets.token_hex(4)}", secrets.token_hex(4)
    feeds.create(kafka, topic, partitions=1)
    with closing(Log(kafka, client_id="tests")) as log:
        log.write([(topic, b"k", b"written", 0, None)], 30)
        assert ControlStore(kafka, topic, log).all() is not None
    with closing(TransactionWriter(kafka, group)) as writer:
        writer.write([], (topic, b"k", b"in a transaction", 0, None))
    assert [record.value for batch in read_range(kafka, topic, 0, 0, 2) for record in batch.records] == [
        b"written",
        b"in a transaction",
    ]
    with closing(Reader(kafka, f"{group}.reader")) as reader:
        reader.follow([topic])
        until(lambda: reader.batches(records_max=9, bytes_max=1 << 20, within_seconds=0.2), 60, "the reader reads")

    heard, stop = list[bytes | None](), threading.Event()

    def handle(batches: Sequence[Batch]) -> None:
        heard.extend(record.value for batch in batches for record in batch.records)
        if len(heard) >= 2:
            stop.set()

    worker = StreamWorker(
        kafka=kafka, group=group, topics=lambda: frozenset({topic}), handle=handle, data_dir=tmp_path, instance_id=None
    )
    worker.run(stop)
    assert heard == [b"written", b"in a transaction"]


def test_a_wrong_password_is_one_clear_line(secured: SecuredKafka) -> None:
    with pytest.raises(Misconfigured) as refused:
        check(secured.by_password("another-password-1"))
    assert "refuses the login of mesh" in str(refused.value)
    assert "MESH_KAFKA_PASSWORD" in refused.value.fix
    assert "another-password-1" not in str(refused.value) + repr(secured.by_password("another-password-1"))


def test_a_command_with_a_wrong_password_says_so(secured: SecuredKafka, tmp_path: Path) -> None:
    others = {"MESH_REGISTRY": "http://127.0.0.1:9", "MESH_DATABASE": "dbname=none"}
    for command in ("catalogue", "status"):
        wrong = {**secured.by_password("another-password-1").environment(), **others}
        ran = run(command, "--dir", tmp_path, env=wrong)
        assert ran.status == 1
        assert "refuses the login of mesh" in ran.err, ran.err
        assert "MESH_KAFKA_PASSWORD" in ran.err


def test_an_expired_certificate_of_ours_is_one_clear_line(secured: SecuredKafka) -> None:
    with pytest.raises(Misconfigured) as refused:
        check(secured.by_certificate(days=-1))
    assert "expired" in str(refused.value)
    assert "MESH_KAFKA_CERTIFICATE" in refused.value.fix


def test_an_expired_certificate_of_the_brokers_is_one_clear_line(tmp_path: Path) -> None:
    broker = SecuredKafka(tmp_path, days=-1)
    broker.start()
    try:
        with pytest.raises(Misconfigured) as refused:
            check(broker.by_password())
    finally:
        broker.stop()
    assert "certificate has expired" in str(refused.value)
    assert "renew the broker's certificate" in refused.value.fix


def test_a_broker_that_somebody_else_signed_for_is_not_believed(secured: SecuredKafka, tmp_path: Path) -> None:
    stranger = Authority(tmp_path)
    ours = secured.by_password()
    with pytest.raises(Misconfigured, match="the broker's certificate is refused") as refused:
        check(Kafka(ours.bootstrap, user=ours.user, password=ours.password, ca=str(stranger.file)))
    assert "MESH_KAFKA_CA" in refused.value.fix


def test_a_certificate_that_is_not_given_is_asked_for(secured: SecuredKafka) -> None:
    ours = secured.by_certificate()
    with pytest.raises(Misconfigured) as refused:
        check(Kafka(ours.bootstrap, ca=ours.ca))
    assert "MESH_KAFKA_CERTIFICATE" in refused.value.fix
