"""Kafka away: a hop that starts meanwhile waits, and says so, instead of ending (invariant 7).

Whoever supervises hops would start one that ends again and again, ever more slowly; one that waits is there at once when Kafka is.
"""

from __future__ import annotations

import logging
import threading
import time

from schemas.errors import Transient
from schemas.log.entering import check
from schemas.log.kafka import Kafka
from schemas.log.topics import ensure_control_topics

ANSWERS_WITHIN_SECONDS = 2.0
TELL_SECONDS = 30.0

_logger = logging.getLogger(__name__)


def wait_for_kafka(kafka: Kafka, stop: threading.Event) -> bool:
    """Wait until Kafka answers and the control topics can be used; False if `stop` came first.

    Raises Misconfigured where Kafka refuses the login or the certificate: waiting does not help.
    """
    began, told_at = time.monotonic(), float("-inf")
    while not stop.is_set():
        try:
            check(kafka, within_seconds=ANSWERS_WITHIN_SECONDS)
            ensure_control_topics(kafka)
        except Transient as error:
            now = time.monotonic()
            if now - told_at >= TELL_SECONDS:
                told_at = now
                _logger.warning("waits for Kafka at %s, for %.0f s so far: %s", kafka, now - began, error.problem)
            stop.wait(0.2)
        else:
            if told_at > 0:
                _logger.warning("Kafka answers after %.0f s: goes on", time.monotonic() - began)
            return True
    return False
