"""Subscriber (订阅方): who receives feeds, through which sinks, and by which logins where it reads its topics itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from schemas.agreement.anchor import MESH
from schemas.agreement.delivery_policy import DeliveryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """One sink of a subscriber: `kind` is a key of `ops.kinds.sinks.SINKS`; `options` belong to that kind.

    Secrets (a database's address, a webhook's signing key) are not here: `options` names them, and the process that
    delivers finds them under `connections/sink/` of its directory or in the environment. `delivery` is as a DeliveryPolicy is
    written.
    """

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    delivery: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def is_mesh(self) -> bool:
        """Whether the subscriber is another mesh, which reads its `out` topics itself while its anchor is here."""
        return self.kind == MESH

    def policy(self, subscriber: str) -> DeliveryPolicy:
        """How fast, when and how long it is delivered to. Raises Misconfigured."""
        return DeliveryPolicy.of(self.delivery, f"sink {subscriber}.{self.name}, delivery")

    def to_json(self) -> dict[str, Any]:
        """Its part of the record on `mesh.subscribers`."""
        written = {"name": self.name, "kind": self.kind, "options": dict(self.options)}
        return {**written, "delivery": dict(self.delivery)} if self.delivery else written


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A department, district or outside body that receives feeds; its code prefixes its grants.

    `hash_key_id` is the fingerprint of the key of its HASH masks, empty while none of its grants hashes.
    """

    subscriber: str
    name: str
    sinks: tuple[SinkConfig, ...]
    hash_key_id: str = ""

    def sink(self, name: str) -> SinkConfig | None:
        """The sink of that name, if there is one."""
        return next((sink for sink in self.sinks if sink.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.subscribers`."""
        sinks = [sink.to_json() for sink in self.sinks]
        return {"subscriber": self.subscriber, "name": self.name, "sinks": sinks, "hash_key_id": self.hash_key_id}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Subscriber:
        """Read a record of `mesh.subscribers`."""
        sinks = tuple(SinkConfig(**sink) for sink in record.get("sinks", ()))
        return cls(
            subscriber=record["subscriber"],
            name=record.get("name", record["subscriber"]),
            sinks=sinks,
            hash_key_id=record.get("hash_key_id", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user on Kafka by which one sink's topics are read. Its password is on no topic.

    A sink has one that is good until further notice, and for a while after a rotation others beside it, each `until` then (UTC).
    """

    user: str
    subscriber: str
    sink: str
    since: datetime
    until: datetime | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether nobody is to enter by it any more."""
        return self.until is not None and self.until <= now

    def to_json(self) -> dict[str, Any]:
        """The record on `mesh.logins`."""
        return {
            **asdict(self),
            "since": self.since.isoformat(),
            "until": self.until.isoformat() if self.until else None,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Login:
        """Read a record of `mesh.logins`."""
        until = datetime.fromisoformat(record["until"]) if record["until"] else None
        return cls(**{**record, "since": datetime.fromisoformat(record["since"]), "until": until})
