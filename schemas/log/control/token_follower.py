"""Token follower: the tokens that were issued, and the identities that were revoked, kept fresh from `mesh.tokens` in a thread.

It never ends its process: until Kafka was read, and again once Kafka was not heard for `DEAF_SECONDS`, it gives nobody's token, so
that none that was revoked meanwhile is good (invariant 6). What a process proves itself by to others of its mesh needs no Kafka.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.backoff import Backoff
from schemas.errors import Misconfigured, Transient
from schemas.feed import TOKENS
from schemas.guard.token import Token
from schemas.log.control.records import (
    HEARING_ANSWER_SECONDS,
    PASSING,
    control_consumer,
    decoded,
    end_of,
    ended_at,
    read_to,
)
from schemas.log.kafka import Kafka
from schemas.trace import described

FETCH_WAIT_MS = 500
HEARING_EVERY_SECONDS = 5.0
DEAF_SECONDS = 30.0
READ_WITHIN_SECONDS = 30.0
IDENTITY = "identity "
"""What the key of a revoked identity begins with; its record says when."""
_AGAIN = Backoff(first_seconds=0.2, longest_seconds=5.0)
_logger = logging.getLogger(__name__)


class TokenFollower:
    """Follows until `close`. Any thread may ask."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._tokens: dict[str, Token] = {}
        self._revoked: dict[str, float] = {}
        self._heard_at = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)
        self._thread.start()

    def token(self, token_id: str) -> Token | None:
        """The token of this id, revoked or not. Raises Transient where Kafka was not heard for too long to say."""
        self._must_hear()
        return self._tokens.get(token_id)

    def revoked_at(self, identity: str) -> float | None:
        """Until when (epoch seconds) what an identity provider gave this identity is no longer good. Raises Transient."""
        self._must_hear()
        return self._revoked.get(identity)

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join(5)

    def _must_hear(self) -> None:
        if time.monotonic() - self._heard_at > DEAF_SECONDS:
            raise Transient(
                "tokens cannot be read from Kafka at present", retry_after_seconds=2.0, fix="ask again; `mesh status`"
            )

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            before = time.monotonic()
            try:
                consumer = control_consumer(self._kafka, fetch_wait_ms=FETCH_WAIT_MS)
                try:
                    self._follow(consumer)
                finally:
                    consumer.close()
            except (Transient, Misconfigured, KafkaException) as error:
                attempt = 0 if time.monotonic() - before > DEAF_SECONDS else attempt + 1
                _logger.warning("tokens are read again from the beginning: %s", described(error))
            self._stop.wait(_AGAIN.after(max(attempt, 1)))

    def _follow(self, consumer: Consumer) -> None:
        # What is gone from the topic meanwhile is gone here too: read into fresh ones, then put in the place of the former.
        tokens, revoked = dict[str, Token](), dict[str, float]()
        end = end_of(consumer, TOKENS, READ_WITHIN_SECONDS)
        for _, key, record in read_to(consumer, {TOKENS: end}, {}, READ_WITHIN_SECONDS):
            _take(tokens, revoked, key, record)
        self._tokens, self._revoked, self._heard_at = tokens, revoked, time.monotonic()
        read_upto, expected = end, end
        due = time.monotonic() + HEARING_EVERY_SECONDS
        while not self._stop.is_set():
            for message in consumer.consume(500, 0.2):
                error = message.error()
                if error is None:
                    _take(self._tokens, self._revoked, *decoded(message.key(), message.value()))
                    read_upto = max(read_upto, (message.offset() or 0) + 1)
                elif ended := ended_at(message):  # behind the mark of a transaction, which is no record
                    read_upto = max(read_upto, ended[1])
                elif error.code() not in PASSING:
                    raise Transient(f"{TOKENS}: {error.str()}")
            if time.monotonic() >= due:
                due = time.monotonic() + HEARING_EVERY_SECONDS
                expected = self._listen(consumer, read_upto, expected)

    def _listen(self, consumer: Consumer, read_upto: int, expected: int) -> int:
        """Kafka is heard if it answers, and what it had at the look before has come. What it has now."""
        try:
            high = consumer.get_watermark_offsets(TopicPartition(TOKENS, 0), HEARING_ANSWER_SECONDS)[1]
        except KafkaException as error:
            if error.args[0].code() not in PASSING:
                raise
            return expected
        if read_upto >= expected:
            self._heard_at = time.monotonic()
        elif time.monotonic() - self._heard_at > 2 * DEAF_SECONDS:
            raise Transient(f"{TOKENS}: Kafka answers, yet the newest do not come")
        return high


def _take(tokens: dict[str, Token], revoked: dict[str, float], key: str, record: Mapping[str, Any] | None) -> None:
    tokens.pop(key, None)  # one that cannot be read leaves no wider one in force
    if record is None:
        return
    try:
        if key.startswith(IDENTITY):
            revoked[key.removeprefix(IDENTITY)] = datetime.fromisoformat(record["revoked_at"]).timestamp()
        else:
            tokens[key] = Token.from_json(record)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the others stand
        _logger.error("%s: the record of %s cannot be read; it is left out: %s", TOKENS, key, described(error))  # noqa: TRY400
