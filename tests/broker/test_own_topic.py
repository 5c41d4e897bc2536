"""A subscriber that reads its topics itself: what its login may, what its group confirms, rotation, the end of a grant, leaving."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
)

from schemas.feed import AUDIT
from schemas.log.control.follower import read_directory
from schemas.log.rights.login import every_right
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, run
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "score": "int"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, score int); ALTER TABLE t REPLICA IDENTITY FULL"


class Own:
    """An agency's table `t` of 30 rows, granted to a subscriber that reads it itself, and to another by a database."""

    def __init__(self, mesh: RunningMesh) -> None:
        self.mesh = mesh
        self.agency, self.code, self.other = (f"{mesh.unique}{end}" for end in "aso")
        self.feed = f"{self.agency}.t"
        self.grant = f"{self.code}.{self.feed}"
        self.topic = f"out.{self.grant}"
        self.ends = f"ends.{self.code}.own"
        self.group = f"sub.{self.code}.own"
        self.source = mesh.database(self.agency)
        mesh.database(self.code)
        mesh.database(self.other)
        mesh.agency(self.agency, {"t": contract(["id"], FIELDS)})
        mesh.subscriber(self.other, {"feed": self.feed, "columns": ["name", "score"]})
        self.subscribe()
        with database(self.source) as town:
            town.execute(TABLE)
            town.execute("INSERT INTO t SELECT n, 'n' || n, n FROM generate_series(1, 30) n")
        self.onboarded = mesh.done("onboard", mesh.folder)
        self.file = mesh.directory / "connections" / f"{self.code}.own.properties"

    def subscribe(self, **grant: str) -> None:
        """Its folder: a database, and a sink that it reads itself, through which the grant goes."""
        named = {"feed": self.feed, "columns": ["name", "score"], "sink": "own", **grant}
        path = self.mesh.subscriber(self.code, named) / "subscriber.yaml"
        folder = json.loads(path.read_text())
        folder["sinks"].append({"name": "own", "kind": "kafka"})
        path.write_text(json.dumps(folder))

    def login(self) -> dict[str, str]:
        """The file that was handed over, as librdkafka's settings."""
        lines = [line for line in self.file.read_text().splitlines() if line and not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)

    def reader(self, login: Mapping[str, str] | None = None, **settings: Any) -> Consumer:
        own = {"enable.auto.commit": False, "log_level": 0, "topic.metadata.refresh.interval.ms": 1000}
        return Consumer({**(login or self.login()), **own, **settings})

    def subscription(self, verb: str, *arguments: str) -> Ran:
        return run("subscription", verb, "--dir", self.mesh.directory, "--json", *arguments, env=self.mesh.variables)

    def change(self, name: str) -> None:
        with database(self.source) as town:
            town.execute("UPDATE t SET name = %s WHERE id = 1", (name,))

    def audited(self) -> list[Mapping[str, Any]]:
        lines = [json.loads(message.value() or b"{}") for message in self.mesh.records(AUDIT)]
        return [line for line in lines if self.code in line["subject"]]


@pytest.fixture
def own(mesh: RunningMesh) -> Own:
    return Own(mesh)


@contextmanager
def reading(consumer: Consumer, *topics: str) -> Iterator[Consumer]:
    consumer.subscribe(list(topics))
    with closing(consumer):
        yield consumer


def taken(consumer: Consumer, count: int, within_seconds: float = 60) -> list[Message]:
    """So many records, none of them an error."""
    found: list[Message] = []

    def look() -> bool:
        for message in consumer.consume(count - len(found), 0.2):
            assert message.error() is None, message.error()
            found.append(message)
        return len(found) >= count

    until(look, within_seconds, f"{count} records")
    return found


def refusal(consumer: Consumer, *topics: str) -> str:
    """How a consumer of these topics is refused."""
    try:
        with reading(consumer, *topics):
            return until(lambda: _error(consumer.poll(0.5)), 30, f"{topics} are refused")
    except KafkaException as error:
        return error.args[0].name()


def _error(message: Message | None) -> str:
    error = message.error() if message is not None else None
    return error.name() if error is not None else ""


def written(login: Mapping[str, str], topic: str) -> str:
    answers: list[Any] = []
    entering = {name: value for name, value in login.items() if not name.startswith(("group", "auto"))}
    producer = Producer({**entering, "log_level": 0, "message.timeout.ms": 20_000})
    producer.produce(topic, b"forged", on_delivery=lambda error, _: answers.append(error))
    producer.flush(30)
    return answers[0].name() if answers[0] else "taken"


