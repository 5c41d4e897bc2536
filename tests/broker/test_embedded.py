"""The embedded servers, as they are: risks of starting, logging in, dying."""

from __future__ import annotations

import psycopg
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import Database


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
    try:
        psycopg.connect(**without).close()
    except psycopg.OperationalError:
        return
    raise AssertionError("a wrong password was taken")
