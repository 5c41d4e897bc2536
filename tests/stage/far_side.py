"""The other mesh for tests of a source of kind `mesh`: its broker, registry and statement, and records that a test writes there.

`FarSide` provides one topic to one user as egress does; `NearRig` captures it into the near broker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from producers.mesh.kind import PEER
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.anchor import Anchor
from schemas.agreement.directory import Directory
from schemas.agreement.identity import STATEMENT_KEY, Identity
from schemas.contract import Contract
from schemas.feed import IDENTITY, key_subject, out_topic, value_subject
from schemas.log.kafka import Kafka
from schemas.log.offsets import cluster_id
from schemas.log.rights.access import allow_read, create_scram_user
from schemas.log.topics import ensure_control_topics
from schemas.log.writer import Log
from schemas.position import Position
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.envelope import SOURCE_FIELDS, key_schema, value_schema
from tests.stage import feeds
from tests.stage.capturing import Rig, contract

PASSWORD = "a password of sixteen and more"
MOMENT_MS = 1_475_000_000_000


def grid_contract(agency: str) -> Contract:
    """A community grid (社区网格)."""
    return contract(f"{agency}.grid", {"id": "long", "name": "string"})


class FarSide:
    """The provider. Positions count from 1; `written` has every envelope's (op, key, position) in order."""

    def __init__(
        self, kafka: tuple[Kafka, str], registry: str, user: str, contract: Contract, partitions: int = 3
    ) -> None:
        self.kafka, self.sasl = kafka
        self.registry, self.user, self.contract = registry, user, contract
        self.topic = out_topic(f"{user}.{contract.feed}")
        self.partitions = partitions
        self.identity = Identity.new()
        self.written: list[tuple[str, int, Position]] = []
        self.epoch = 1
        self._number = 0
        ensure_control_topics(self.kafka)
        feeds.create(self.kafka, self.topic, partitions=partitions)
        self.publish(contract)
        create_scram_user(self.kafka, user, PASSWORD)
        allow_read(self.kafka, user, [self.topic, IDENTITY], f"sub.{user}.")
        self.say()

    @property
    def address(self) -> str:
        return f"mesh://{self.user}:{quote(PASSWORD)}@{self.sasl}?registry={quote(self.registry)}"

    def publish(self, contract: Contract) -> None:
        """Register the schemas of the topic; from now on records have them."""
        with closing(RegistryClient(self.registry)) as client:
            client.set_compatibility(value_subject(self.topic), "NONE")
            self.key_id = client.register(key_subject(self.topic), key_schema(contract))
            self.value_id = client.register(value_subject(self.topic), value_schema(contract))
        self._codec = Codec({self.key_id: key_schema(contract), self.value_id: value_schema(contract)}.__getitem__)

    def say(self, identity: Identity | None = None, **changes: Any) -> None:
        """Publish the statement, or a spoiled one."""
        statement = (identity or self.identity).state(cluster_id(self.kafka), "2016-10-31T00:00:00+00:00")
        value = json.dumps(replace(statement, **changes).to_json()).encode()
        with self._log() as log:
            log.append(IDENTITY, STATEMENT_KEY.encode(), value)

    def write(self, changes: Sequence[tuple[str, int, Mapping[str, Any] | None]], reason: str = "") -> None:
        """(op, id, row) each; a removal brings its tombstone along, a truncate goes everywhere."""
        with self._log() as log:
            for op, number, row in changes:
                self._number += 1
                position = Position(self.epoch, self._number, 1)
                self.written.append((op, number, position))
                value = self._codec.encode(self.value_id, _envelope(op, number, row, position))
                if op == "t":
                    for partition in range(self.partitions):
                        log.append(self.topic, b"", value, partition=partition)
                    continue
                key = self._codec.encode(self.key_id, {"id": number})
                at = number % self.partitions
                headers = [("grant_id", b"g"), ("purpose", b"p"), *([("reason", reason.encode())] if reason else [])]
                log.append(self.topic, key, value, partition=at, headers=headers)
                if op == "d":
                    log.append(self.topic, key, None, partition=at, headers=headers[:2])

    def rows(self, numbers: Sequence[int], name: str = "n") -> None:
        """Create rows."""
        self.write([("c", number, {"id": number, "name": f"{name}{number}"}) for number in numbers])

    def raw(self, value: bytes) -> None:
        """Any bytes."""
        with self._log() as log:
            log.append(self.topic, self._codec.encode(self.key_id, {"id": 1}), value, partition=0)

    @contextmanager
    def _log(self) -> Iterator[Log]:
        with closing(Log(self.kafka, client_id="far")) as log:
            yield log
            log.flush(30)


def _envelope(op: str, number: int, row: Mapping[str, Any] | None, position: Position) -> dict[str, Any]:
    source: dict[str, Any] = {field["name"]: None for field in SOURCE_FIELDS}
    source |= {"version": "1", "connector": "postgresql", "name": "grid.main", "ts_ms": MOMENT_MS, "db": "grid"}
    source |= {"schema": "public", "table": "grid", "sequence": str(position), "lsn": position.major}
    before = {"id": number, "name": None} if op == "d" else None
    envelope = {"before": before, "after": row, "source": source, "op": op, "ts_ms": MOMENT_MS}
    return {**envelope, "transaction": None, "unchanged": None, "dq": None}


class NearRig(Rig):
    """Capture of a far side. The agency's code is `unique`; nothing is trusted before `trust`."""

    kinds = {"mesh": PEER}  # noqa: RUF012

    def __init__(self, kafka: Kafka, address: str, agency: str, anchor: str) -> None:
        super().__init__(kafka, address, agency)
        config = SourceConfig(name="main", kind="mesh", options={"anchor": anchor})
        self.directory = Directory(agencies={agency: Agency(agency=agency, name=agency, sources=(config,))})

    def trust(self, *identities: Identity | Anchor) -> None:
        """These anchors and no others are uploaded from now on."""
        anchors = [Anchor(public_key=identity.public_key, name="far") for identity in identities]
        self.directory = replace(self.directory, anchors={anchor.fingerprint: anchor for anchor in anchors})
