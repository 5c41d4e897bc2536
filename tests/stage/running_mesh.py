"""A running mesh as its users meet it: the command line, the databases, stock Kafka clients; nothing of its insides."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from psycopg import sql

from ops.host.up import mesh_command
from ops.offboarding.offboard import offboard
from ops.offboarding.plan import Target
from ops.settings import load
from schemas.log.control.follower import read_directory
from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.until import until

COMMAND_WITHIN_SECONDS = 120
ARRIVES_WITHIN_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Seen:
    """One record as a stock client reads it. `value` is None on a tombstone."""

    partition: int
    offset: int
    key: Mapping[str, Any] | None
    value: Mapping[str, Any] | None
    headers: Mapping[str, str]


class RunningMesh:
    """The running mesh, and what one test adds to it; `unique` keeps its names apart from all other tests'."""

    def __init__(self, directory: Path, folder: Path, unique: str, create_database: Callable[[str], str]) -> None:
        self.directory = directory
        self.folder = folder
        self.unique = unique
        self.variables: dict[str, str] = {}
        self._create_database = create_database

    @cached_property
    def endpoints(self) -> Mapping[str, Any]:
        return json.loads((self.directory / "endpoints.json").read_text())

    @property
    def kafka(self) -> Kafka:
        return Kafka.of(self.endpoints["kafka_login"])

    def leave(self) -> None:
        """Offboard what this test added, or the mesh would go on with the sources and sinks of all finished tests.

        Capture drops the slots meanwhile; subscribers are asked for nothing, for many are gone.
        """
        directory = read_directory(self.kafka)
        subscribers: list[Target] = [("subscriber", code) for code in directory.subscribers if self.unique in code]
        agencies: list[Target] = [("agency", code) for code in directory.agencies if self.unique in code]
        targets = [*subscribers, *agencies]
        if targets:
            offboard(load(self.directory), targets, is_agreed=True, wait_seconds=0, abandoned=("subscriber",))

    # -- the command line ----------------------------------------------------------------------------------------------

    def run(self, command: str, *arguments: object, directory: Path | None = None, **env: str) -> Ran:
        """`mesh <command> …` in this mesh's directory."""
        where = ("--dir", directory or self.directory) if command != "draft" else ()
        return run(command, *where, *arguments, env={**self.variables, **env})

    @contextmanager
    def started(self, command: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
        """`mesh <command> …` while the block runs."""
        line = mesh_command(command, "--dir", str(self.directory), *map(str, arguments))
        with subprocess.Popen(
            line, env=_environment(self.variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def done(self, command: str, *arguments: object) -> Any:
        """The JSON of a command that must succeed."""
        ran = self.run(command, "--json", *arguments)
        assert ran.status == 0, f"mesh {command}: {ran.status}\n{ran.out}\n{ran.err}"
        return ran.json

    def verified(self, name: str, rows: int | None = None) -> None:
        """`mesh verify` finds every copy exact; with `rows`, each of so many."""
        outcome = self.done("verify", name, "--within", "60")
        assert outcome["exact"]
        if rows is not None:
            assert {entry["found"] for entry in outcome["subscriptions"].values()} == {rows}

    # -- departments and subscribers -----------------------------------------------------------------------------------

    def database(self, name: str) -> str:
        """A new database; the connection to write for it is `${MESH_<NAME>_DSN}`."""
        address = self._create_database(name)
        self.variables[f"MESH_{name.upper()}_DSN"] = address
        return address

    def agency(self, code: str, contracts: Mapping[str, Mapping[str, Any]]) -> Path:
        """The folder of an agency whose database is `database(code)`; `contracts` by table."""
        folder = self.folder / code
        folder.mkdir(exist_ok=True)
        source = {"name": "main", "kind": "postgres", "connection": f"${{MESH_{code.upper()}_DSN}}"}
        _write(folder / "agency.yaml", {"agency": code, "name": "测试局", "sources": [source]})
        for table, contract in contracts.items():
            _write(folder / f"{table}.avsc", contract)
        return folder

    def subscriber(self, code: str, *grants: Mapping[str, Any]) -> Path:
        """The folder of a subscriber whose PostgreSQL is `database(code)`."""
        folder = self.folder / code
        folder.mkdir(exist_ok=True)
        sink = {"name": "main", "kind": "postgres", "connection": f"${{MESH_{code.upper()}_DSN}}"}
        named = [{"purpose": "核验", "legal_basis": "示例依据", **grant} for grant in grants]
        _write(folder / "subscriber.yaml", {"subscriber": code, "name": "测试订阅方", "sinks": [sink], "grants": named})
        return folder

    # -- what is where -------------------------------------------------------------------------------------------------

    def records(self, topic: str) -> list[Message]:
        """Everything that stands in the topic."""
        found = feeds.read_all(self.kafka, [topic])
        return [message for partition in found.values() for message in partition]

    def seen(self, topic: str) -> list[Seen]:
        """Everything that stands in the topic, read with Confluent's own Avro deserialiser."""
        with SchemaRegistryClient({"url": self.endpoints["registry"]}) as client:
            decode = AvroDeserializer(client)
            return [_seen(message, decode) for message in self.records(topic)]

    def dead_letters(self, topic: str, count: int) -> list[Message]:
        """The first `count` dead letters of a topic, once they are there."""

        def letters() -> list[Message]:
            found = self.records(f"dlq.{topic}")
            return found if len(found) >= count else []

        return until(letters, ARRIVES_WITHIN_SECONDS, f"{count} dead letters of {topic}")

    def topics(self) -> list[str]:
        return list(AdminClient(self.kafka.client({})).list_topics(timeout=30).topics)

    def subjects(self, part: str) -> list[str]:
        """Every subject that has this in its name, with its versions."""
        with SchemaRegistryClient({"url": self.endpoints["registry"]}) as client:
            names = sorted(name for name in client.get_subjects() if part in name)
            return [f"{name} {client.get_versions(name)}" for name in names]

    def state(self, hop: str) -> Mapping[str, Any]:
        """What the supervisor says of a hop's process."""
        return json.loads((self.directory / "run" / f"{hop}.json").read_text())

    def said(self, hop: str) -> str:
        return (self.directory / "log" / f"{hop}.log").read_text("utf-8", "replace")


def run(command: str, *arguments: object, env: Mapping[str, str] | None = None) -> Ran:
    """`mesh <command> …`, with no settings of the mesh but the given ones."""
    ended = subprocess.run(
        mesh_command(command, *map(str, arguments)),
        env=_environment(env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_WITHIN_SECONDS,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MESH_")} | dict(more)


def contract(
    key: Sequence[str], fields: Mapping[str, Any], *, tags: Sequence[str] = ("L1",), **gov: Any
) -> dict[str, Any]:
    """A contract's record; what is no key may be null."""
    listed = [
        {
            "name": name,
            "type": kind if name in key else ["null", kind],
            **({} if name in key else {"default": None}),
            "doc": f"列 {name}",
            "confluent:tags": list(tags),
        }
        for name, kind in fields.items()
    ]
    return {
        "type": "record",
        "name": "Row",
        "doc": "测试表",
        "gov": {"key": list(key), "class": "UNCONDITIONAL", **gov},
        "fields": listed,
    }


@contextmanager
def database(address: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement."""
    with psycopg.connect(address, autocommit=True) as connection:
        yield connection


def rows(address: str, table: str) -> list[tuple[Any, ...]]:
    """The rows of a subscriber's table, without the columns that are the sink's own; none while there is no table."""
    with database(address) as connection:
        names = connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
            r" AND attname NOT LIKE '\_mesh%%' ORDER BY attnum",
            (table,),
        ).fetchall()
        if not names:
            return []
        columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in names)
        return sorted(connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(table))))


@contextmanager
def changing(address: str, statement: str, pause_seconds: float = 0.02) -> Iterator[None]:
    """A statement again and again, each time with the next number as `n`, while the block runs."""
    ending = threading.Event()

    def change() -> None:
        with database(address) as connection:
            number = 0
            while not ending.wait(pause_seconds):
                number += 1
                connection.execute(statement, {"n": number})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def dropped(connection: psycopg.Connection[Any], slot: str) -> bool:
    """Whether the slot is gone, with whatever streams from it."""
    connection.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", (slot,)
    )
    try:
        connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    except psycopg.errors.UndefinedObject:
        return True
    except psycopg.errors.ObjectInUse:
        return False
    return True


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")


def _seen(message: Message, decode: AvroDeserializer) -> Seen:
    topic = message.topic()
    return Seen(
        partition=message.partition(),
        offset=message.offset(),
        key=decode(message.key(), SerializationContext(topic, MessageField.KEY)),
        value=decode(message.value(), SerializationContext(topic, MessageField.VALUE)),
        headers={name: (value or b"").decode() for name, value in message.headers() or ()},
    )
