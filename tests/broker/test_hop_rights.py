"""Default deny on the log itself: who is not logged in gets nothing, and a hop writes what is its own and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from schemas.feed import AUDIT, GRANTS, INCIDENTS
from schemas.log.kafka import Kafka
from schemas.log.rights.hops import ALL, HOPS, OWN
from tests.stage import feeds, server_host
from tests.stage.running_mesh import RunningMesh
from tests.stage.until import until


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    return json.loads(server_host.address("kafka", Path(os.environ["MESH_TEST_RUN"])))


def refused(kafka: Kafka, topic: str) -> str:
    """What becomes of a record that is written to a topic; empty if it is taken."""
    answers: list[KafkaError | None] = []
    producer = Producer(kafka.client({"log_level": 0, "message.timeout.ms": 20_000}))
    producer.produce(topic, None, b"forged", 0, on_delivery=lambda error, _message: answers.append(error))
    producer.flush(30)
    error = answers[0]
    return error.name() if error else ""


def test_no_listener_of_the_broker_answers_without_a_login(settings: dict[str, str]) -> None:
    for address in (settings["MESH_KAFKA"], settings["MESH_KAFKA_SASL"]):
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=3)


@pytest.mark.parametrize("hop", HOPS)
def test_a_hop_forges_no_record_of_another(mesh: RunningMesh, settings: dict[str, str], hop: str) -> None:
    forger = Kafka.of(settings, hop)
    assert forger.user == hop
    foreign = [topic for topic in OWN if topic not in HOPS[hop].writes]
    assert GRANTS in foreign
    found = {topic: refused(forger, topic) for topic in foreign}
    assert set(found.values()) == {"TOPIC_AUTHORIZATION_FAILED"}, found


def test_only_commands_write_what_is_granted() -> None:
    writers = {topic: sorted(hop for hop, rights in HOPS.items() if topic in rights.writes) for topic in OWN}
    assert writers[GRANTS] == []
    assert writers == {
        "_schemas": ["registry"],
        "mesh.agencies": [],
        "mesh.anchors": [],
        "mesh.audit": ["capture", "console", "delivery", "opendata", "registry", "streams"],
        "mesh.capture": ["capture"],
        "mesh.contracts": [],
        "mesh.decisions": [],
        "mesh.delivered": ["delivery"],
        "mesh.egress": ["streams"],
        "mesh.endings": ["delivery"],
        "mesh.flow_intake": ["flows"],
        "mesh.flow_state": ["flows"],
        "mesh.flows": ["flows"],
        "mesh.grants": [],
        "mesh.identity": [],
        "mesh.incidents": ["capture", "console", "delivery", "flows", "opendata", "streams"],
        "mesh.ledger": ["capture", "console", "delivery", "streams"],
        "mesh.letters": ["streams"],
        "mesh.logins": ["delivery"],
        "mesh.objections": ["streams"],
        "mesh.offboarded": ["capture", "delivery"],
        "mesh.pauses": [],
        "mesh.replays": ["delivery"],
        "mesh.resyncs": [],
        "mesh.standstills": ["delivery"],
        "mesh.subscribers": ["delivery"],
        "mesh.tokens": [],
    }
    assert [hop for hop, rights in HOPS.items() if ALL in rights.writes] == ["capture", "flows"]
    # Who may write the audit may do so as all its writers do, or the chain would fork, and nobody else may end their transactions.
    assert sorted(hop for hop, rights in HOPS.items() if AUDIT in rights.transactions) == writers[AUDIT]


def test_a_forged_record_is_told_in_the_brokers_log(mesh: RunningMesh, settings: dict[str, str]) -> None:
    log = Path(os.environ["MESH_TEST_RUN"]) / "kafka" / "kafka.log"
    assert refused(Kafka.of(settings, "console"), GRANTS)
    until(
        lambda: any("User:console is Denied" in line and GRANTS in line for line in log.read_text().splitlines()),
        60,
        "the broker says who was refused",
    )
    assert refused(Kafka.of(settings, "console"), INCIDENTS) == ""
    feeds.create(Kafka.of(settings), f"{mesh.unique}.t", partitions=1)
    assert refused(Kafka.of(settings, "console"), f"{mesh.unique}.t") == "TOPIC_AUTHORIZATION_FAILED"
