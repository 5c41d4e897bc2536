"""The writer of a stateful task takes every setting that the mesh takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from ops.settings import DELIVERY_TIMEOUT, load
from schemas.log.kafka import Kafka
from schemas.log.transaction import configuration

NOWHERE = "127.0.0.1:9"


@pytest.mark.parametrize("seconds", ["", "1", "60", "120", "900"])
def test_a_writer_of_transactions_takes_every_delivery_timeout_that_is_accepted(
    seconds: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "MESH_KAFKA": NOWHERE,
        "MESH_DATABASE": "dbname=none",
        "MESH_REGISTRY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(DELIVERY_TIMEOUT, seconds)
    taken = configuration(Kafka(NOWHERE), "task-0", load(tmp_path).producer)
    assert int(taken["transaction.timeout.ms"]) >= int(taken["delivery.timeout.ms"])
    Producer({**taken, "log_level": 0})  # the client refuses it otherwise
