"""A small city whose flow is folded by worker processes on a broker, for tests that kill them."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from schemas.agreement.directory import FeedEntry
from schemas.contract import Contract
from schemas.decision import LEAVE_OUT, UNDO, Decision
from schemas.feed import key_subject, value_subject
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from schemas.position import Position
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from streams.engine.inbox.message import TICK, message_key, pack
from streams.operators.decided import basis
from streams.operators.flow import Fact, Row, row_id
from tests.stage import feeds
from tests.stage.demo_flow import DOUBTED, contracts, doubt
from tests.stage.rehearsal import days, micros
from tests.stage.until import until

PARTITIONS = 4
PEOPLE = 400
WITHIN_SECONDS = 120


class City:
    """The two source feeds, written to as capture would, and officers' decisions; remembers what the tables hold now."""

    def __init__(self, kafka: Kafka, registry: str, prefix: str) -> None:
        self.prefix = prefix
        self.contracts = contracts(prefix)
        with closing(RegistryClient(registry)) as client:
            self.entries = {feed: self._register(client, contract) for feed, contract in self.contracts.items()}
            self.schema_of = client.schema
            self._codec = Codec(client.schema)
            for entry in self.entries.values():
                client.schema(entry.key_schema_id), client.schema(entry.value_schema_id)
            self._prime()
        self._log = Log(kafka, client_id="tests-city")
        self.tables: dict[str, dict[str, Row]] = {}
        self.left_out: dict[str, Row] = {}
        """The vehicles that officers left out, as they were then."""
        self._number = 0
        feeds.create(kafka, f"{prefix}decisions", partitions=1)
        feeds.create(kafka, *self.contracts, f"{prefix}inbox", f"{prefix}state", partitions=PARTITIONS)

    @staticmethod
    def _register(client: RegistryClient, contract: Contract) -> FeedEntry:
        return FeedEntry(
            contract=contract,
            version=1,
            key_schema_id=client.register(key_subject(contract.feed), key_schema(contract)),
            value_schema_id=client.register(value_subject(contract.feed), value_schema(contract)),
            partitions=PARTITIONS,
        )

    def _prime(self) -> None:
        for entry in self.entries.values():
            self._codec._schema(entry.key_schema_id)
            self._codec._schema(entry.value_schema_id)

    def put(self, table: str, columns: dict[str, Any]) -> None:
        feed = self.prefix + table
        contract = self.contracts[feed]
        row = {name: columns.get(name) for name in contract.by_name}
        identity = row_id(row, contract.key)
        self._write(feed, identity, self.tables.get(feed, {}).get(identity), row)

    def delete(self, table: str, identity: str) -> None:
        feed = self.prefix + table
        if (before := self.tables.get(feed, {}).get(identity)) is not None:
            self._write(feed, identity, before, None)

    def _write(self, feed: str, identity: str, before: Row | None, after: Row | None) -> None:
        self._number += 1
        committed = int(time.time() * 1000)
        change = RowChange("city", feed, identity, before, after, Position(1, self._number, 1), committed, None)
        for topic, key, value, _, _ in DerivedFeed(self.entries[feed]).records(change):
            self._log.append(topic, key, value)
        table = self.tables.setdefault(feed, {})
        if after is None:
            del table[identity]
        else:
            table[identity] = after

    def decide(self, vin: str) -> None:
        """An officer leaves a vehicle out whose plate is in doubt, or takes that back."""
        feed = f"{self.prefix}police.vehicle"
        row = self.tables.get(feed, {}).get(vin)
        outcome = UNDO if vin in self.left_out else LEAVE_OUT
        if row is None or row["plate_no"] != DOUBTED:
            return
        fact = Fact(feed, vin, row, "", 0, 0)
        item = doubt(fact)
        decision = Decision(
            flow="demo", subject=f"vehicle:{vin}", item=item["conflict_id"], outcome=outcome, says=outcome, by="officer",
            at=int(time.time() * 1_000_000), opened_at=0, basis=basis(item, {feed: {vin: fact}}), claims=(0,),
        )  # fmt: skip
        self._log.append(f"{self.prefix}decisions", decision.key.encode(), json.dumps(decision.to_json()).encode())
        if outcome == UNDO:
            del self.left_out[vin]
        else:
            self.left_out[vin] = row

    def is_left_out(self, vin: str, row: Row) -> bool:
        """Whether what was decided about a vehicle was decided about just this row."""
        return row["plate_no"] == DOUBTED and self.left_out.get(vin) == row

    def flush(self) -> None:
        self._log.flush(60)

    def close(self) -> None:
        self._log.close()

    def rows(self, kafka: Kafka, table: str) -> dict[str, Row]:
        """The rows of a derived feed, folded from its records; a tombstone must follow a delete, and positions must grow."""
        feed = self.prefix + table
        found: dict[str, Row] = {}
        newest: dict[str, str] = {}
        for records in feeds.read_all(kafka, [feed]).values():
            for message in records:
                if message.value() is None:
                    continue
                value = self._codec.decode(message.value())
                row = value["after"] or value["before"]
                identity = row_id(row, self.contracts[feed].key)
                position = value["source"]["sequence"]
                assert position > newest.get(identity, ""), f"{feed}: {identity} went back to {position}"
                newest[identity] = position
                assert value["before"] == found.get(identity), f"{feed}: a change does not follow the one before it"
                if value["after"] is None:
                    found.pop(identity)
                else:
                    found[identity] = row
        return found


