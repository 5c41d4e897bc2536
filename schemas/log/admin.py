"""Administration: the client that asks about and changes topics and rights, and what its refusals mean."""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.entering import AWAY
from schemas.log.kafka import Kafka

WITHIN_SECONDS = 30.0


def admin_client(kafka: Kafka) -> AdminClient:
    """Keep it in a variable until the answer is there: its futures fail when it is collected before."""
    return AdminClient(kafka.client({"log_level": 0}))


def partition_counts(admin: AdminClient, topics: Iterable[str]) -> dict[str, int]:
    """Partition counts of those topics that exist. Asks for all topics: asking for one by name could create it."""
    try:
        known = admin.list_topics(timeout=WITHIN_SECONDS).topics
    except KafkaException as error:
        raise unwell(error) from error
    return {topic: len(known[topic].partitions) for topic in topics if topic in known and known[topic].partitions}


def results(futures: Mapping[Any, Future[Any]]) -> dict[Any, Any]:
    """Wait for every answer. Raises what the first refusal means."""
    try:
        return {subject: future.result() for subject, future in futures.items()}
    except KafkaException as error:
        raise unwell(error) from error


FIXES: Mapping[int, str] = {
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give the onboarding user Create, Describe and Alter on the cluster",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give the onboarding user Create, Describe and Alter on the cluster",
    KafkaError.INVALID_REPLICATION_FACTOR: "ask for no more replicas than there are brokers",
    KafkaError.TOPIC_EXCEPTION: "name it as schemas/feed.py says",
    KafkaError.POLICY_VIOLATION: "ask the brokers' operator",
}


def unwell(error: KafkaException, what: str = "kafka") -> MeshError:
    """The mesh's error for Kafka's: Misconfigured when asking again cannot help, Transient otherwise."""
    cause = error.args[0]
    if fix := FIXES.get(cause.code()):
        return Misconfigured(what, cause.str(), fix=fix)
    return Transient(f"{what}: {cause.str()}", fix=AWAY)
