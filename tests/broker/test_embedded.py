"""The embedded servers, as they are: risks of starting, logging in, dying."""

from __future__ import annotations

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import Database
from tests.until import until


def test_broker_serves_topics_of_several_partitions(kafka: str, unique: str):
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(unique, num_partitions=4, replication_factor=1)])[unique].result(30)
    assert len(admin.list_topics(unique, timeout=30).topics[unique].partitions) == 4


def test_database_decodes_logically_and_asks_for_a_password(postgres: Database, unique: str):
    dsn = postgres.create_database(unique)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
        assert connection.execute("SELECT current_setting('is_superuser')").fetchone() == ("on",)
    without = {**conninfo_to_dict(dsn), "password": "wrong"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**without)


def test_subscriber_reads_what_its_acl_names_and_nothing_else(kafka: str, kafka_sasl: str, unique: str):
    admin = AdminClient({"bootstrap.servers": kafka})
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
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(granted, b"yes")
    producer.produce(other, b"no")
    assert producer.flush(30) == 0

    login = {
        "bootstrap.servers": kafka_sasl,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": unique,
        "sasl.password": "pw",
        "group.id": unique,
        "auto.offset.reset": "earliest",
    }
    assert read_one(login, granted) == b"yes"
    assert read_one(login, other) == KafkaError.TOPIC_AUTHORIZATION_FAILED


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
