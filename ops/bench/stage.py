"""The stage of a bench: servers and a mesh of its own in a temporary directory, and its hops as the processes that they are.

A hop runs only while it is measured, so that nothing else of the mesh takes its processor. What one measurement onboarded is
taken away again before the next: a stream worker follows every feed of the directory.
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console

from ops.bench.machine import settle
from ops.bench.subject import TABLE, write_agency, write_subscriber
from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.postgres import Postgres
from ops.embedded.program import Program, Running, free_ports, last_lines, launch, reaches, wait_ready
from ops.host.up import mesh_command
from ops.onboarding.onboard import onboard
from ops.settings import Settings
from schemas.errors import Misconfigured, Transient
from schemas.feed import CONTRACTS, GRANTS, dead_letter_topic, out_topic
from schemas.log.admin import admin_client
from schemas.log.control.follower import read_directory
from schemas.log.kafka import Kafka
from schemas.log.offsets import end_offsets
from schemas.log.range import read_range
from schemas.log.topics import TopicSpec, ensure_control_topics, ensure_topics
from schemas.log.writer import Log

_DSN_VARIABLE = "MESH_BENCH_DSN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Running servers. `dsn` is the one database that everything is read from, and written to by sinks."""

    directory: Path
    settings: Settings
    dsn: str
    console: Console
    patience_seconds: float
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings of the hops, beside where the servers are."""

    @property
    def kafka(self) -> Kafka:
        """The broker, and our login there."""
        return self.settings.kafka

    def say(self, line: str) -> None:
        """A line of progress."""
        self.console.print(line, soft_wrap=True)

    def settle(self) -> None:
        """Wait a while for the machine to become quiet."""
        settle(self.say, self.patience_seconds)

    @contextmanager
    def hop(self, name: str, *arguments: str) -> Iterator[Running]:
        """One hop of the mesh as a child process, stopped in order at the end."""
        argv = mesh_command("run", name, "--dir", str(self.directory), *arguments)
        with self.child(name, argv, self._addresses()) as running:
            yield running

    @contextmanager
    def child(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[Running]:
        """Any program as a child process; its log is `log/<name>.log`."""
        log = self.directory / "log" / f"{name}.log"
        running = launch(Program(name=name, argv=argv, log=log, env=env or {}, stop_within_seconds=30))
        try:
            yield running
        finally:
            running.stop()

    def run(self, name: str, argv: Sequence[str], *, what: str, fix: str = "") -> None:
        """Run a program to its end, showing its newest line. Raises Transient with its last lines when it fails."""
        with self.console.status(what) as status, self.child(name, argv) as running:
            while running.ended() is None:
                newest = last_lines(running.program.log, 1).strip()
                status.update(f"{what}: {newest[:100]}" if newest else what)
                time.sleep(0.2)
            if running.ended() != 0:
                raise Transient(f"{what} failed; its last lines:\n{last_lines(running.program.log)}", fix=fix)

    def onboard_agency(
        self,
        agency: str,
        *,
        kind: str = "postgres",
        address: str = "",
        table: str = TABLE,
        options: Mapping[str, object] = MappingProxyType({}),
    ) -> str:
        """Take a department that has the table into the mesh; its feed. `address` is its source's, the one database's unless said."""
        folder = self.directory / "folders" / agency
        write_agency(folder, agency, f"${{{_DSN_VARIABLE}}}", kind=kind, table=table, options=options)
        self._onboard(folder, address or self.dsn)
        return f"{agency}.subject"

    def onboard_subscriber(self, subscriber: str, feed: str, *, grants: int = 1, is_cut: bool = True) -> list[str]:
        """Take a subscriber of the feed into the mesh; the topics of its grants (see `write_subscriber`)."""
        folder = self.directory / "folders" / subscriber
        write_subscriber(folder, subscriber, feed, f"${{{_DSN_VARIABLE}}}", grants=grants, is_cut=is_cut)
        self._onboard(folder, self.dsn)
        return [out_topic(f"{subscriber}.{feed}.g{number}") for number in range(grants)]

    def forget(self, feed: str) -> None:
        """Take a feed and its grants out of the mesh, and their topics off the broker."""
        log = Log(self.kafka, client_id="bench-forget")
        grants = [id_ for id_, entry in read_directory(self.kafka).grants.items() if entry.grant.feed == feed]
        for grant_id in grants:
            log.append(GRANTS, grant_id.encode(), None)
        log.append(CONTRACTS, feed.encode(), None)
        log.flush(30)
        log.close()
        topics = [feed, *(out_topic(grant_id) for grant_id in grants)]
        self.drop_topics([*topics, *(dead_letter_topic(topic) for topic in topics)])

    def drop_topics(self, topics: Iterable[str]) -> None:
        """Remove those of the topics that exist."""
        present = list(end_offsets(self.kafka, topics))
        if present:
            admin = admin_client(self.kafka)
            for topic, future in admin.delete_topics(present).items():
                try:
                    future.result(30)
                except KafkaException as error:
                    self.say(f"note: {topic} stays ({error.args[0].str()})")

    def drop_slots(self) -> None:
        """Remove every slot and publication of the database, so that the log need not be kept."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
            for (name,) in connection.execute("SELECT quote_ident(pubname) FROM pg_publication").fetchall():
                connection.execute(f"DROP PUBLICATION {name}".encode())

    def _onboard(self, folder: Path, address: str) -> None:
        os.environ[_DSN_VARIABLE] = address
        try:
            outcome = onboard(folder, self.settings, wait_seconds=0, say=lambda _: None)
        finally:
            del os.environ[_DSN_VARIABLE]
        if not outcome.is_ok:
            outcome.render()
            raise Misconfigured(folder.name, "does not pass the mesh's own check", fix="see its problems above")

    def _addresses(self) -> dict[str, str]:
        settings = self.settings
        addresses = {**settings.kafka.environment(), "MESH_REGISTRY": settings.registry}
        # A `mesh up` of this user must not be taken for ours, nor our metrics be kept from a port of their own.
        return {
            **addresses,
            "MESH_DATABASE": settings.hub_database,
            "MESH_METRICS_PORT": "0",
            **self.variables,
            "MESH_LOG_LEVEL": "WARNING",
        }


