"""Faults planted at a subscriber: its own table is falsified in a transaction, read as the checker reads it, and rolled back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

from tests.chaos.rounds import checker
from tests.chaos.rounds.checker import compare
from tests.chaos.rounds.columns import GRANTED, Key
from tests.chaos.rounds.engine import Engine
from tests.chaos.rounds.town import Subscriber, Town, read_held
from tests.chaos.rounds.workload import connection

KEPT: Key = ("天河", 9001)
OTHER: Key = ("越秀 区", 9002)
DELETED: Key = ("天河", 9003)
EMPTIED: Key = ("天河", 9004)
NOBODYS: Key = ("天河", 9005)

_INSERT = "INSERT INTO {table} (district, id, name, alias) VALUES ('{key[0]}', {key[1]}, '{name}', '{alias}')"
_COPY = (
    "CREATE TEMPORARY TABLE planted AS SELECT * FROM {table} WHERE id = 9001",
    "UPDATE planted SET district = '{key[0]}', id = {key[1]}",
    "INSERT INTO {table} SELECT * FROM planted",
)
_FROM_OTHER: Mapping[str, str] = {
    "postgres": "UPDATE {table} SET ({columns}) = (SELECT {columns} FROM {table} WHERE id = 9002) WHERE id = 9001",
    "mysql": "UPDATE {table} a, {table} b SET {pairs} WHERE a.id = 9001 AND b.id = 9002",
}


def prepare(town: Town, kind: str) -> None:
    """Rows of a known past: one that was changed, another, one that was deleted; in the second table one that a truncate took."""
    department = town.departments[kind]
    t, u = department.workload.names["t"], department.workload.names["u"]
    department.execute(
        _INSERT.format(table=t, key=KEPT, name="first", alias="a"),
        _INSERT.format(table=t, key=OTHER, name="b", alias="β"),
        _INSERT.format(table=t, key=DELETED, name="c", alias="c"),
        _INSERT.format(table=u, key=EMPTIED, name="d", alias="d"),
    )
    department.execute(
        f"UPDATE {t} SET name = 'second' WHERE id = 9001", f"DELETE FROM {t} WHERE id = 9003", f"TRUNCATE TABLE {u}"
    )
    department.execute(_INSERT.format(table=u, key=KEPT, name="d", alias="d"))


def _planted(kind: str) -> Iterator[tuple[str, str, Key, Sequence[str]]]:
    """The fault's name, the table, the row, and how it is planted."""
    yield checker.SKIPPED, "t", KEPT, ["DELETE FROM {table} WHERE id = 9001"]
    yield checker.CHANGED, "t", OTHER, ["UPDATE {table} SET name = 'B' WHERE id = 9002"]
    yield checker.RESURRECTED, "t", DELETED, _COPY
    yield checker.TRUNCATE_IGNORED, "u", EMPTIED, _COPY
    yield checker.INVENTED, "t", NOBODYS, _COPY
    yield checker.OF_ANOTHER_KEY, "t", KEPT, [_FROM_OTHER[kind]]
    yield checker.LATE_WON, "t", KEPT, ["UPDATE {table} SET name = 'first' WHERE id = 9001"]
    yield checker.NULL_FOR_VALUE, "t", OTHER, ["UPDATE {table} SET name = NULL WHERE id = 9002"]
    yield checker.VALUE_FOR_NULL, "t", OTHER, ["UPDATE {table} SET note = '' WHERE id = 9002"]
    yield checker.SWAPPED, "t", OTHER, ["UPDATE {table} SET name = 'β', alias = 'b' WHERE id = 9002"]
    if kind == "postgres":  # where an altered table is rolled back, too
        twice = "INSERT INTO {table} SELECT * FROM {table} WHERE id = 9001"
        yield checker.DOUBLED, "t", KEPT, ["ALTER TABLE {table} DROP CONSTRAINT {table}_pkey", twice]


def found(engine: Engine, subscriber: Subscriber, town: Town) -> dict[str, list[tuple[str, Key]]]:
    """What the checker finds of each planted fault, by what was planted."""
    outcome: dict[str, list[tuple[str, Key]]] = {}
    with closing(connection(subscriber.kind, subscriber.address)) as opened:
        for what, table, key, statements in _planted(subscriber.kind):
            feed = town.departments[subscriber.kind].feed(table)
            names = {
                "table": feed.replace(".", "_"),
                "key": key,
                "columns": ", ".join(GRANTED),
                "pairs": ", ".join(f"a.{name} = b.{name}" for name in GRANTED),
            }
            with closing(opened.cursor()) as cursor:
                for statement in statements:
                    cursor.execute(statement.format(**names))
                held = read_held(subscriber.kind, cursor, names["table"])
                if statements is _COPY:
                    cursor.execute(
                        "DROP TABLE planted" if subscriber.kind == "postgres" else "DROP TEMPORARY TABLE planted"
                    )
            opened.rollback()
            past = engine.past(feed)
            outcome[what] = [(each.what, each.key) for each in compare(past.rows(), held, past)]
    return outcome


def expected(kind: str) -> dict[str, list[tuple[str, Key]]]:
    """Each by its name, at its row, and nothing else."""
    return {what: [(what, key)] for what, _, key, _ in _planted(kind)}
