"""The webhook sink against a real HTTP server, signatures checked by the standardwebhooks package."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest
from standardwebhooks import Webhook

from producers.log import Log
from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from schemas.subscriber import SinkConfig
from sinks.sink import SinkKind
from sinks.webhook import WebhookSink, build_webhook, signing_keys
from tests.delivering import OutFeed, decimal, delivering, directory_of
from tests.feeds import create
from tests.until import until

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

    def build(**options: Any) -> WebhookSink:
        settings = {"url": receiver.url, "allowed": LOOPBACK, "keys": signing_keys(SECRET, "secret"), **options}
        opened.append(WebhookSink(subscriber=feed.subscriber, schema_of=feed.schemas.__getitem__, **settings))
        return opened[-1]

    yield build
    for sink in opened:
        sink.close()


def test_one_signed_request_per_change(feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]) -> None:
    update = feed.record("u", person(1, amount="-0.07"), committed_at_ms=1_700_000_000_123)
    sink_of().write([feed.batch(update, feed.record("d", person(2)), feed.tombstone(person(2)))])
    body = next(body for _, body in receiver.requests if body["op"] == "u")
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
        "marks": [],
    }
    assert sorted(body["op"] for _, body in receiver.requests) == ["d", "u"]


def test_the_id_of_a_change_stays_when_it_is_sent_again(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    first = feed.record("c", person(1))
    sink_of().write([feed.batch(first)])
    sink_of().write([feed.batch(first._replace(offset=99))])
    sink_of().write([feed.batch(feed.record("u", person(1)))])
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert ids[0] == ids[1] != ids[2]


def test_order_holds_per_key_among_parallel_requests(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    records = [feed.record("u", person(number % 10, f"{number:03d}")) for number in range(200)]
    sink_of(concurrency=6).write([feed.batch(*records)])
    assert len(receiver.requests) == 200
    for key in range(10):
        names = [body["after"]["name"] for _, body in receiver.requests if body["key"]["id"] == key]
        assert names == sorted(names)


def test_a_retry_sends_only_what_was_not_acknowledged(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    sink = sink_of(concurrency=1, schedule_seconds=(1.0, 5.0))
    batch = feed.batch(*(feed.record("c", person(number)) for number in range(4)))
    receiver.answer = lambda body: (503, {}) if body["key"]["id"] == 2 else (200, {})
    with pytest.raises(Transient) as first:
        sink.write([batch])
    receiver.answer = lambda body: (429, {"Retry-After": "7"}) if body["key"]["id"] == 2 else (200, {})
    with pytest.raises(Transient) as second:
        sink.write([batch])
    receiver.answer = lambda _body: (200, {})
    sink.write([batch])
    assert receiver.ids == [0, 1, 2, 2, 2, 3]
    assert (first.value.retry_after_seconds, second.value.retry_after_seconds) == (1.0, 7.0)


def test_a_refused_change_is_asked_once_and_names_itself(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    sink = sink_of(concurrency=2)
    records = [feed.record("c", person(number)) for number in range(4)]
    receiver.answer = lambda body: (422, {}) if body["key"]["id"] == 1 else (200, {})
    with pytest.raises(Rejected) as refused:
        sink.write([feed.batch(*records)])
    assert refused.value.reason == "http_422"
    with pytest.raises(Rejected):
        sink.write([feed.batch(records[1])])
    sink.write([feed.batch(records[0])])
    sink.write([feed.batch(*records[2:])])
    assert sorted(receiver.ids) == [0, 1, 2, 3]


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410])
def test_what_refuses_us_parks_the_lane(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink], status: int
) -> None:
    receiver.answer = lambda _body: (status, {"Location": "http://127.0.0.1:1/"})
    with pytest.raises(ContractBroken, match=str(status)):
        sink_of().write([feed.batch(feed.record("c", person(1)))])
    assert len(receiver.requests) == 1, "redirects are not followed"


def test_several_changes_in_one_request(feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]) -> None:
    records = [feed.record("c", person(number)) for number in range(10)]
    sink_of(batch_max=4, concurrency=1).write([feed.batch(*records)])
    assert [[change["key"]["id"] for change in body] for _, body in receiver.requests] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


def test_loopback_needs_an_administrators_leave(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    with pytest.raises(Misconfigured, match="not public"):
        sink_of(allowed=[]).write([feed.batch(feed.record("c", person(1)))])
    assert receiver.requests == []


def test_the_connection_goes_to_the_checked_address(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    port = receiver.server.server_port
    sink = sink_of(url=f"http://hub.invalid:{port}/x", resolve_host=lambda _host, _port: ["127.0.0.1"])
    sink.write([feed.batch(feed.record("c", person(1)))])
    assert receiver.requests[0][0]["host"] == f"hub.invalid:{port}"


def test_a_key_being_replaced_signs_twice(
    feed: OutFeed, receiver: Receiver, sink_of: Callable[..., WebhookSink]
) -> None:
    new = "whsec_" + base64.b64encode(b"n" * 32).decode()
    sink_of(keys=signing_keys(f"{new} {SECRET}", "secret")).write([feed.batch(feed.record("c", person(1)))])
    assert receiver.requests[0][0]["webhook-signature"].count("v1,") == 2


def test_nobody_listening_is_transient(feed: OutFeed, sink_of: Callable[..., WebhookSink]) -> None:
    with pytest.raises(Transient, match="does not answer"):
        sink_of(url="http://127.0.0.1:1/").write([feed.batch(feed.record("c", person(1)))])


def test_a_lane_delivers_through_an_outage_and_buries_what_is_refused(
    kafka: str, feed: OutFeed, receiver: Receiver
) -> None:
    create(kafka, feed.topic, partitions=2)
    options = {"url": receiver.url, "allow_cidrs": ["127.0.0.0/8"], "schedule_seconds": [0.05]}
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
    addresses = {(feed.subscriber, "main_secret"): SECRET}
    with delivering(kafka, directory_of(sinks, feed), kinds=kinds, schemas=feed.schemas, addresses=addresses) as desk:
        until(lambda: desk.watch.parked_lanes.get(feed.subscriber) is True, 30, "parked in the outage")
        outage.clear()
        until(lambda: desk.watch.counts.get(f"{feed.subscriber}.police.person") == 19, 30, "the rest is delivered")
        until(lambda: len(desk.letters) == 1, 30, "one dead letter")
        assert desk.watch.parked_lanes[feed.subscriber] is False
    assert desk.letters[0].reason == "http_400"
    delivered = [body["key"]["id"] for _, body in receiver.requests]
    assert set(delivered) == set(range(20))