def test_its_login_reads_what_is_granted_and_nothing_else_and_its_group_is_its_word(own: Own) -> None:
    mesh, login = own.mesh, own.login()
    assert own.file.stat().st_mode & 0o777 == 0o600
    assert any(str(own.file) in notice for notice in own.onboarded["notices"]), (
        "whoever onboards learns what to hand over"
    )
    assert login["group.id"] == own.group

    until(lambda: len(mesh.records(own.topic)) == 30, 60, "all rows are there")
    [row] = [each for each in mesh.done("status", "--once")["subscriptions"] if each["grant_id"] == own.grant]
    assert (row["delivered"], row["lag_records"]) == (0, 30)
    with reading(own.reader(), own.topic, own.ends) as consumer:
        taken(consumer, 30)
        consumer.commit(asynchronous=False)
        [row] = [each for each in mesh.done("status", "--once")["subscriptions"] if each["grant_id"] == own.grant]
        assert (row["delivered"], row["lag_records"], row["health"]) == (30, 0, "ok")

        def line() -> Mapping[str, Any]:
            return mesh.done("ledger", "--subscriber", own.code)["subscriptions"][own.grant]

        until(lambda: (line()["standing"], line()["acknowledged"]) == ("balanced", 30), 30, "the ledger has its word")
        own.change("more")
        taken(consumer, 1)
        until(lambda: (line()["standing"], line()["waiting"]) == ("behind", 1), 30, "what it has not confirmed waits")
        explained = run("grant", "explain", "--dir", mesh.directory, own.grant, "--key", "1", env=mesh.variables)
        assert "its subscriber's group has acknowledged" in explained.out
        consumer.commit(asynchronous=False)
        told = mesh.done("access", "--feed", own.feed, "--key", "id=1", "--purpose", "who has it")
        [mine] = [each for each in told["recipients"] if each["grant"] == own.grant]
        assert {each["state"] for each in mine["records"]} == {"acknowledged"}
    ran = mesh.run("verify", own.grant)
    assert "nothing to read back" in ran.out

    theirs = f"out.{own.other}.{own.feed}"
    for topic in (theirs, own.feed, "mesh.grants", AUDIT, f"dlq.{own.topic}"):
        assert refusal(own.reader(), topic) == "TOPIC_AUTHORIZATION_FAILED", topic
    for group in (f"sub.{own.code}.main", f"sub.{own.other}.main", f"sub.{own.code}.ownish", "mesh.streams", "any"):
        assert refusal(own.reader(**{"group.id": group}), own.topic) == "GROUP_AUTHORIZATION_FAILED", group
    for topic in (own.topic, own.ends, theirs, own.feed, "mesh.grants"):
        assert written(login, topic) == "TOPIC_AUTHORIZATION_FAILED", topic
    entering = {name: value for name, value in login.items() if not name.startswith(("group", "auto"))}
    admin = AdminClient({**entering, "log_level": 0})
    with pytest.raises(KafkaException, match="AUTHORIZATION_FAILED"):
        next(iter(admin.create_topics([NewTopic(f"out.{own.code}.mine", 1, 1)]).values())).result()
    assert set(admin.list_topics(timeout=30).topics) == {own.topic, own.ends}, "it sees no other topic"
    # Beside its own group it may have others, whose word counts for nothing.
    with reading(own.reader(**{"group.id": f"{own.group}.trial"}), own.topic) as consumer:
        taken(consumer, 31)

    refused = own.subscription("pause", f"{own.code}.own")
    assert (refused.status, "read by its subscriber itself" in refused.err) == (1, True)
    [listed] = own.subscription("list", f"{own.code}.own").json
    assert listed["logins"] == [f"{own.code}.own.1"]
    assert mesh.done("onboard", mesh.folder)["notices"] == [], "onboarded again it keeps its login"
    assert own.login() == login

    ends_at = datetime.now(UTC) + timedelta(seconds=6)
    own.subscribe(valid_to=ends_at.isoformat())
    mesh.done("onboard", mesh.folder / own.code)
    with reading(own.reader(), own.topic) as consumer:
        until(
            lambda: _error(consumer.poll(0.2)) == "TOPIC_AUTHORIZATION_FAILED",
            30,
            "its time is over, and no command ran",
        )
    assert 0 <= (datetime.now(UTC) - ends_at).total_seconds() < 5


