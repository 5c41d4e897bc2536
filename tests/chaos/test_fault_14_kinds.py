"""Fault 14 in every kind of sink: null keys, numbers that are none, five megabytes; each is delivered whole, or set aside alone."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from schemas.change import Record
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage.delivering import PERSON, Desk, OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.live_feed import TOKEN, Subscriber, free_port
from tests.stage.maria import MariaServer, rows_or_none
from tests.stage.until import until
from tests.stage.webhooks import SECRET, Endpoint

FIELDS = [*PERSON, {"name": "ratio", "type": ["null", "double"]}]
GOOD = range(1, 31)
FIVE_MEGABYTES = "五" * (5_000_000 // 3)
POISON: Mapping[int, Mapping[str, Any]] = {
    101: {"ratio": math.nan},
    102: {"ratio": math.inf},
    103: {"ratio": -math.inf},
    104: {"name": FIVE_MEGABYTES},
}
NULL_KEY = 105
SQL = "SELECT id, name, ratio FROM police_person"


@dataclass
class Target:
    """One subscriber; `held` gives what it has of each row: name and ratio, a ratio that is no number as a text."""

    feed: OutFeed
    config: SinkConfig
    held: Callable[[], Mapping[int, tuple[Any, Any]]]
    secrets: Mapping[str, str] = field(default_factory=dict)


def told(ratio: Any) -> Any:
    """As JSON has it, which knows no such numbers: a text."""
    if not isinstance(ratio, float) or math.isfinite(ratio):
        return ratio
    return "NaN" if math.isnan(ratio) else "Infinity" if ratio > 0 else "-Infinity"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def targets(postgres: Any, mariadb: MariaServer, endpoint: Endpoint, tmp_path: Path, unique: str) -> dict[str, Target]:
    dsn, maria, port = postgres.create_database("fault14"), mariadb.create_database("fault14"), free_port()
    taken: dict[int, tuple[Any, Any]] = {}

    def of_postgres() -> Mapping[int, tuple[Any, Any]]:
        with psycopg.connect(dsn) as connection:
            if connection.execute("SELECT to_regclass('police_person')").fetchone() == (None,):
                return {}
            return {number: (name, told(ratio)) for number, name, ratio in connection.execute(SQL)}

    def of_json(bodies: list[Any]) -> Mapping[int, tuple[Any, Any]]:
        return {body["after"]["id"]: (body["after"]["name"], body["after"]["ratio"]) for body in bodies}

    def of_files() -> Mapping[int, tuple[Any, Any]]:
        files = [path.with_name(path.name.removesuffix(".done.json")) for path in tmp_path.rglob("*.jsonl.done.json")]
        rows = [strict(line) for file in files for line in file.read_text("utf-8").splitlines()]
        return {row["id"]: (row["name"], row["ratio"]) for row in rows}

    def of_live() -> Mapping[int, tuple[Any, Any]]:
        with closing(Subscriber(f"http://127.0.0.1:{port}")) as subscriber:
            if found := subscriber.take(max=20):
                taken.update(of_json([each["change"] for each in found]))
                subscriber.acknowledge(found)
        return taken

    def target(kind: str, held: Any, secrets: Mapping[str, str], **options: Any) -> Target:
        feed = OutFeed(f"{unique}{kind}", "police.person", FIELDS)
        return Target(feed, SinkConfig(name="main", kind=kind, options=options), held, secrets)

    return {
        "postgres": target("postgres", of_postgres, {"main": dsn}),
        "mysql": target("mysql", lambda: {n: (a, told(r)) for n, a, r in rows_or_none(maria, SQL)}, {"main": maria}),
        "webhook": target(
            "webhook", lambda: of_json(endpoint.taken), {"main": endpoint.url, "main.signing_key": SECRET}
        ),
        "files": target("files", of_files, {"main": str(tmp_path)}, every_seconds=0.3),
        "live": target("live", of_live, {"main.token": TOKEN}, listen=f"http://127.0.0.1:{port}", requests_max=1000),
    }


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def records(feed: OutFeed) -> dict[int, Record]:
    """Good rows, and among them those that are poison to somebody."""
    rows = [{"id": number, "name": "n", "ratio": number / 2} for number in GOOD]
    rows[10:10] = [{"id": number, "name": "n", **row} for number, row in POISON.items()]
    found = {row["id"]: feed.record("u", row) for row in rows}
    bare = feed.record("u", {"id": NULL_KEY, "name": "n", "ratio": 1.0})
    return {1: found.pop(1), NULL_KEY: bare._replace(key=None), **found}


def test_fault_14_null_keys_numbers_that_are_none_and_five_megabytes_in_every_kind_of_sink(
    kafka: Kafka, targets: dict[str, Target]
) -> None:
    every = list(targets.values())
    create(kafka, *(each.feed.topic for each in every), partitions=1)
    directory = directory_of({each.feed.subscriber: each.config for each in every}, *(each.feed for each in every))
    addresses = {(each.feed.subscriber, name): secret for each in every for name, secret in each.secrets.items()}
    sent: dict[str, dict[int, Record]] = {}
    with closing(Log(kafka, client_id="test", extra={"message.max.bytes": "8000000"})) as log:
        for kind, each in targets.items():
            sent[kind] = records(each.feed)
            each.feed.append(log, *sent[kind].values())
        log.flush(60)
    with delivering(kafka, directory, kinds=SINKS, schemas=every[0].feed.schemas, addresses=addresses) as desk:
        for kind, each in targets.items():
            until(lambda each=each: held_or_dead(each, desk) >= {*GOOD, *POISON, NULL_KEY}, 90, f"{kind}: each row")
        outcomes = {kind: outcome(each, sent[kind], desk) for kind, each in targets.items()}
    assert outcomes == EXPECTED
    assert all(not desk.told(each.feed) for each in every), "no lane stands"


def dead(target: Target, desk: Desk) -> dict[bytes, Any]:
    return {letter.value or b"": letter for letter in desk.letters if letter.topic == target.feed.topic}


def held_or_dead(target: Target, desk: Desk) -> set[int]:
    codec = target.feed.codec
    letters = {codec.decode(value)["after"]["id"] for value in dead(target, desk)}
    return {*target.held(), *letters}


def outcome(target: Target, sent: Mapping[int, Record], desk: Desk) -> dict[int, str]:
    """Of each poisoned row whether it is there whole, or why it was set aside; in full, and once."""
    held, letters, found = target.held(), dead(target, desk), dict[int, str]()
    assert {number: held.get(number) for number in GOOD} == {number: ("n", number / 2) for number in GOOD}
    for number in (*POISON, NULL_KEY):
        letter = letters.get(sent[number].value or b"")
        if number in held:
            assert letter is None, f"{number} is both"
            row = {"name": "n", "ratio": 1.0 if number == NULL_KEY else None, **POISON.get(number, {})}
            name, ratio = held[number]
            assert name == row["name"], number
            found[number] = "whole" if told(row["ratio"]) == ratio else f"ratio {ratio}"
        else:
            assert letter is not None, f"{number} is nowhere"
            found[number] = letter.reason
    return found


WHOLE = dict.fromkeys((*POISON, NULL_KEY), "whole")
EXPECTED: Mapping[str, Mapping[int, str]] = {
    # A row of a table is found by its key, and MariaDB's numbers are finite.
    "postgres": {**WHOLE, NULL_KEY: "no_key"},
    "mysql": {**WHOLE, NULL_KEY: "no_key", **dict.fromkeys((101, 102, 103), "value_out_of_range")},
    **dict.fromkeys(("webhook", "files", "live"), WHOLE),
}
