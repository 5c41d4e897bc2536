"""Kafka, as one text for a child process: where it is and our login there."""

from __future__ import annotations

import json

from schemas.log.kafka import Kafka


def written(kafka: Kafka) -> str:
    return json.dumps(kafka.environment())


def read(text: str) -> Kafka:
    return Kafka.of(json.loads(text))
