"""Credentials: how Faust's client enters Kafka, from the one value that says so (schemas/log/kafka.py)."""

from __future__ import annotations

from faust.auth import SASLCredentials, SSLCredentials

from schemas.log.kafka import Kafka


def credentials(kafka: Kafka) -> SASLCredentials | SSLCredentials | None:
    """What Faust takes; None for a listener without a login or TLS. Raises Misconfigured for files that are none."""
    context = kafka.tls_context() if kafka.uses_tls else None
    if kafka.security.startswith("SASL"):
        return SASLCredentials(
            username=kafka.user, password=kafka.password, ssl_context=context, mechanism=kafka.mechanism
        )
    return SSLCredentials(context) if context else None
