"""A live feed on a real broker, followed by a stock client of server-sent events, and taken and acknowledged over HTTP."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.agreement.grant import Status
from schemas.log.kafka import Kafka
from sinks.live import streaming
from tests.stage.delivering import Desk, OutFeed
from tests.stage.feeds import committed_offsets, end_offsets
from tests.stage.live_feed import TOKEN, Subscriber, fill, free_port, live, numbers
from tests.stage.until import until


def is_confirmed(kafka: Kafka, feed: OutFeed) -> bool:
    """Whether the group has committed all that there is."""
    ends = end_offsets(kafka, [feed.topic])
    return committed_offsets(kafka, f"sub.{feed.subscriber}.main") == {place: end for place, end in ends.items() if end}


def refused(subscriber: Subscriber, path: str, **headers: str) -> httpx.Response:
    """A request that is answered at once, with a text that says what to do."""
    answer = subscriber.client.get(path, headers=headers)
    assert "fix: " in answer.text, answer.text
    return answer


def changed(desk: Desk, feed: OutFeed, status: Status) -> None:
    """The feed's grant has this status now."""
    grants = dict(desk.directory.grants)
    entry = feed.grant
    grants[entry.grant.grant_id] = replace(entry, grant=replace(entry.grant, status=status))
    desk.directory = replace(desk.directory, grants=grants)


# -- following ---------------------------------------------------------------------------------------------------------


def test_a_stock_client_follows_what_stands_and_what_comes_and_resumes_where_it_was(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], partitions=3) as (_, subscriber):
        stood = [*range(150), *range(0, 150, 2), *range(0, 150, 3)]
        fill(kafka, feed, stood)
        with closing(subscriber.stream()) as stream:
            first = next(stream)
            assert first.event == "police.person"
            changes = [json.loads(first.data), *subscriber.next(stream, len(stood) - 1)]
            fill(kafka, feed, [1_000, 1_001])
            assert sorted(numbers(subscriber.next(stream, 2))) == [1_000, 1_001]
        assert sorted(numbers(changes)) == sorted(stood)
        for key in range(150):
            told = [change["position"] for change in changes if change["key"]["id"] == key]
            assert told == sorted(told), "order holds per key (invariant 4)"
        assert set(first.json()) >= {"feed", "grant_id", "op", "key", "before", "after", "position", "committed_at"}
        fill(kafka, feed, range(2_000, 2_050), "missed")
        missed = subscriber.resumed(50)
        assert numbers(missed) == sorted(numbers(missed), key=lambda number: numbers(missed).index(number))
        assert sorted(numbers(missed)) == list(range(2_000, 2_050)), "all of it, and nothing a second time"


def test_one_position_resumes_all_feeds_and_a_new_grant_comes_with_its_past(kafka: Kafka, unique: str) -> None:
    persons, firms = OutFeed(unique, "police.person"), OutFeed(unique, "aic.firm")
    with live(kafka, [persons, firms]) as (desk, subscriber):
        changed(desk, firms, Status.SUSPENDED)
        fill(kafka, persons, range(10))
        fill(kafka, firms, range(100, 105))
        with closing(subscriber.stream()) as stream:
            assert sorted(numbers(subscriber.next(stream, 10))) == list(range(10))
            changed(desk, firms, Status.ACTIVE)
            assert list(stream) == [], "it ends, for its subscriber may have more now"
        fill(kafka, persons, [10])
        changes = subscriber.resumed(6)
        assert {change["feed"] for change in changes} == {"police.person", "aic.firm"}
        assert sorted(numbers(changes)) == [10, *range(100, 105)]
        fill(kafka, persons, [11])
        fill(kafka, firms, [111])
        assert sorted(numbers(subscriber.resumed(2))) == [11, 111]


