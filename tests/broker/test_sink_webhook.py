"""The webhook sink against a real HTTP server, signatures checked by the standardwebhooks package."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest
from standardwebhooks import Webhook

from schemas.agreement.subscriber import SinkConfig
from schemas.change import Record
from schemas.errors import ContractBroken, MeshError, Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import trace_salt
from sinks.http.options import WebhookOptions
from sinks.http.target import Resolve, resolve
from sinks.http.webhook import WebhookReceiver, WebhookSink, build_webhook, signing_keys
from sinks.kind import SinkKind
from sinks.sink import Busy, Gone
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
LOOPBACK = [ip_network("127.0.0.0/8")]


class Receiver:
    """A subscriber's endpoint: checks every signature; `answer` decides on the status, by the parsed body."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.answer: Callable[[Any], tuple[int, dict[str, str]]] = lambda _body: (200, {})
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = Webhook(SECRET).verify(raw, headers)
                receiver.requests.append((headers, body))
                status, more = receiver.answer(body)
                self.send_response(status)
                for name, value in {"Content-Length": "2", **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def ids(self) -> list[int]:
        return [body["key"]["id"] for _, body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


def person(number: int, name: str = "甲", amount: str = "1.50") -> dict[str, Any]:
    return {"id": number, "name": name, "amount": decimal(amount)}


@pytest.fixture
def sink_of(feed: OutFeed, receiver: Receiver) -> Iterator[Callable[..., WebhookSink]]:
    opened: list[WebhookSink] = []

    ours = WebhookReceiver(url=receiver.url, keys=signing_keys(SECRET, "secret"), allowed=LOOPBACK)

    def build(options: WebhookOptions | None = None, resolve_host: Resolve = resolve, **called: Any) -> WebhookSink:
        opened.append(
            WebhookSink(
                receiver=replace(ours, **called),
                options=options or WebhookOptions(),
                subscriber=feed.subscriber,
                schema_of=feed.schemas.__getitem__,
                resolve_host=resolve_host,
            )
        )
        return opened[-1]

    yield build
    for sink in opened:
        sink.close()


def send(sink: WebhookSink, feed: OutFeed, *records: Record) -> MeshError | None:
    """All of them in one request."""
    return sink.send([sink.message(feed.topic, record) for record in records])


def test_one_signed_request_per_change(feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]) -> None:
    sink = sink_of()
    assert send(sink, feed, feed.record("u", person(1, amount="-0.07"), committed_at_ms=1_700_000_000_123)) is None
    assert send(sink, feed, feed.record("d", person(2))) is None
    assert sink.message(feed.topic, feed.tombstone(person(2))) is None
    (headers, body), (others, removal) = receiver.requests
    assert removal["op"] == "d"
    version, trace, span, flags = headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", body["trace_id"], "01")
    assert len(span) == 16
    assert others["traceparent"].split("-")[1] == removal["trace_id"] != trace
    assert body == {
        "feed": "police.person",
        "grant_id": f"{feed.subscriber}.police.person",
        "purpose": "test",
        "op": "u",
        "key": {"id": 1},
        "before": None,
        "after": {"id": 1, "name": "甲", "amount": "-0.07"},
        "unchanged": [],
        "position": '["0000","0000000000000001","00000001"]',
        "committed_at": "2023-11-14T22:13:20.123Z",
        "transaction": "tx1",
        "reason": None,
        "trace_id": trace_salt("police.person").decode() + "0000000000000000000100000001",
        "correction_of": None,
        "marks": [],
    }


def test_the_id_of_a_change_stays_when_it_is_sent_again(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    first, sink = feed.record("c", person(1)), sink_of()
    for record in (first, first._replace(offset=99), feed.record("u", person(1))):
        assert send(sink, feed, record) is None
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(301, ContractBroken), (401, ContractBroken), (403, ContractBroken), (404, ContractBroken), (410, Gone)],
)
def test_what_refuses_us_is_not_followed_or_asked_twice(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink], status: int, kind: type[MeshError]
) -> None:
    receiver.answer = lambda _body: (status, {"Location": "http://127.0.0.1:1/"})
    error = send(sink_of(), feed, feed.record("c", person(1)))
    assert isinstance(error, kind)
    assert str(status) in str(error)
    assert len(receiver.requests) == 1, "redirects are not followed"


