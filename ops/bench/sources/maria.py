"""Capture of a MariaDB beside Debezium's connector: the same backlog in the log of the same server, drained by each alone.

The subject is the table of the other measurements, in MariaDB's types. Both have read on to one place before the backlog is written:
ours has copied the seed rows, Debezium has stored how far it is, and each starts from there again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ops.bench import subject
from ops.bench.capture import DEBEZIUM, MESH, PARTITIONS, compare, rotated
from ops.bench.figure import Figures
from ops.bench.growth import Drained, Growth, drain
from ops.bench.peers import debezium_mariadb
from ops.bench.scale import Scale
from ops.bench.stage import Stage
from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from ops.embedded.program import Running
from schemas.log.topics import TopicSpec, ensure_topics

_DATABASE = "bench"
_CREATE = """
CREATE OR REPLACE TABLE subject (
    id bigint PRIMARY KEY, name varchar(100), region varchar(12), amount decimal(12,2), changed_at timestamp(6) NULL, born date,
    is_active bit(1), code varchar(18), address varchar(200), grade int, phone bigint, note varchar(200)) CHARACTER SET utf8mb4"""
_ADD = """
INSERT INTO subject SELECT seq, CONCAT('名字 ', seq), 440100 + seq % 12, (seq % 5000) * 1.37, now(6),
    DATE_ADD('1950-01-01', INTERVAL seq % 25000 DAY), seq % 7 <> 0, CONCAT('44010', LPAD(seq, 13, '0')),
    CONCAT('Tianhe Road ', seq % 900), seq % 5, 13800000000 + seq, CONCAT('note ', seq % 99) FROM seq_{first}_to_{last}"""
_CHANGE = "UPDATE subject SET grade = grade + 1, changed_at = now(6) WHERE id BETWEEN {first} AND {last}"
_MARK = "UPDATE subject SET grade = grade + 1 WHERE id = 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A backlog of so many changes behind both."""

    stage: Stage
    maria: MariaDb
    name: str
    feed: str
    changes: int


def measure_mariadb(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`mysql_vs_debezium`; without peers our own rate alone."""
    contenders: dict[str, Callable[[_Waiting], Drained]] = {MESH: _by_mesh}
    if scale.has_peers:
        contenders[DEBEZIUM] = _by_debezium
    maria = MariaDb(stage.directory / "mariadb", log=stage.directory / "log" / "mariadb.log", settings=LOGGING_ROWS)
    try:
        maria.start()
        maria.create_database(_DATABASE)
        for run in range(1, scale.runs + 1):
            with _backlog(stage, maria, f"maria{run}", scale) as waiting:
                results: dict[str, Drained] = {}
                for name in rotated(list(contenders), run):
                    stage.say(f"MariaDB, run {run} of {scale.runs}: {name} reads {waiting.changes:,} changes")
                    stage.settle()
                    results[name] = contenders[name](waiting)
                    stage.say(f"  {name}: {results[name]}")
            figures.note("mysql_changes_per_second", results[MESH].per_second, others=results[MESH].others)
            compare(figures, "mysql_vs_debezium", results, DEBEZIUM)
    finally:
        maria.stop()


@contextmanager
def _backlog(stage: Stage, maria: MariaDb, name: str, scale: Scale) -> Iterator[_Waiting]:
    _run(maria, [_CREATE, _ADD.format(first=1, last=subject.SEED_ROWS)])
    waiting = _Waiting(stage=stage, maria=maria, name=name, feed=f"{name}.subject", changes=scale.changes)
    if scale.has_peers:
        _place_debezium(waiting)
    stage.onboard_agency(name, kind="mysql", address=maria.address(_DATABASE), table=f"{_DATABASE}.subject")
    try:
        with stage.hop("capture", "--source", f"{name}.main") as running:
            drain(stage.console, "the first rows", Growth(stage.kafka, [waiting.feed]), subject.SEED_ROWS, running)
        _run(maria, _changes(scale.changes))
        yield waiting
    finally:
        stage.forget(waiting.feed)


def _changes(count: int) -> Iterator[str]:
    """So many changes in transactions of TRANSACTION_CHANGES: half inserts, half updates of the rows inserted before."""
    half = subject.TRANSACTION_CHANGES // 2
    for first in range(subject.SEED_ROWS + 1, subject.SEED_ROWS + count // 2, half):
        yield _ADD.format(first=first, last=first + half - 1)
        yield _CHANGE.format(first=first - half, last=first - 1)
        yield "COMMIT"


def _run(maria: MariaDb, statements: Iterator[str] | list[str]) -> None:
    with closing(maria.connected(_DATABASE)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def _by_mesh(waiting: _Waiting) -> Drained:
    growth = Growth(waiting.stage.kafka, [waiting.feed])
    before = growth()
    with waiting.stage.hop("capture", "--source", f"{waiting.name}.main") as running:
        return drain(waiting.stage.console, MESH, lambda: growth() - before, waiting.changes, running)


def _by_debezium(waiting: _Waiting) -> Drained:
    with _connector(waiting) as (running, growth):
        before = growth()
        drained = drain(waiting.stage.console, DEBEZIUM, lambda: growth() - before, waiting.changes, running)
    waiting.stage.drop_topics([_topic(waiting)])
    return drained


def _place_debezium(waiting: _Waiting) -> None:
    """Let it read the table's shape and come to the end of the log, and store that: changes are made until it brings one."""
    ensure_topics(waiting.stage.kafka, {_topic(waiting): TopicSpec(partitions=PARTITIONS)})
    with _connector(waiting) as (running, growth):

        def look() -> int:
            _run(waiting.maria, [_MARK])
            return growth()

        drain(waiting.stage.console, "Debezium's place in the log", look, 1, running)


@contextmanager
def _connector(waiting: _Waiting) -> Iterator[tuple[Running, Growth]]:
    running = debezium_mariadb.start(
        waiting.stage.directory / f"dbz_{waiting.name}",
        name=f"dbz_{waiting.name}",
        kafka=waiting.stage.kafka,
        address=waiting.maria.address(_DATABASE),
        table=f"{_DATABASE}.subject",
    )
    try:
        yield running, Growth(waiting.stage.kafka, [_topic(waiting)])
    finally:
        running.stop()


def _topic(waiting: _Waiting) -> str:
    return f"dbz_{waiting.name}.{_DATABASE}.subject"
