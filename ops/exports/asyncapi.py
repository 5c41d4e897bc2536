"""AsyncAPI 3.0 (https://www.asyncapi.com): the feeds as channels, or only what one subscriber may read.

Payloads are the Avro schemas themselves, in the multi-format form. For a subscriber the document is that of its own application,
which receives; without one it is that of the mesh, which sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from ops.kits.readable import Readable, readable
from ops.settings import Settings
from ops.watch.lag import delivery_group
from schemas.agreement.directory import Directory, FeedEntry
from schemas.registry.address import RegistryAddress
from schemas.wire.envelope import key_schema, out_key_schema, out_value_schema, value_schema

AVRO = "application/vnd.apache.avro+json;version=1.9.0"
BINDING = "0.5.0"

Json = Mapping[str, Any]


def asyncapi(
    settings: Settings, directory: Directory, subscriber: str = "", sinks: Sequence[str] = ()
) -> dict[str, Any]:
    """The document. Raises Misconfigured for a subscriber that is not known, or reads nothing itself."""
    document = _Document(settings)
    if subscriber:
        found = readable(directory, subscriber, datetime.now(UTC), sinks=sinks)
        for each in found:
            document.receive(each)
        name = found[0].subscriber.name
        title, told = f"{name} ({subscriber})", f"What {subscriber} may read, by its grants as they stand."
    else:
        for _, feed in sorted(directory.feeds.items()):
            document.send(feed)
        title, told = (
            "pearlmesh",
            "The feeds of the mesh. Who may read one is said by grants, and reads it on a topic of its own.",
        )
    return document.finished(title, told)


class _Document:
    """Collects servers, channels and operations."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: dict[str, Json] = {}
        self._channels: dict[str, Json] = {}
        self._operations: dict[str, Json] = {}

    def finished(self, title: str, told: str) -> dict[str, Any]:
        return {
            "asyncapi": "3.0.0",
            "info": {"title": title, "version": version("pearlmesh"), "description": told},
            "servers": self._servers,
            "channels": self._channels,
            "operations": self._operations,
        }

    def send(self, feed: FeedEntry) -> None:
        """A feed, which the mesh writes."""
        contract = feed.contract
        self._topic(feed.feed, contract.doc or feed.feed, key_schema(contract), value_schema(contract), feed.partitions)
        self._operate("send", feed.feed, {})

    def receive(self, each: Readable) -> None:
        """What a subscriber reads through one sink."""
        if each.ends:
            self._receive_topics(each)
        else:
            self._receive_live(each)

    def _receive_topics(self, each: Readable) -> None:
        group = {"type": "string", "enum": [delivery_group(each.subscriber.subscriber, each.sink.name)]}
        bindings = {"kafka": {"groupId": group, "bindingVersion": BINDING}}
        for entry in each.entries:
            contract, grant = each.contract(entry), entry.grant
            keys, values = out_key_schema(contract, grant), out_value_schema(contract, grant)
            told = f"{contract.doc or grant.feed}; grant {grant.grant_id}, for {grant.purpose}"
            self._topic(entry.topic, told, keys, values)
            self._operate("receive", entry.topic, bindings)
        self._channels[each.ends] = {
            "address": each.ends,
            "description": "Ends of grants: header `reason` GRANT_ENDED, `topic` which one is closed.",
            "servers": [{"$ref": f"#/servers/{_pointer(name)}"} for name in self._brokers()],
            "messages": {"ended": {"name": "ended", "contentType": "application/octet-stream"}},
        }
        self._operate("receive", each.ends, bindings)

    def _receive_live(self, each: Readable) -> None:
        address, name = urlsplit(each.address), f"live-{each.sink.name}"
        self._servers[name] = {
            "host": address.netloc,
            "protocol": address.scheme,
            "description": "Server-sent events; a token that was handed over goes into the header Authorization.",
            "security": [{"type": "http", "scheme": "bearer"}],
        }
        granted = "; ".join(f"{entry.grant.delivered_as} for {entry.grant.purpose}" for entry in each.entries)
        self._channels[name] = {
            "address": "/v1/stream",
            "description": f"All of {each.name}: {granted}",
            "servers": [{"$ref": f"#/servers/{_pointer(name)}"}],
            "messages": {"change": {"name": "change", "contentType": "application/json", "payload": _LIVE_CHANGE}},
        }
        self._operate("receive", name, {"http": {"method": "GET", "bindingVersion": "0.3.0"}})

    def _topic(self, topic: str, told: str, key: Json, value: Json, partitions: int = 0) -> None:
        """A topic of changes."""
        kafka = {"topic": topic, "bindingVersion": BINDING} | ({"partitions": partitions} if partitions else {})
        found = {"schemaIdLocation": "payload", "schemaIdPayloadEncoding": "confluent", "bindingVersion": BINDING}
        change = {
            "name": "change",
            "title": "A change, as Debezium has them",
            "description": f"Confluent's wire format. The key is Avro too: {json.dumps(key, ensure_ascii=False)}",
            "contentType": "application/vnd.confluent.avro",
            "payload": {"schemaFormat": AVRO, "schema": value},
            "bindings": {"kafka": found},
        }
        self._channels[topic] = {
            "address": topic,
            "description": told,
            "servers": [{"$ref": f"#/servers/{_pointer(name)}"} for name in self._brokers()],
            "messages": {"change": change},
            "bindings": {"kafka": kafka},
        }

    def _operate(self, action: str, channel: str, bindings: Json) -> None:
        referred = {"action": action, "channel": {"$ref": f"#/channels/{_pointer(channel)}"}}
        self._operations[f"{action}-{channel}"] = referred | ({"bindings": bindings} if bindings else {})

    def _brokers(self) -> list[str]:
        """The names of the servers that the topics are on, which are in the document then."""
        kafka, registry = self._settings.kafka, RegistryAddress.parse(self._settings.registry).url
        names: list[str] = []
        for number, host in enumerate((self._settings.kafka_sasl or kafka.bootstrap).split(","), 1):
            names.append(f"kafka-{number}")
            self._servers[names[-1]] = {
                "host": host.strip(),
                "protocol": "kafka-secure" if kafka.uses_tls else "kafka",
                "security": [{"type": "scramSha512"}],
                "bindings": {
                    "kafka": {
                        "schemaRegistryUrl": registry,
                        "schemaRegistryVendor": "confluent",
                        "bindingVersion": BINDING,
                    }
                },
            }
        return names


def _pointer(name: str) -> str:
    """A name within a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


_LIVE_CHANGE: Json = {
    "type": "object",
    "required": ["op", "key"],
    "properties": {
        "op": {"type": "string", "enum": ["c", "u", "d", "r", "t"]},
        "key": {"type": "object"},
        "before": {"type": ["object", "null"]},
        "after": {"type": ["object", "null"]},
    },
}
