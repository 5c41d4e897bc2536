"""Kafka away: a hop that starts meanwhile waits, and says so, instead of ending (invariant 7).

Whoever supervises hops would start one that ends again and again, ever more slowly; one that waits is there at once when Kafka is.
"""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from schemas.errors import Transient
from schemas.log.topics import ensure_control_topics

ANSWERS_WITHIN_SECONDS = 2.0
TELL_SECONDS = 30.0

_logger = logging.getLogger(__name__)


def wait_for_kafka(bootstrap: str, stop: threading.Event) -> bool:
    """Wait until Kafka answers and the control topics can be used; False if `stop` came first. Raises Misconfigured."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 1_000})
    began, told_at = time.monotonic(), float("-inf")
    while not stop.is_set():
        try:
            admin.list_topics(timeout=ANSWERS_WITHIN_SECONDS)
            ensure_control_topics(bootstrap)
        except (KafkaException, Transient) as error:
            now = time.monotonic()
            reason = error.problem if isinstance(error, Transient) else error.args[0].str()
            if now - told_at >= TELL_SECONDS:
                told_at = now
                _logger.warning("waits for Kafka at %s, for %.0f s so far: %s", bootstrap, now - began, reason)
            stop.wait(0.2)
        else:
            if told_at > 0:
                _logger.warning("Kafka answers after %.0f s: goes on", time.monotonic() - began)
            return True
    return False