@pytest.mark.parametrize("is_read", [True, False])
def test_a_grant_that_is_suspended_ends_its_stream_within_five_seconds(
    kafka: Kafka, unique: str, is_read: bool
) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed]) as (desk, subscriber):
        fill(kafka, feed, [1])
        assert numbers(subscriber.resumed(1)) == [1]
        slow = Slow(subscriber)
        fill(kafka, feed, range(2_000), "x" * 5_000)  # more than sockets hold
        until(lambda: slow.is_full, 30, "the stream stands still")
        if is_read:
            subscriber.position = ""
            stream = subscriber.stream()
            subscriber.next(stream, 2_001)
        began = time.monotonic()
        changed(desk, feed, Status.SUSPENDED)
        if is_read:
            assert list(stream) == []
        else:
            until(lambda: slow.is_cut, 5, "who does not read is cut off")
        assert time.monotonic() - began < 5
        slow.socket.close()
        until(lambda: is_refused(subscriber), 10, "nothing is granted: nobody listens")


class Slow:
    """A subscriber that asks for the stream and reads nothing."""

    def __init__(self, subscriber: Subscriber) -> None:
        host, port = subscriber.url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.socket.connect((host, int(port)))
        self.socket.sendall(
            f"GET /v1/stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        self.socket.settimeout(0.1)
        self._waiting = -1

    @property
    def is_full(self) -> bool:
        """Whether no more comes, though nothing was read."""
        try:
            waiting = len(self.socket.recv(1 << 22, socket.MSG_PEEK))
        except TimeoutError:
            return False
        was, self._waiting = self._waiting, waiting
        return waiting == was > 0

    @property
    def is_cut(self) -> bool:
        try:
            while self.socket.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True


def is_refused(subscriber: Subscriber) -> bool:
    try:
        subscriber.client.get("/v1/changes")
    except httpx.TransportError:
        return True
    return False


def test_who_reads_slowly_holds_up_nobody_else_and_misses_nothing(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], streams_max=2) as (_, subscriber):
        fill(kafka, feed, range(3_000), "x" * 5_000)
        slow = Slow(subscriber)
        until(lambda: slow.is_full, 30, "the stream stands still")
        assert len(set(numbers(subscriber.resumed(3_000)))) == 3_000
        slow.socket.settimeout(30)
        heard, rest, mark = 0, b"", b"event: police.person\n"
        while heard < 3_000:
            more = slow.socket.recv(1 << 20)
            assert more, "it goes on once it is read"
            heard += (rest + more).count(mark)
            rest = (rest + more)[1 - len(mark) :]
        slow.socket.close()


def test_a_quiet_stream_shows_that_it_lives(kafka: Kafka, unique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.2)
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed]) as (_, subscriber), subscriber.client.stream("GET", "/v1/stream") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(3)] == ["retry: 3000", ":", ":"]


def test_a_position_that_nothing_can_resume_from_says_what_to_do(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], partitions=1, streams_max=1) as (_, subscriber):
        fill(kafka, feed, range(5))
        with closing(subscriber.stream()) as stream:
            subscriber.next(stream, 5)
            assert refused(subscriber, "/v1/stream").status_code == 429, "no more streams than there may be"
        until(lambda: subscriber.client.get("/v1/changes").status_code == 200, 5, "it is served")
        name, _, offset = subscriber.position.rpartition("=")
        until(
            lambda: refused(subscriber, "/v1/stream", **{"Last-Event-ID": "x"}).status_code == 409, 5, "not a position"
        )
        answer = refused(subscriber, "/v1/stream", **{"Last-Event-ID": f"{name}={int(offset) + 100}"})
        assert (answer.status_code, "empty your copy" in answer.text) == (410, True)
        subscriber.position = ""
        assert numbers(subscriber.resumed(5)) == list(range(5))


def test_the_end_of_a_grant_is_told_by_the_stream_until_its_position_is_acknowledged(kafka: Kafka, unique: str) -> None:
    persons, firms = OutFeed(unique, "police.person"), OutFeed(unique, "aic.firm")
    with live(kafka, [persons, firms]) as (desk, subscriber):
        fill(kafka, persons, [1])
        fill(kafka, firms, [2])
        stream = subscriber.stream()
        subscriber.next(stream, 2)
        changed(desk, firms, Status.REVOKED)
        assert list(stream) == []

        following = count(3)

        def told() -> list[Any]:
            """All that comes up to a new change, the last of its run: the position is behind it then."""
            number, found = next(following), list[Any]()
            with closing(subscriber.stream()) as stream:  # pyright: ignore[reportArgumentType]
                fill(kafka, persons, [number])
                while numbers([each for each in found if each["op"] == "c"]) != [number]:
                    found += subscriber.next(stream, 1)
            return found

        (end,) = until(lambda: [each for each in told() if each["op"] == "t"], 20, "it is told")
        assert (end["feed"], end["reason"], end["after"]) == ("aic.firm", "GRANT_ENDED", None)
        assert [change["op"] for change in told()] == ["c"], "not a second time from a position behind it"
        assert subscriber.client.post("/v1/ack", json={"position": subscriber.position}).status_code == 200
        assert all(each["change"]["op"] == "c" for each in subscriber.take(wait=1)), "it is no longer there to be taken"


