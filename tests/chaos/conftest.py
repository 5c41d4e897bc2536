"""What the kill tests share, also with the broker tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from schemas.log.kafka import Kafka
from tests.broker.conftest import registry
from tests.stage.flow_city import City

__all__ = ["city", "registry"]


@pytest.fixture
def city(kafka: Kafka, registry: str, unique: str) -> Iterator[City]:
    with closing(City(kafka, registry, f"{unique}.")) as made:
        yield made
