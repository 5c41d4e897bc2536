"""Live feeds for tests: a lane that serves one, and a subscriber with stock clients: httpx, and httpx-sse for the stream."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
from httpx_sse import EventSource, ServerSentEvent

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.change import Record
from schemas.guard.guard import Guard
from schemas.log.kafka import Kafka
from tests.stage.delivering import Desk, OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.webhooks import append

TOKEN = "T0ken-of-forty-random-characters_in_tests"


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@dataclass
class Subscriber:
    """Who comes to a feed. `position` is the last id that it was told, and goes with it when it comes again."""

    url: str
    token: str = TOKEN
    position: str = ""
    verify: Any = True
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=self.verify, trust_env=False)

    def close(self) -> None:
        self.client.close()

    def stream(self) -> Iterator[ServerSentEvent]:
        """The events from its position on, until the server ends the stream or it is closed."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.position} if self.position else {})
        with self.client.stream("GET", "/v1/stream", headers=headers) as response:
            if response.status_code != 200:
                response.read()
                response.raise_for_status()
            for event in EventSource(response).iter_sse():
                self.position = event.id or self.position
                yield event

    def next(self, stream: Iterator[ServerSentEvent], count: int) -> list[Any]:
        """The next changes of a stream."""
        found = [json.loads(event.data) for event in islice(stream, count)]
        assert len(found) == count, f"the stream ended after {len(found)} of {count}"
        return found

    def resumed(self, count: int) -> list[Any]:
        """The first changes from its position on; it leaves then."""
        with closing(self.stream()) as stream:  # pyright: ignore[reportArgumentType] -- a generator
            return self.next(stream, count)

    def take(self, **query: Any) -> list[Any]:
        """Changes with their receipts."""
        answer = self.client.get("/v1/changes", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["changes"]

    def acknowledge(self, taken: Sequence[Any]) -> Any:
        answer = self.client.post("/v1/ack", json={"receipts": [each["receipt"] for each in taken]})
        assert answer.status_code == 200, answer.text
        return answer.json()


def numbers(changes: Sequence[Any]) -> list[int]:
    """The keys of changes, or of what was taken, in order."""
    return [change.get("change", change)["key"]["id"] for change in changes]


@contextmanager
def live(
    kafka: Kafka,
    feeds: Sequence[OutFeed],
    *,
    partitions: int = 2,
    secrets: Mapping[str, str] | None = None,
    guard: Guard | None = None,
    **options: Any,
) -> Iterator[tuple[Desk, Subscriber]]:
    """A lane that serves these feeds of one subscriber, whose topics are made, and the subscriber."""
    create(kafka, *(feed.topic for feed in feeds), partitions=partitions)
    options = {"listen": f"http://127.0.0.1:{free_port()}", "requests_max": 1_000, **options}
    owner = feeds[0].subscriber
    addresses = {(owner, f"main.{name}"): secret for name, secret in {"token": TOKEN, **(secrets or {})}.items()}
    directory = directory_of({owner: SinkConfig(name="main", kind="live", options=options)}, *feeds)
    schemas = feeds[0].schemas
    with (
        delivering(kafka, directory, kinds=SINKS, schemas=schemas, addresses=addresses, guard=guard) as desk,
        closing(Subscriber(options["listen"])) as subscriber,
    ):
        yield desk, subscriber


def fill(kafka: Kafka, feed: OutFeed, ids: Sequence[int], name: str = "甲") -> list[Record]:
    """Changes of these keys, in the topic when this returns."""
    records = [feed.record("c", {"id": number, "name": name}) for number in ids]
    append(kafka, feed, records)
    return records
