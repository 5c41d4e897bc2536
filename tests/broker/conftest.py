"""What the broker tests share besides the servers: a schema registry of each worker's own, a database, capture of it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from schemas.log.kafka import Kafka
from schemas.registry.server import RegistryServer
from tests.stage.broker_rehearsal import BrokerRehearsal, on
from tests.stage.capturing import Rig


@contextmanager
def running_registry(kafka: Kafka, topic: str) -> Iterator[RegistryServer]:
    """A registry on a topic, in a thread, serving."""
    server, stop = RegistryServer(kafka, topic=topic), threading.Event()
    failure: list[BaseException] = []

    def serve() -> None:
        try:
            server.run(stop)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            failure.append(error)
            server.ready.set()

    thread = threading.Thread(target=serve, name=f"registry-{topic}")
    thread.start()
    try:
        assert server.ready.wait(60), "the registry does not come up"
        if failure:
            raise failure[0]
        yield server
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive(), "the registry does not stop"
    if failure:
        raise failure[0]


@pytest.fixture(scope="session")
def registry(kafka: Kafka) -> Iterator[str]:
    """Address of a schema registry; tests keep apart by subject."""
    with running_registry(kafka, f"_schemas_{secrets.token_hex(4)}") as server:
        yield server.url


@pytest.fixture
def dsn(postgres: Any, unique: str) -> str:
    """A new, empty database."""
    return postgres.create_database(unique)


@pytest.fixture
def rig(kafka: Kafka, dsn: str, unique: str) -> Rig:
    """Capture of that database; no feed is captured yet."""
    return Rig(kafka, dsn, unique)


@pytest.fixture
def rehearsal(kafka: Kafka, unique: str) -> Iterator[type[BrokerRehearsal]]:
    """What rehearses a flow through the broker, in place of tests/stage/rehearsal.py."""
    bound = on(kafka, unique)
    yield bound
    for opened in bound.opened:
        opened.close()