@contextmanager
def stage(console: Console, *, patience_seconds: float, warm_up_records: int) -> Iterator[Stage]:
    """Kafka, PostgreSQL and the mesh's registry, as children of this thread; at the end all of it is gone."""
    with ExitStack() as parts:
        directory = Path(
            parts.enter_context(tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True))
        )
        kafka = EmbeddedKafka(directory / "kafka", log=directory / "log" / "kafka.log", console=console)
        parts.callback(kafka.stop)
        kafka.start()
        postgres = Postgres(directory / "postgres", log=directory / "log" / "postgres.log")
        parts.callback(postgres.stop)
        postgres.start()
        dsn = postgres.create_database("bench")
        [port] = free_ports(1)
        settings = Settings(
            directory=directory, kafka=kafka.entered_by(), registry=f"http://127.0.0.1:{port}", hub_database=dsn
        )
        ensure_control_topics(settings.kafka)
        ours = Stage(
            directory=directory, settings=settings, dsn=dsn, console=console, patience_seconds=patience_seconds
        )
        registry = parts.enter_context(ours.hop("registry", "--port", str(port)))
        wait_ready(registry, lambda: reaches(f"127.0.0.1:{port}"), 60)
        if warm_up_records:
            _warm_up(ours, warm_up_records)
        parts.callback(gc.collect)  # clients that wait to be collected would complain once the broker is gone
        yield ours


def _warm_up(stage: Stage, records: int) -> None:
    """Write and read so many records, until the broker's code is compiled: the first contender must not pay for that."""
    stage.say("warming up the broker")
    topic = "bench.warm_up"
    ensure_topics(stage.kafka, {topic: TopicSpec(partitions=4, is_compacted=False)})
    log = Log(stage.kafka, client_id="bench-warm-up")
    for number in range(records):
        log.append(topic, b"%d" % number, b"%d" % number * 40)
    log.flush(120)
    log.close()
    for partition in range(4):
        deque(read_range(stage.kafka, topic, partition, 0, records), maxlen=0)
    stage.drop_topics([topic])
