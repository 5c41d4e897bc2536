"""The link to another mesh: where its Kafka and its registry are, what it says of itself, and its `out` topics as they come.

A connection is one secret text, as everywhere (SE-04):

    mesh://<user>:<password>@<host>:<port>[,<host>:<port>…]?registry=<url>

`user` is our code as a subscriber there. A registry that asks for a token has it as the password in its address,
percent-encoded as a whole: `registry=https%3A%2F%2Fus%3A<token>%40<host>%3A<port>`. Further parameters: `security` (default
SASL_PLAINTEXT; SASL_SSL between sites), `ca` (a file with the certificates to trust), `sink` (what we are called among that
subscriber's sinks; default main).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.agreement.identity import Statement
from schemas.change import Partition
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.feed import IDENTITY

ANSWERS_WITHIN_SECONDS = 10.0
FETCH_RECORDS = 2_000
SECURITY = ("SASL_PLAINTEXT", "SASL_SSL")

_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """A connection, taken apart."""

    bootstrap: str
    user: str
    password: str = field(repr=False)
    registry: str = field(repr=False)  # with a login in it, where it asks for one
    security: str = SECURITY[0]
    ca: str | None = None
    sink: str = "main"

    @classmethod
    def parse(cls, address: str, name: str) -> PeerAddress:
        """Read a connection's text. Raises Misconfigured, without showing any of it."""
        fix = "write it mesh://<user>:<password>@<host>:<port>?registry=<url>; see producers/mesh/link.py"
        try:
            url = urlsplit(address)
            login, _, bootstrap = url.netloc.rpartition("@")
            user, _, password = login.partition(":")
            given = {key: values[-1] for key, values in parse_qs(url.query, strict_parsing=True).items()}
        except ValueError as error:
            raise Misconfigured(f"source {name}", "its connection cannot be read", fix=fix) from error
        known = {"registry", "security", "ca", "sink"}
        is_whole = url.scheme == "mesh" and user and password and bootstrap and given.get("registry")
        if not is_whole or set(given) - known or given.get("security", SECURITY[0]) not in SECURITY:
            raise Misconfigured(f"source {name}", "its connection is not one to another mesh", fix=fix)
        return cls(bootstrap=bootstrap, user=unquote(user), password=unquote(password), **given)

    def settings(self) -> dict[str, str | bool | int]:
        """What a Kafka client needs to log in and to read what is committed."""
        settings: dict[str, str | bool | int] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security,
            "sasl.mechanism": "SCRAM-SHA-512",  # both sides prove themselves: a stranger at that address has no answer
            "sasl.username": self.user,
            "sasl.password": self.password,
            # Never joined: what is read is assigned by hand. Its commits tell the provider what has arrived.
            "group.id": f"sub.{self.user}.{self.sink}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # invariant 9: an offset that is gone is a gap (KF-12)
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 16_384,
            "fetch.wait.max.ms": 100,
            "log_level": 3,
        }
        return settings | ({"ssl.ca.location": self.ca} if self.ca else {})


class PeerLink:
    """An open connection to another mesh's Kafka. Used by one thread."""

    def __init__(self, address: PeerAddress, name: str) -> None:
        self._name = name
        self._user = address.user
        self._ends: dict[Partition, int] = {}
        self._trouble: KafkaError | None = None
        settings = {**address.settings(), "client.id": f"mesh-{name}", "error_cb": self._remember}
        try:
            self._consumer = Consumer(settings, logger=_logger)
        except KafkaException as error:
            fix = "correct the connection; see producers/mesh/link.py"
            raise Misconfigured(
                f"source {name}", f"its connection is refused: {error.args[0].str()}", fix=fix
            ) from error

    def look(self, topics: Iterable[str]) -> tuple[str, dict[Partition, tuple[int, int]]]:
        """The cluster's id, and of each partition of these topics that we may see the first offset and the next one."""
        consumer = self._consumer
        try:
            cluster = consumer.list_topics(timeout=ANSWERS_WITHIN_SECONDS)
            places = [
                (topic, number)
                for topic in topics
                if topic in cluster.topics
                for number in cluster.topics[topic].partitions
            ]
            bounds = {
                place: consumer.get_watermark_offsets(TopicPartition(*place), ANSWERS_WITHIN_SECONDS)
                for place in places
            }
        except KafkaException as error:
            self._consumer.poll(0.1)  # the reason, such as a wrong password, comes by the callback only
            raise self._translated(self._trouble or error.args[0]) from error
        return cluster.cluster_id or "", bounds

    def statement(self) -> Statement | None:
        """What the mesh says of itself now; None if it says nothing. Whoever calls follows the topic from there on."""
        _, bounds = self.look([IDENTITY])
        start, end = bounds.get((IDENTITY, 0), (0, 0))
        self._ends[IDENTITY, 0] = end
        found: Statement | None = None
        if start < end:
            self._assign({(IDENTITY, 0): start})
            while self._consumer.position([TopicPartition(IDENTITY, 0)])[0].offset < end:
                messages = self.read(ANSWERS_WITHIN_SECONDS)
                if not messages:
                    raise Transient(f"source {self._name}: {IDENTITY} is not read to its end")
                found = statement_in(messages) or found
        return found

    def follow(self, starts: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, and what the mesh says of itself from now on."""
        self._assign({**starts, (IDENTITY, 0): self._ends.get((IDENTITY, 0), 0)})

    def read(self, within_seconds: float) -> list[Message]:
        """What is there, after waiting for the first record. Raises Transient, Misconfigured when we may not read."""
        first = self._consumer.poll(within_seconds)
        if first is None:
            if self._trouble is not None and self._trouble.code() in _REFUSED | {KafkaError._ALL_BROKERS_DOWN}:
                raise self._translated(self._trouble)
            return []
        messages = [first, *self._consumer.consume(FETCH_RECORDS - 1, 0)]
        for message in messages:
            if (error := message.error()) is not None:
                raise self._translated(error)
        self._trouble = None
        return messages

    def acknowledge(self, nexts: Mapping[Partition, int]) -> None:
        """Tell the provider what is durable here, as its own deliveries do; our place does not depend on it."""
        try:
            self._consumer.commit(offsets=[TopicPartition(*place, offset) for place, offset in nexts.items()])
        except KafkaException as error:
            _logger.warning("source %s: the provider did not hear how far we are: %s", self._name, error.args[0].str())

    def close(self) -> None:
        """Let go."""
        self._consumer.close()

    def _assign(self, starts: Mapping[Partition, int]) -> None:
        try:
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])
        except KafkaException as error:
            raise self._translated(error.args[0]) from error

    def _remember(self, error: KafkaError) -> None:
        self._trouble = error

    def _translated(self, error: KafkaError) -> MeshError:
        if error.code() in _REFUSED:
            return Misconfigured(
                f"source {self._name}",
                f"the other mesh refuses {self._user}: {error.str()}",
                fix="ask its people whether the grant is active, our anchor is uploaded there, and the password is the present one",
            )
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return Transient(f"source {self._name}: the place to go on from is gone", retry_after_seconds=1.0)
        return Transient(f"source {self._name}: the other mesh does not answer: {error.str()}")


def statement_in(messages: Sequence[Message]) -> Statement | None:
    """The newest statement among records of `mesh.identity`. Raises Misconfigured for one that cannot be read."""
    for message in reversed(messages):
        value = message.value()
        if isinstance(value, bytes):
            try:
                record = json.loads(value)
            except ValueError:
                record = {}
            return Statement.from_json(record)
    return None