class Worker:
    def __init__(self, kafka: Kafka, registry: str, city: City, directory: Path, name: str) -> None:
        self._options = {
            "kafka": kafka.environment(),
            "registry": registry,
            "prefix": city.prefix,
            "partitions": PARTITIONS,
            "group": f"{city.prefix}flows",
            "name": name,
            "data_dir": str(directory / name),
            "feeds": [entry.to_json() for entry in city.entries.values()],
        }
        self.folder = directory / name
        self.folder.mkdir()
        self._output = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._output.open("ab") as output:
            argv = [sys.executable, "-m", "tests.stage.flow_process", json.dumps(self._options)]
            self._process = subprocess.Popen(argv, stdout=output, stderr=output)

    def end(self, number: signal.Signals) -> None:
        if self._process is not None:
            code = self._process.poll()
            assert code is None, f"it ended by itself with {code}:\n{self._output.read_text()[-4000:]}"
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def live(city: City, rng: random.Random, changes: int) -> None:
    """So many random changes: people come, move and go, vehicles change hands; some rows have no ID, some are decided about."""
    for _ in range(changes):
        number = str(rng.randrange(PEOPLE))
        match rng.randrange(10):
            case 0:
                city.delete("police.resident", number)
            case 1:
                city.delete("police.vehicle", f"V{number}")
            case 2 | 3 | 4:
                region = rng.choice(["440103", "440104", "440106"])
                city.put("police.resident", {"citizen_id": number, "name": str(rng.random()), "hukou_region": region})
            case 5:
                city.put("police.resident", {"citizen_id": "", "name": str(rng.random()), "hukou_region": "440106"})
            case _:
                owner, day = str(rng.randrange(PEOPLE)), days("2016-01-01") + rng.randrange(300)
                plate = DOUBTED if rng.random() < 0.3 else None
                row = {"vin": f"V{number}", "owner_id": owner, "first_registered": day, "plate_no": plate}
                city.put("police.vehicle", row)
                city.decide(f"V{rng.randrange(PEOPLE)}")


def is_settled(kafka: Kafka, city: City) -> bool:
    """Every task has folded its inbox to the end: the changelog's positions say so, and the feeds are taken in."""
    prefix = city.prefix
    committed = feeds.committed_offsets(kafka, f"{prefix}flows")
    sources = [f"{prefix}{name}" for name in ("police.resident", "police.vehicle", "decisions", "inbox")]
    ends = feeds.end_offsets(kafka, sources)
    return all(committed.get(place, 0) >= end - 1 for place, end in ends.items() if end)


def expected(city: City) -> dict[str, dict[str, Row]]:
    """What must stand on the derived feeds, from the tables alone."""
    residents = city.tables.get(f"{city.prefix}police.resident", {})
    every = city.tables.get(f"{city.prefix}police.vehicle", {})
    vehicles = {vin: row for vin, row in every.items() if not city.is_left_out(vin, row)}
    people: dict[str, Row] = {}
    regions: dict[str, int] = {}
    for number, row in residents.items():
        if number:
            owned = sum(vehicle["owner_id"] == number for vehicle in vehicles.values())
            people[number] = {"id": number, "name": row["name"], "vehicles": owned}
            regions[row["hukou_region"]] = regions.get(row["hukou_region"], 0) + 1
    return {
        "demo.person": people,
        "demo.region": {name: {"region": name, "people": count} for name, count in regions.items()},
        "demo.old": {vin: {"vin": vin} for vin in vehicles},
    }


def differing(kafka: Kafka, city: City, wanted: dict[str, dict[str, Row]]) -> str:
    """Which tables are not as they must be, and where; empty when all are."""
    lines = []
    for table, rows in wanted.items():
        found = city.rows(kafka, table)
        wrong = [key for key in {*found, *rows} if found.get(key) != rows.get(key)]
        if wrong:
            lines.append(f"{table}: {len(wrong)} rows, such as {found.get(wrong[0])} instead of {rows.get(wrong[0])}")
    return "; ".join(lines)


def end_of_time(kafka: Kafka, city: City, partitions: int) -> None:
    """Let every deadline pass in every task."""
    with closing(Log(kafka, client_id="tests-tick")) as log:
        for partition in range(partitions):
            tick = pack([TICK, micros("2026-01-01"), 0])
            log.append(f"{city.prefix}inbox", message_key("demo", ""), tick, partition=partition)
        log.flush(30)


def settled(kafka: Kafka, city: City, partitions: int, seed: int) -> None:
    """Everything is folded, every deadline has passed, and the derived feeds are what follows from the tables alone."""
    until(lambda: is_settled(kafka, city), WITHIN_SECONDS, f"everything folded, seed {seed}")
    end_of_time(kafka, city, partitions)
    wanted = expected(city)
    deadline = time.monotonic() + WITHIN_SECONDS
    while (difference := differing(kafka, city, wanted)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not difference, f"{difference}, seed {seed}"
    items = {row["conflict_id"]: row["state"] for row in city.rows(kafka, "demo.queue").values() if row["subject_keys"]}
    feed = f"{city.prefix}police.vehicle"
    assert items == {
        doubt(Fact(feed, vin, row, "", 0, 0))["conflict_id"]: "RESOLVED" if city.is_left_out(vin, row) else "OPEN"
        for vin, row in city.tables.get(feed, {}).items()
        if row["plate_no"] == DOUBTED
    }, f"seed {seed}"
    assert {"RESOLVED", "OPEN"} == set(items.values())
    until(lambda: is_settled(kafka, city), WITHIN_SECONDS, f"everything folded, seed {seed}")
