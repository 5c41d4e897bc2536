"""Entering: whether Kafka lets us in, and in words why not. A client says only that a question was not answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.tls import tls_trouble

WITHIN_SECONDS = 5.0
_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})


def check(kafka: Kafka, *, within_seconds: float = WITHIN_SECONDS) -> None:
    """Ask once whether Kafka answers. Raises Misconfigured where it refuses the login or the certificate, else Transient."""
    met: list[int] = []
    admin = AdminClient(kafka.client({"log_level": 0, "error_cb": lambda error: met.append(error.code())}))
    try:
        admin.list_topics(timeout=within_seconds)
    except KafkaException as error:
        admin.poll(0)  # what the client has met meanwhile is told here
        if not _REFUSED.isdisjoint(met):
            fix = "correct MESH_KAFKA_USER and MESH_KAFKA_PASSWORD"
            raise Misconfigured(f"kafka at {kafka}", f"refuses the login of {kafka.user}", fix=fix) from error
        fix = "are the brokers up, and is the bootstrap address right?"
        raise tls_trouble(kafka) or Transient(f"kafka at {kafka}: {error.args[0].str()}", fix=fix) from error


@contextmanager
def telling_refusals(kafka: Kafka) -> Iterator[None]:
    """A question that is not answered since Kafka does not let us in fails with that: Misconfigured in place of Transient."""
    try:
        yield
    except Transient:
        check(kafka)
        raise