def test_others_than_this_host_are_served_by_tls(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    certificate, key = self_signed()
    listen, secrets = f"https://127.0.0.1:{free_port()}", {"certificate_key": key}
    with live(kafka, [feed], listen=listen, certificate=certificate, secrets=secrets):
        fill(kafka, feed, [1])
        trusting = ssl.create_default_context(cadata=certificate)
        with closing(Subscriber(listen, verify=trusting)) as subscriber:
            assert numbers(until(lambda: subscriber.take(wait=1), 10, "it is served")) == [1]
            assert numbers(subscriber.resumed(1)) == [1]


def self_signed() -> tuple[str, str]:
    """A certificate of 127.0.0.1 and its key, as PEM."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(form[0]).decode(), key.private_bytes(*form).decode()


# -- taking and acknowledging ------------------------------------------------------------------------------------------


def test_what_is_acknowledged_is_delivered_and_moves_the_committed_offset(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed]) as (desk, subscriber):
        fill(kafka, feed, range(250))
        found: list[int] = []
        while len(found) < 250:
            taken = subscriber.take(max=100, wait=10)
            assert all(each["delivery"] == 1 for each in taken)
            assert subscriber.acknowledge(taken) == {"acknowledged": len(taken), "unknown": []}
            found += numbers(taken)
        assert sorted(found) == list(range(250))
        assert len(subscriber.acknowledge(taken)["unknown"]) == len(taken), "no receipt is good twice"
        until(lambda: is_confirmed(kafka, feed), 10, "the group is at the end")
        until(lambda: desk.watch.counts.get(feed.grant.grant.grant_id) == 250, 5, "counted as any other sink's")
        began = time.monotonic()
        assert subscriber.take(wait=0.3) == []
        assert time.monotonic() - began >= 0.3


def test_what_is_not_acknowledged_comes_again_and_its_key_waits_while_others_do_not(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], partitions=1, visibility_seconds=5) as (_, subscriber):
        fill(kafka, feed, [1, 1, 2, 1, 2])

        def taken_at_most(count: int) -> list[Any]:
            found: list[Any] = []
            until(lambda: found.extend(subscriber.take()) or len(found) >= count, 5, f"{count} changes lie there")
            return found

        first = taken_at_most(2)
        assert sorted(numbers(first)) == [1, 2], "one of each key, however many were asked for"
        (one,) = [each for each in first if each["change"]["key"]["id"] == 1]
        (two,) = [each for each in first if each["change"]["key"]["id"] == 2]
        subscriber.acknowledge([two])
        (later,) = subscriber.take(wait=1)
        assert later["change"]["key"]["id"] == 2, "another key goes on"
        assert later["change"]["position"] > two["change"]["position"]
        subscriber.acknowledge([later])
        (again,) = subscriber.take(wait=10)
        assert (again["change"], again["delivery"]) == (one["change"], 2)
        assert subscriber.acknowledge([one])["unknown"] == [one["receipt"]], "too late"
        subscriber.acknowledge([again])
        rest = []
        while len(rest) < 2:
            taken = subscriber.take(wait=10)
            assert len(taken) == 1
            subscriber.acknowledge(taken)
            rest += taken
        positions = [each["change"]["position"] for each in (one, *rest)]
        assert positions == sorted(positions), "order holds per key (invariant 4)"
        until(lambda: is_confirmed(kafka, feed), 10, "the group is at the end")


def test_one_that_is_never_acknowledged_while_others_are_is_a_dead_letter(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], partitions=1, visibility_seconds=0.1, deliveries_max=2) as (desk, subscriber):
        fill(kafka, feed, range(30))

        def all_but_one() -> bool:
            subscriber.acknowledge([each for each in subscriber.take(max=5, wait=0.2) if numbers([each]) != [0]])
            return bool(desk.letters)

        until(all_but_one, 30, "the first change is given up")
        (letter,) = desk.letters
        assert (letter.offset, letter.reason) == (0, "not_acknowledged")


def test_a_position_of_the_stream_acknowledges_everything_before_it(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], leases_max=20) as (_, subscriber):
        fill(kafka, feed, range(300))
        assert len(subscriber.resumed(300)) == 300
        assert committed_offsets(kafka, f"sub.{unique}.main") == {}, "what was told is not yet what it has"
        answer = subscriber.client.post("/v1/ack", json={"position": subscriber.position})
        assert answer.status_code == 200, answer.text
        until(lambda: is_confirmed(kafka, feed), 20, "the group is at the end")
        beyond = subscriber.position.rpartition("=")[0] + "=1000000"
        for body in ({"position": beyond}, {"position": "x"}, {"receipts": "x"}, {"receipt": []}, []):
            answer = subscriber.client.post("/v1/ack", json=body)
            assert (answer.status_code in {400, 409}, "fix: " in answer.text) == (True, True)


def test_too_many_leases_and_too_many_requests_are_told_when_to_come_again(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed], leases_max=10, requests_max=40) as (_, subscriber):
        fill(kafka, feed, range(50))
        found: list[Any] = []
        until(lambda: found.extend(subscriber.take(max=10 - len(found))) or len(found) == 10, 10, "ten are out")
        answer = refused(subscriber, "/v1/changes?wait=5")
        assert (answer.status_code, 1 <= int(answer.headers["Retry-After"]) <= 30) == (429, True)
        subscriber.acknowledge(found)
        assert subscriber.take(wait=5)
        statuses = [subscriber.client.get("/v1/changes?max=1").status_code for _ in range(200)]
        assert 429 in statuses
        assert refused(subscriber, "/v1/changes?max=0").status_code in {400, 429}


# -- who is let in -----------------------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_told_and_soon_nothing_but_to_wait(
    kafka: Kafka, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    feed = OutFeed(unique, "police.person")
    former = "F0rmer-token-that-is-still-good-for-a-while"
    with live(kafka, [feed], secrets={"previous_token": former}) as (_, subscriber):
        fill(kafka, feed, [1])
        for path in ("/v1/stream", "/v1/changes", "/v1/ack", "/no/such/path"):
            for authorization in ("", "Bearer", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}"):
                answer = subscriber.client.get(path, headers={"Authorization": authorization})
                assert answer.status_code in {401, 429}
                assert "person" not in answer.text
        assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
        assert numbers(subscriber.resumed(1)) == [1], "who has the token does not wait for who has not"
        with closing(Subscriber(subscriber.url, token=former)) as other:
            assert len(other.take(wait=5)) == 1
        assert refused(subscriber, "/no/such/path").status_code == 404
        with closing(socket.create_connection(("127.0.0.1", subscriber.client.base_url.port or 0))) as garbled:
            garbled.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\x00\r\n\r\n".encode())
            assert b" 400 " in garbled.recv(1_000)
    for secret in (TOKEN, former, TOKEN[:-1]):
        assert secret not in caplog.text


def test_a_subscriber_that_leaves_has_no_listener_any_more(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with live(kafka, [feed]) as (desk, subscriber):
        fill(kafka, feed, [1])
        assert subscriber.take(wait=10)
        desk.directory = replace(desk.directory, grants={}, subscribers={})
        until(lambda: is_refused(subscriber), 10, "nobody listens")


def test_an_address_that_is_taken_parks_the_lane_and_says_so(kafka: Kafka, unique: str) -> None:
    feed = OutFeed(unique, "police.person")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        at = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with live(kafka, [feed], listen=at) as (desk, subscriber):

            def told() -> Mapping[str, Any]:
                return desk.incidents.present()

            incident = until(lambda: told().get(f"sink {unique}.main"), 10, "it is told")
            assert "listen" in incident.reason
            assert incident.fix
            taken.close()
            until(lambda: not is_refused(subscriber), 10, "it comes back by itself")
