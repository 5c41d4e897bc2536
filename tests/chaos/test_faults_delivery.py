"""Faults of delivery by their numbers (tests/README.md): seeded, on real servers, checked from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Rejected
from schemas.log.kafka import Kafka
from schemas.log.range import read_standing
from schemas.log.writer import Log
from sinks.lane.rewind import Replay
from tests.chaos.test_kill_delivery import History, child, history, rows, seed_of_run
from tests.stage.delivering import OutFeed, decimal, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.until import until
from tests.stage.webhooks import SECRET, Endpoint

__all__ = ["history"]
ROUNDS = int(os.environ.get("MESH_CHAOS_ROUNDS", "1"))
SECRETS = {"main.signing_key": SECRET}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@contextmanager
def hook_child(kafka: Kafka, subscriber: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    with child(kafka, subscriber, "webhook", url, secrets=SECRETS, options={"concurrency": 4}) as process:
        yield process


def in_order(endpoint: Endpoint) -> None:
    """Per key, what was taken for the first time never goes back; and the same change has the same id, always."""
    ids: dict[str, str] = {}
    for message_id, body in endpoint.sent:
        assert ids.setdefault(body["position"] + body["op"], message_id) == message_id
    seen: set[str] = set()
    newest: dict[int, str] = {}
    for body in endpoint.taken:
        key, position = body["key"]["id"], body["position"]
        if position not in seen:
            assert position > newest.get(key, ""), f"key {key} went back"
            newest[key] = position
            seen.add(position)


def finally_taken(endpoint: Endpoint) -> set[str]:
    return {body["position"] for body in endpoint.taken}


def test_fault_3_a_sink_killed_after_a_receiver_took_a_change_sends_it_again_with_the_same_id(
    kafka: Kafka, history: History, endpoint: Endpoint
) -> None:
    for _ in range(3 * ROUNDS):
        history.go_on(200)
        nth = len(endpoint.came) + history.dice.randint(1, 150)
        with hook_child(kafka, history.feed.subscriber, endpoint.url) as process:

            def answer(_body: Any, nth: int = nth, process: Any = process) -> int | None:
                if len(endpoint.came) >= nth:
                    process.kill()  # it had our 200, or was about to, and has told nobody
                return 200

            endpoint.answer = answer
            until(lambda process=process: process.poll() is not None, 90, "a death after a 200")
    endpoint.answer = lambda _body: 200
    with hook_child(kafka, history.feed.subscriber, endpoint.url):
        until(lambda: finally_taken(endpoint) == history.tokens, 90, "every change")
    in_order(endpoint)


@pytest.mark.timeout(600)
def test_fault_5_a_delivery_that_was_stopped_past_its_session_writes_nothing_over_its_successor(
    kafka: Kafka, postgres: Any, history: History
) -> None:
    dsn = postgres.create_database("zombie")
    with child(kafka, history.feed.subscriber, "postgres", dsn) as first:
        history.go_on(500)
        until(lambda: rows(dsn), 90, "it delivers")
        history.go_on(history.dice.randint(500, 2_000))
        os.kill(first.pid, signal.SIGSTOP)
        try:
            history.go_on(300)
            with child(kafka, history.feed.subscriber, "postgres", dsn):
                # Stopped in the middle of a transaction it keeps its locks until the database ends that, after two minutes.
                until(lambda: rows(dsn) == history.rows, 240, "its successor took over, once its session was over")
                os.kill(first.pid, signal.SIGCONT)
                history.go_on(500)
                until(lambda: rows(dsn) == history.rows, 90, "both alive, the rows are exact")
        finally:
            os.kill(first.pid, signal.SIGCONT)
        history.go_on(200)
        until(lambda: rows(dsn) == history.rows, 90, "and the first one alone goes on")


def poison(feed: OutFeed, dice: random.Random) -> list[tuple[str, bytes | None, bytes]]:
    """(what, key, value) of records that nobody can take."""
    good = feed.record("u", {"id": 900, "name": "good", "amount": decimal("1.00")}).value or b""
    bad = [
        ("magic byte", b"\x07" + good[1:]),
        ("unknown schema", b"\x00\x00\x00\x27\x0f" + good[5:]),
        ("cut", good[: dice.randint(6, len(good) - 1)]),
        ("noise", b"\x00" + good[1:5] + dice.randbytes(dice.randint(8, 64))),
        ("empty", b""),
        ("5 MB of nothing", good[:5] + b"\xff" * 900_000),
    ]
    return [(what, feed.key_of({"id": 1_000 + number}), value) for number, (what, value) in enumerate(bad)]


def test_fault_14_records_that_nobody_can_take_are_a_dead_letter_each_and_all_others_flow(
    kafka: Kafka, postgres: Any, unique: str
) -> None:
    dice = random.Random(seed_of_run())
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=2)
    dsn = postgres.create_database("poisoned")
    names = {number: "n" for number in range(300)}

    class Known(dict[int, Any]):
        """As a registry answers of an id that nobody gave."""

        def __missing__(self, schema_id: int) -> Any:
            raise Rejected("unknown_schema", f"the registry knows no schema {schema_id}")

    schemas = Known(feed.schemas)
    with (
        closing(Log(kafka, client_id="test")) as log,
        delivering(
            kafka,
            directory_of({unique: SinkConfig(name="main", kind="postgres")}, feed),
            kinds=SINKS,
            schemas=schemas,
            addresses={(unique, "main"): dsn},
        ) as desk,
    ):
        bad = poison(feed, dice)
        mixed: list[Callable[[], None]] = [
            *(
                lambda n=n: feed.append(log, feed.record("u", {"id": n, "name": "n", "amount": decimal("1.00")}))
                for n in names
            ),
            *(lambda each=each: log.append(feed.topic, each[1], each[2]) for each in bad),
        ]
        dice.shuffle(mixed)
        for act in mixed:
            act()
        log.flush(60)
        until(lambda: rows(dsn) == names, 90, "every good row")
        until(lambda: len(desk.letters) >= len(bad), 60, "a dead letter each")
        feed.append(
            log,
            *(
                feed.record("u", {"id": 1_000 + n, "name": "mended", "amount": decimal("1.00")})
                for n in range(len(bad))
            ),
        )
        log.flush(30)
        mended = {1_000 + number: "mended" for number in range(len(bad))}
        until(lambda: rows(dsn) == names | mended, 60, "a later change of the same keys")
    assert len(desk.letters) == len(bad)
    assert sorted(len(letter.value or b"") for letter in desk.letters) == sorted(len(value) for _, _, value in bad)


class Moody:
    """A receiver with moods, one a request, from dice: it takes a change in the end, and remembers each that it took."""

    def __init__(self, dice: random.Random) -> None:  # noqa: C901 -- one arm per mood
        self.dice, self.taken, self.is_well = dice, list[str](), False
        self.moods: dict[str, int] = {}
        moody = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mood = "well" if moody.is_well else moody.dice.choice(MOODS)
                moody.moods[mood] = moody.moods.get(mood, 0) + 1
                with suppress(OSError):
                    self.act(mood, body)

            def act(self, mood: str, body: Any) -> None:
                match mood:
                    case "500" | "503" | "301":
                        self.say(int(mood))
                    case "429":
                        self.say(429, ("Retry-After", "1"))
                    case "hangs":
                        time.sleep(1.5)  # longer than it is given
                        self.close_connection = True
                    case "drips":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                        for _ in range(20):
                            self.wfile.write(b"X")
                            self.wfile.flush()
                            time.sleep(0.1)
                        self.close_connection = True
                    case "resets":
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                    case "takes and resets":
                        moody.taken.append(body["position"])
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                    case "huge":
                        moody.taken.append(body["position"])
                        self.say(200, text=b"x" * 2_000_000)
                    case _:
                        moody.taken.append(body["position"])
                        self.say(200)

            def say(self, status: int, *headers: tuple[str, str], text: bytes = b"") -> None:
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


MOODS = ("well",) * 8 + ("500", "503", "301", "429", "hangs", "drips", "resets", "takes and resets", "huge")


def test_fault_16_a_receiver_of_every_mood_gets_all_in_the_end_and_its_neighbour_notices_nothing(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    dice = random.Random(seed_of_run())
    moody = Moody(dice)
    feed, other = OutFeed(f"{unique}a", "police.person"), OutFeed(f"{unique}b", "police.person")
    for each in (feed, other):
        create(kafka, each.topic, partitions=2)
    options = {
        "timeout_seconds": 1.0,
        "schedule_seconds": [0.05, 0.1, 0.2, 0.2, 0.5, 0.5, 1, 1, 1, 1, 1, 1],
        "concurrency": 4,
    }
    sinks = {
        feed.subscriber: SinkConfig(name="main", kind="webhook", options=options),
        other.subscriber: SinkConfig(name="main", kind="webhook", options={"concurrency": 4}),
    }
    addresses = {(feed.subscriber, "main"): moody.url, (other.subscriber, "main"): endpoint.url}
    addresses |= {(each.subscriber, "main.signing_key"): SECRET for each in (feed, other)}
    sent: list[str] = []
    try:
        with (
            closing(Log(kafka, client_id="test", linger_ms=0)) as log,
            delivering(
                kafka, directory_of(sinks, feed, other), kinds=SINKS, schemas=feed.schemas, addresses=addresses
            ) as desk,
        ):
            for number in range(150):
                for each in (feed, other):
                    record = each.record("u", {"id": number % 30, "name": f"n{number}", "amount": decimal("1.00")})
                    each.append(log, record)
                sent.append(f'["0000","{feed.ordinal:016X}","00000001"]')
                log.flush(30)
            until(lambda: len(endpoint.taken) >= 150, 60, "the neighbour has all of its own")
            until(lambda: len(moody.taken) >= 75, 90, "the moody one takes some")
            moody.is_well = True
            letters = {letter.position for letter in desk.letters}
            until(lambda: set(moody.taken) | letters >= set(sent), 90, "and all in the end")
            latencies = sorted(desk.watch.latencies[f"{other.subscriber}.police.person"])
        assert latencies[int(len(latencies) * 0.99)] < 2.0
        assert len(moody.moods) > 5, moody.moods
        assert {letter.reason for letter in desk.letters} <= {"tries_used_up"}
    finally:
        moody.close()


def test_fault_18_a_clock_that_jumps_an_hour_delays_nothing_and_counts_no_lag_below_zero(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    dice = random.Random(seed_of_run())
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=1)
    skew = [0.0]
    sink = SinkConfig(name="main", kind="files", options={"every_seconds": 1})
    began = time.monotonic()
    with (
        closing(Log(kafka, client_id="test")) as log,
        delivering(
            kafka,
            directory_of({unique: sink}, feed),
            kinds=SINKS,
            schemas=feed.schemas,
            addresses={(unique, "main"): str(tmp_path)},
            now=lambda: time.time() + skew[0],
        ) as desk,
    ):
        for number in range(1, 7):
            feed.append(log, *(feed.record("u", {"id": n, "name": "n", "amount": decimal("1.00")}) for n in range(20)))
            log.flush(30)
            skew[0] = dice.choice([-3_600.0, 3_600.0, dice.uniform(-3_600, 3_600)])
            until(
                lambda number=number: lines_of(tmp_path) == number * 20, 20, "a drop a second, whatever the clock says"
            )
    assert time.monotonic() - began < 150
    assert desk.watch.lags == {} or min(desk.watch.lags.values()) >= 0
    assert min(desk.watch.latencies[f"{unique}.police.person"]) >= 0


def lines_of(directory: Path) -> int:
    manifests = directory.glob("police.person/*.done.json")
    return sum(json.loads(path.read_text("utf-8"))["records"] for path in manifests)


def test_fault_19_retention_that_passes_a_stopped_subscriber_is_told_and_never_a_silent_gap(
    kafka: Kafka, unique: str, history: History, postgres: Any
) -> None:
    dsn = postgres.create_database("passed")
    feed = history.feed
    history.go_on(400)
    with child(kafka, feed.subscriber, "postgres", dsn):
        until(lambda: rows(dsn) == history.rows, 90, "it is up to date")
    before = rows(dsn)
    history.go_on(1_000)
    admin = AdminClient(kafka.client({}))
    cut = [TopicPartition(feed.topic, number, history.dice.randint(480, 560)) for number in range(2)]
    for future in admin.delete_records(cut).values():
        future.result(30)
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="postgres")}, feed)
    addresses = {(feed.subscriber, "main"): dsn}
    with delivering(kafka, directory, kinds=SINKS, schemas=feed.schemas, addresses=addresses) as desk:

        def told() -> Any:
            return [incident for incident in desk.incidents.present().values() if "begins at" in incident.reason]

        [incident] = until(told, 60, "the gap is told")
        assert incident.is_standstill
        assert "mesh" in incident.fix, "with what to do"
        assert rows(dsn) == before, "and nothing behind it is delivered as if it were whole"


@pytest.mark.timeout(300)
def test_fault_21_removals_that_compaction_took_from_a_slow_sink_are_applied_all_the_same(
    kafka: Kafka, postgres: Any, unique: str
) -> None:
    """The removal itself is compacted away by its tombstone, which stays readable for longer than an outage may last."""
    dice = random.Random(seed_of_run())
    feed = OutFeed(unique, "police.person")
    admin = AdminClient(kafka.client({}))
    settings = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.001",
        "segment.ms": "200",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "200",
        "delete.retention.ms": "604800000",
    }
    new = NewTopic(feed.topic, num_partitions=1, replication_factor=1, config=settings)
    admin.create_topics([new])[feed.topic].result(30)
    dsn = postgres.create_database("compacted")
    gone = dice.sample(range(100), 40)
    with closing(Log(kafka, client_id="test")) as log:

        def upsert(number: int, name: str) -> None:
            feed.append(log, feed.record("u", {"id": number, "name": name, "amount": decimal("1.00")}))

        for number in range(100):
            upsert(number, "n")
        log.flush(30)
        with child(kafka, unique, "postgres", dsn):
            until(lambda: len(rows(dsn)) == 100, 90, "it is up to date")
        for number in gone:
            feed.append(log, feed.record("d", {"id": number}), feed.tombstone({"id": number}))
        log.flush(30)

        def is_compacted() -> bool:
            upsert(999, f"n{time.monotonic()}")  # a segment in use is not compacted
            log.flush(30)
            return removals_left(kafka, feed) == 0

        until(is_compacted, 200, "compaction took the removals, and left their tombstones")
    with child(kafka, unique, "postgres", dsn):
        kept = set(range(100)) - set(gone)
        until(lambda: set(rows(dsn)) - {999} == kept, 90, "what was removed is removed")


def removals_left(kafka: Kafka, feed: OutFeed) -> int:
    found = [record for batch in read_standing(kafka, feed.topic, 0) for record in batch.records if record.value]
    return sum(1 for record in found if feed.codec.decode(record.value or b"")["op"] == "d")


class AskedReplays:
    """Requests to deliver again, from the test."""

    def __init__(self) -> None:
        self.asked: dict[str, Replay] = {}

    def pending(self) -> list[Replay]:
        return list(self.asked.values())

    def begun(self, replay: Replay) -> None:
        self.asked.pop(replay.request_id, None)


def test_fault_22_replays_during_live_writes_leave_no_ghost_and_no_older_row(
    kafka: Kafka, postgres: Any, history: History
) -> None:
    dsn, feed = postgres.create_database("replayed"), history.feed
    replays = AskedReplays()
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="postgres")}, feed)
    with delivering(
        kafka,
        directory,
        kinds=SINKS,
        schemas=feed.schemas,
        addresses={(feed.subscriber, "main"): dsn},
        replays=replays,
    ) as desk:
        history.go_on(600)
        until(lambda: rows(dsn) == history.rows, 90, "it is up to date")
        for number in range(4 * ROUNDS):
            starts = {partition: history.dice.randint(0, 200) for partition in range(2)}
            request = Replay(
                request_id=str(number), grant_id=f"{feed.subscriber}.police.person", topic=feed.topic, starts=starts
            )
            replays.asked[request.request_id] = request
            while request.request_id in replays.asked:
                history.go_on(20)
            history.go_on(history.dice.randint(50, 300))
        until(lambda: rows(dsn) == history.rows, 90, "exactly what is newest: no ghost, no older row")
    assert desk.letters == []


def test_fault_25_a_delivery_that_is_asked_to_end_under_load_ends_soon_and_sends_nothing_twice_but_what_was_out(
    kafka: Kafka, history: History, endpoint: Endpoint
) -> None:
    terminations = 4 * ROUNDS
    for _ in range(terminations):
        history.go_on(150)
        before = len(endpoint.taken)
        with hook_child(kafka, history.feed.subscriber, endpoint.url) as process:
            wanted = before + history.dice.randint(1, 100)
            until(lambda wanted=wanted: len(endpoint.taken) >= wanted, 90, "it is under load")
            process.terminate()
            asked_at = time.monotonic()
            assert process.wait(30) == 0
            assert time.monotonic() - asked_at < 10
    with hook_child(kafka, history.feed.subscriber, endpoint.url):
        until(lambda: finally_taken(endpoint) == history.tokens, 90, "every change")
    twice = len(endpoint.taken) - len(finally_taken(endpoint))
    assert twice <= 2 * terminations, (
        "what was out when it was asked to end is waited for, and counts: of the four each time not half had no answer in time"
    )
    in_order(endpoint)
