"""Entering: whether Kafka lets us in, and in words why not. A client says only that a question was not answered."""

from __future__ import annotations

import logging
import time
from functools import cache

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.tls import tls_trouble

_logger = logging.getLogger(__name__)

AWAY = "start Kafka (`mesh up` does so for a mesh's own), or correct its address in MESH_KAFKA"
"""What to do where it does not answer."""
WITHIN_SECONDS = 5.0
_ASKED_EVERY_SECONDS = 0.5
_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})


def check(kafka: Kafka, *, within_seconds: float = WITHIN_SECONDS) -> None:
    """Ask whether Kafka answers. Raises Misconfigured as soon as it refuses the login or the certificate, else Transient."""
    met: list[int] = []
    admin = AdminClient(kafka.client({"log_level": 0, "error_cb": lambda error: met.append(error.code())}))
    deadline = time.monotonic() + within_seconds
    while True:
        try:
            admin.list_topics(timeout=_ASKED_EVERY_SECONDS)
        except KafkaException as error:
            admin.poll(0)  # what the client has met meanwhile is told here
            if not _REFUSED.isdisjoint(met):
                fix = "correct MESH_KAFKA_USER and MESH_KAFKA_PASSWORD"
                raise Misconfigured(f"kafka at {kafka}", f"refuses the login of {kafka.user}", fix=fix) from error
            if trouble := tls_trouble(kafka):
                raise trouble from error
            if time.monotonic() >= deadline:
                raise Transient(f"kafka at {kafka}: {error.args[0].str()}", fix=AWAY) from error
        else:
            return


def must_be_let_in(kafka: Kafka) -> None:
    """Raises Misconfigured where Kafka does not let us in: what is asked next would wait for an answer in vain.

    Asked once for each login. Where Kafka does not answer, that is said, and the question that follows waits for it.
    """
    try:
        _check_once(kafka)
    except Transient as error:
        _logger.warning("%s: it is waited for", error.problem)


@cache
def _check_once(kafka: Kafka) -> None:
    check(kafka, within_seconds=2.0)