def test_a_receiver_says_when_to_come_again(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    sink = sink_of()
    receiver.answer = lambda _body: (503, {"Retry-After": "7"})
    unwell = send(sink, feed, feed.record("c", person(1)))
    receiver.answer = lambda _body: (429, {"Retry-After": "8"})
    busy = send(sink, feed, feed.record("c", person(1)))
    assert isinstance(unwell, Transient)
    assert isinstance(busy, Busy)
    assert (unwell.retry_after_seconds, busy.retry_after_seconds) == (7.0, 8.0)


def test_several_changes_in_one_request(feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]) -> None:
    assert (
        send(sink_of(WebhookOptions(batch_max=4)), feed, *(feed.record("c", person(number)) for number in range(3)))
        is None
    )
    assert [[change["key"]["id"] for change in body] for _, body in receiver.requests] == [[0, 1, 2]]


def test_loopback_needs_an_administrators_leave(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    error = send(sink_of(allowed=[]), feed, feed.record("c", person(1)))
    assert isinstance(error, Misconfigured)
    assert "not public" in str(error)
    assert receiver.requests == []


def test_the_connection_goes_to_the_checked_address(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    port = receiver.server.server_port
    sink = sink_of(url=f"http://hub.invalid:{port}/x", resolve_host=lambda _host, _port: ["127.0.0.1"])
    assert send(sink, feed, feed.record("c", person(1))) is None
    assert receiver.requests[0][0]["host"] == f"hub.invalid:{port}"


def test_a_key_being_replaced_signs_twice(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    assert send(sink_of(keys=signing_keys(f"{new} {SECRET}", "secret")), feed, feed.record("c", person(1))) is None
    assert receiver.requests[0][0]["webhook-signature"].count("v1,") == 2


def test_nobody_listening_is_transient(feed: OutFeed, sink_of: Callable[..., WebhookSink]) -> None:
    error = send(sink_of(url="http://127.0.0.1:1/"), feed, feed.record("c", person(1)))
    assert isinstance(error, Transient)
    assert "does not answer" in str(error)


def test_a_lane_delivers_through_an_outage_and_buries_what_is_refused(
    kafka: Kafka, feed: OutFeed, receiver: Receiver
) -> None:
    create(kafka, feed.topic, partitions=2)
    options = {"url": receiver.url, "schedule_seconds": [0.05]}
    sinks = {feed.subscriber: SinkConfig(name="main", kind="webhook", options=options)}
    outage = threading.Event()
    outage.set()

    def answer(body: Any) -> tuple[int, dict[str, str]]:
        return (503, {}) if outage.is_set() else (400, {}) if body["key"]["id"] == 3 else (200, {})

    receiver.answer = answer
    log = Log(kafka, client_id="test")
    feed.append(log, *(feed.record("c", person(number)) for number in range(20)))
    log.flush(30)
    log.close()
    kinds = {"webhook": SinkKind(build=build_webhook)}
    addresses = {(feed.subscriber, "main.signing_key"): SECRET}
    with delivering(kafka, directory_of(sinks, feed), kinds=kinds, schemas=feed.schemas, addresses=addresses) as desk:
        until(lambda: desk.watch.parked_lanes.get(feed.subscriber) is True, 30, "parked in the outage")
        outage.clear()
        until(lambda: desk.watch.counts.get(f"{feed.subscriber}.police.person") == 19, 30, "the rest is delivered")
        until(lambda: len(desk.letters) == 1, 30, "one dead letter")
        assert desk.watch.parked_lanes[feed.subscriber] is False
    assert desk.letters[0].reason == "http_400"
    delivered = [body["key"]["id"] for _, body in receiver.requests]
    assert set(delivered) == set(range(20))