def test_a_rotation_lets_both_logins_in_for_as_long_as_it_says_and_its_password_is_nowhere_else(own: Own) -> None:
    mesh, former = own.mesh, own.login()
    name = f"{own.code}.own"
    until(lambda: len(mesh.records(own.topic)) == 30, 60, "all rows are there")
    with reading(own.reader(former), own.topic) as consumer:
        taken(consumer, 30)
        consumer.commit(asynchronous=False)
        rotated = own.subscription("rotate", name, "--overlap", "6s")
        assert rotated.status == 0, rotated.err
        at = time.monotonic()
        login = own.login()
        assert rotated.json["user"] == login["sasl.username"] == f"{name}.2"
        assert [each["user"] for each in rotated.json["former"]] == [f"{name}.1"]
        with reading(own.reader(login, **{"group.id": f"{own.group}.new"}), own.topic) as successor:
            taken(successor, 30)
            own.change("b")
            taken(consumer, 1, 5)
            assert time.monotonic() < at + 6, "both could read"
            until(lambda: "AUTHORIZATION" in _error(consumer.poll(0.2)), 30, "the former one, connected, is refused")
            own.change("c")
            taken(successor, 2)
    until(lambda: f"{name}.1" not in read_directory(mesh.kafka).logins, 30, "nothing is left of it")
    with pytest.raises(AssertionError):
        taken(own.reader(former), 1, 1)
    at_once = own.subscription("rotate", name, "--overlap", "0s")
    assert [each["until"] for each in at_once.json["former"]] == [None]
    assert set(read_directory(mesh.kafka).logins) & {f"{name}.{n}" for n in (1, 2, 3)} == {f"{name}.3"}
    whats = [line["what"] for line in own.audited() if line["subject"] == name]
    assert [what for what in whats if what.startswith("login")] == [
        *("login made", "login made", "login to be removed", "login removed"),
        *("login made", "login to be removed", "login removed"),
    ]
    secrets = [each["sasl.password"] for each in (former, login, own.login())]
    texts = [path.read_bytes() for path in (mesh.directory / "log").rglob("*.log")]
    texts += [message.value() or b"" for topic in (AUDIT, "mesh.logins") for message in mesh.records(topic)]
    texts += [each.out.encode() for each in (rotated, at_once)]
    assert not [secret for secret in secrets if any(secret.encode() in text for text in texts)]
    assert len(set(secrets)) == 3
    wrong = own.subscription("rotate", f"{own.code}.main")
    assert (wrong.status, "whose topics its subscriber reads itself" in wrong.err) == (1, True)


def test_an_ended_grant_stops_its_reader_and_is_confirmed_by_it_and_leaving_takes_everything(own: Own) -> None:
    mesh = own.mesh
    with reading(own.reader(), own.topic, own.ends) as consumer:
        taken(consumer, 30)
        consumer.commit(asynchronous=False)
        assert mesh.run("grant", own.grant, "REVOKED").status == 0
        at = time.monotonic()
        found: list[Message] = []

        def refused() -> bool:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message)
            return message is not None and _error(message) == "TOPIC_AUTHORIZATION_FAILED"

        until(refused, 30, "the running consumer is refused")
        assert time.monotonic() < at + 5
        own.change("after its end")
        end = found[0] if found else until(lambda: end_told(consumer), 30, "the end is told")
        assert [each.topic() for each in found] in ([], [own.ends]), "and nothing else comes"
        headers = {name: value.decode() for name, value in end.headers() or ()}
        assert (end.topic(), headers["reason"], headers["topic"]) == (own.ends, "GRANT_ENDED", own.topic)
        assert headers["grant_id"] == own.grant
        ending = read_directory(mesh.kafka).endings.get(own.topic)
        assert ending is None or ending.acknowledged_at is None, "nobody confirmed it yet"
        consumer.commit(end, asynchronous=False)

    def confirmed() -> bool:
        ending = read_directory(mesh.kafka).endings.get(own.topic)
        return ending is not None and ending.acknowledged_at is not None

    until(confirmed, 30, "its group's commit is the confirmation")
    [line] = [line for line in own.audited() if line["what"] == "grant ended"]
    assert (line["subject"], line["reason"]) == (own.grant, "REVOKED")

    assert mesh.run("grant", own.grant, "ACTIVE").status == 0
    with reading(own.reader(), f"{own.topic}-2", own.ends) as consumer:
        taken(consumer, 30)
        assert refusal(own.reader(**{"group.id": f"{own.group}.old"}), own.topic) == "TOPIC_AUTHORIZATION_FAILED"
        begun = mesh.run("offboard", "subscriber", own.code, "--yes", "--json", "--wait", "0")
        assert begun.json["done"], begun.err
        consumer.commit(until(lambda: end_told(consumer), 30, "the end is told"), asynchronous=False)
    until(lambda: own.code not in read_directory(mesh.kafka).subscribers, 90, "it has left")
    admin = AdminClient(mesh.kafka.client({"log_level": 0}))
    assert not [each for each in admin.list_consumer_groups().result().valid if each.group_id.startswith(own.group)]
    users = admin.describe_user_scram_credentials([f"{own.code}.own.1"])
    with pytest.raises(KafkaException, match="RESOURCE_NOT_FOUND"):
        next(iter(users.values())).result()
    assert not rights_of(admin, f"{own.code}.own.1")
    assert not own.file.exists()


def end_told(consumer: Consumer) -> Message | None:
    """The next record on its topic of ends; refusals of the topic that is closed may come before it."""
    message = consumer.poll(0.2)
    return message if message is not None and message.error() is None and message.topic().startswith("ends.") else None


def rights_of(admin: AdminClient, user: str) -> list[Any]:
    return admin.describe_acls(every_right(user)).result()
