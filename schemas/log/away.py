"""Kafka away: a hop that starts meanwhile waits, and says so, instead of ending (invariant 7).

Whoever supervises hops would start one that ends again and again, ever more slowly; one that waits is there at once when Kafka is.
"""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.tls import tls_trouble
from schemas.log.topics import ensure_control_topics

ANSWERS_WITHIN_SECONDS = 2.0
CHECKED_WITHIN_SECONDS = 5.0
TELL_SECONDS = 30.0

_logger = logging.getLogger(__name__)


class Refusals:
    """An `error_cb` that keeps that a login was refused: what a question then answers is that nobody is there."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._is_refused = False

    def __call__(self, error: KafkaError) -> None:
        """Take note of an error that the client met by itself."""
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            self._is_refused = True

    def told(self, admin: AdminClient, error: KafkaException) -> MeshError:
        """The mesh's error for a question of this client that failed: Misconfigured if it was not let in, else Transient."""
        admin.poll(0)  # what the client has met meanwhile is told here
        if self._is_refused:
            fix = "correct MESH_KAFKA_USER and MESH_KAFKA_PASSWORD"
            return Misconfigured(f"kafka at {self._kafka}", f"refuses the login of {self._kafka.user}", fix=fix)
        fix = "are the brokers up, and is the bootstrap address right?"
        return tls_trouble(self._kafka) or Transient(f"kafka at {self._kafka}: {error.args[0].str()}", fix=fix)


def check(kafka: Kafka) -> None:
    """Ask once whether Kafka answers. Raises Misconfigured when it refuses the login or the certificate, else Transient."""
    refusals = Refusals(kafka)
    admin = AdminClient(kafka.client({"log_level": 0, "error_cb": refusals}))
    try:
        admin.list_topics(timeout=CHECKED_WITHIN_SECONDS)
    except KafkaException as error:
        raise refusals.told(admin, error) from error


def wait_for_kafka(kafka: Kafka, stop: threading.Event) -> bool:
    """Wait until Kafka answers and the control topics can be used; False if `stop` came first.

    Raises Misconfigured where Kafka refuses the login or the certificate: waiting does not help.
    """
    refusals = Refusals(kafka)
    admin = AdminClient(kafka.client({"log_level": 0, "reconnect.backoff.max.ms": 1_000, "error_cb": refusals}))
    began, told_at = time.monotonic(), float("-inf")
    while not stop.is_set():
        try:
            admin.list_topics(timeout=ANSWERS_WITHIN_SECONDS)
            ensure_control_topics(kafka)
        except (KafkaException, Transient) as error:
            now = time.monotonic()
            met = refusals.told(admin, error) if isinstance(error, KafkaException) else error
            if isinstance(met, Misconfigured):
                raise met from error
            reason = met.problem
            if now - told_at >= TELL_SECONDS:
                told_at = now
                _logger.warning("waits for Kafka at %s, for %.0f s so far: %s", kafka, now - began, reason)
            stop.wait(0.2)
        else:
            if told_at > 0:
                _logger.warning("Kafka answers after %.0f s: goes on", time.monotonic() - began)
            return True
    return False
