"""Webhooks for tests: a subscriber's endpoint that can be slow or unwell, and a lane that delivers to it."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

from standardwebhooks import Webhook

from schemas.agreement.subscriber import SinkConfig
from schemas.change import Record
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from sinks.http.options import WebhookOptions
from sinks.http.webhook import WebhookReceiver, WebhookSink, build_webhook, signing_keys
from sinks.kind import SinkKind
from tests.stage.delivering import Desk, OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LOOPBACK = [ip_network("127.0.0.0/8")]
KINDS = {"webhook": SinkKind(build=build_webhook)}


class Endpoint:
    """Answers as `answer` says, by the parsed body: a status, or None to close the connection without a word.

    `came` has (monotonic time, body) of each request as it arrives, `sent` its id and body, `taken` the bodies answered 2xx.
    """

    def __init__(self) -> None:
        self.came: list[tuple[float, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.sent: list[tuple[str, Any]] = []
        self.taken: list[Any] = []
        self.answer: Callable[[Any], int | None] = lambda _body: 200
        self.secrets = [SECRET]
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = Webhook(endpoint.secrets[0]).verify(raw, headers)
                endpoint.headers.append(headers)
                endpoint.sent.append((headers["webhook-id"], body))
                endpoint.came.append((time.monotonic(), body))
                status = endpoint.answer(body)
                if status is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                if 200 <= status < 300:
                    endpoint.taken.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a connection that the sink broke off
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def ids(self) -> list[int]:
        """The keys taken, in order."""
        return [body["key"]["id"] for body in self.taken]


def sink_to(url: str, feed: OutFeed, **options: Any) -> WebhookSink:
    """A sink of the feed's subscriber that calls an address of this host."""
    return WebhookSink(
        receiver=WebhookReceiver(url=url, keys=signing_keys(SECRET, "secret"), allowed=LOOPBACK),
        options=WebhookOptions(**options),
        subscriber=feed.subscriber,
        schema_of=feed.schemas.__getitem__,
    )


def person(number: int, name: str = "甲") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal("1.50")}


def append(kafka: Kafka, feed: OutFeed, records: Sequence[Record]) -> None:
    """Write the records to the feed's topic; all are there when this returns."""
    with closing(Log(kafka, client_id="test")) as log:
        feed.append(log, *records)
        log.flush(30)


@contextmanager
def hooked(
    kafka: Kafka,
    feed: OutFeed,
    records: Sequence[Record],
    *,
    url: str,
    partitions: int = 1,
    reader_settings: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Desk]:
    """A lane that delivers the records, and what comes later, to the address."""
    create(kafka, feed.topic, partitions=partitions)
    append(kafka, feed, records)
    config = SinkConfig(name="main", kind="webhook", options=options)
    addresses = {(feed.subscriber, "main"): url, (feed.subscriber, "main.signing_key"): SECRET}
    directory = directory_of({feed.subscriber: config}, feed)
    with delivering(
        kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses, reader_settings=reader_settings
    ) as desk:
        yield desk
