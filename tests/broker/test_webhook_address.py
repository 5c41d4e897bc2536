"""Webhooks whose connection misbehaves, and addresses and keys that are given anew while a sink runs."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Transient
from schemas.log.kafka import Kafka
from tests.stage.delivering import OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until
from tests.stage.webhooks import KINDS, SECRET, Endpoint, append, person, sink_to

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


class Raw:
    """Accepts connections and hands each to `talk` in a thread, until it is closed."""

    def __init__(self, talk: Callable[[socket.socket, threading.Event], None]) -> None:
        self.over = threading.Event()
        self.accepted = 0
        self._talk = talk
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/hook"
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._talk(connection, self.over)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(10)


def dripping_headers(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65_536)
    for byte in HEAD + b"X-Filler: " + b"x" * 600:
        connection.sendall(bytes([byte]))
        if over.wait(0.1):
            return


def endless_continue(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65_536)
    while not over.wait(0.05):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def never_reading(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(60)


def dripping_body(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not over.wait(0.1):
        connection.sendall(b"x")


def broken_body(connection: socket.socket, _over: threading.Event) -> None:
    connection.recv(65_536)
    connection.sendall(HEAD + b"\r\n")
    connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket, threading.Event], None]], Raw]]:
    opened: list[Raw] = []

    def listen(talk: Callable[[socket.socket, threading.Event], None]) -> Raw:
        opened.append(Raw(talk))
        return opened[-1]

    yield listen
    for server in opened:
        server.close()


@pytest.fixture
def feed(unique: str) -> OutFeed:
    return OutFeed(unique, "police.person")


@pytest.mark.parametrize("talk", [dripping_headers, endless_continue, never_reading])
def test_one_deadline_holds_for_the_whole_exchange(
    feed: OutFeed, raw: Callable[..., Raw], talk: Callable[..., None]
) -> None:
    sink = sink_to(raw(talk).url, feed, timeout_seconds=2.0)
    name = "x" * (8_000_000 if talk is never_reading else 1)  # more than the buffers of both sides hold
    message = sink.message(feed.topic, feed.record("c", person(1, name)))
    began = time.monotonic()
    error = sink.send([message])
    took = time.monotonic() - began
    sink.close()
    assert isinstance(error, Transient)
    assert 1.5 < took < 4


@pytest.mark.parametrize("talk", [dripping_body, broken_body])
def test_the_status_counts_whatever_happens_to_the_body(
    feed: OutFeed, raw: Callable[..., Raw], talk: Callable[..., None]
) -> None:
    sink = sink_to(raw(talk).url, feed, timeout_seconds=2.0)
    error = sink.send([sink.message(feed.topic, feed.record("c", person(1)))])
    sink.close()
    assert error is None


def test_a_corrected_address_is_taken_up_while_the_old_one_hangs(
    kafka: Kafka, feed: OutFeed, raw: Callable[..., Raw]
) -> None:
    hanging, endpoint = raw(dripping_headers), Endpoint()
    create(kafka, feed.topic)
    append(kafka, feed, [feed.record("c", person(number)) for number in range(20)])
    addresses = {(feed.subscriber, "main"): hanging.url, (feed.subscriber, "main.signing_key"): SECRET}
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="webhook", options={})}, feed)
    try:
        with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses):
            until(lambda: hanging.accepted >= 8, 30, "all of its requests hang")
            addresses[feed.subscriber, "main"] = endpoint.url
            until(lambda: len(endpoint.taken) == 20, 10, "delivered to the corrected address")
    finally:
        endpoint.close()


def test_a_receiver_that_is_gone_is_resumed_by_its_new_address(kafka: Kafka, feed: OutFeed) -> None:
    gone, endpoint = Endpoint(), Endpoint()
    gone.answer = lambda _body: 410
    create(kafka, feed.topic)
    append(kafka, feed, [feed.record("c", person(number)) for number in range(20)])
    addresses = {(feed.subscriber, "main"): gone.url, (feed.subscriber, "main.signing_key"): SECRET}
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="webhook", options={})}, feed)
    try:
        with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses) as desk:
            until(lambda: [each.state for each in desk.incidents.present().values()] == ["stopped"], 30, "it stops")
            addresses[feed.subscriber, "main"] = endpoint.url
            until(lambda: len(endpoint.taken) == 20, 10, "delivered to the new address")
    finally:
        gone.close()
        endpoint.close()


def test_a_key_given_anew_signs_within_seconds_and_both_while_both_are_given(kafka: Kafka, feed: OutFeed) -> None:
    endpoint, new = Endpoint(), "whsec_" + base64.b64encode(b"n" * 32).decode()
    create(kafka, feed.topic)
    append(kafka, feed, [feed.record("c", person(1))])
    addresses = {(feed.subscriber, "main"): endpoint.url, (feed.subscriber, "main.signing_key"): SECRET}
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="webhook", options={})}, feed)

    def signatures() -> int:
        append(kafka, feed, [feed.record("u", person(1))])
        return endpoint.headers[-1]["webhook-signature"].count("v1,")

    try:
        with delivering(kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses):
            until(lambda: endpoint.taken, 30, "delivered with the old key")
            addresses[feed.subscriber, "main.signing_key"] = f"{new} {SECRET}"
            until(lambda: signatures() == 2, 10, "both keys sign")
            endpoint.secrets[0] = new
            addresses[feed.subscriber, "main.signing_key"] = new
            until(lambda: signatures() == 1, 10, "the new key alone signs")
    finally:
        endpoint.close()
