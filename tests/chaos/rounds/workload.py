"""The workload of a round: random transactions in one department's database, the same for the same seed.

Inserts, updates, deletes, changes of keys, savepoints that are rolled back, transactions over both tables, truncates, NULLs, Chinese,
large values. What somebody asked for at a transaction's number (`at`) is done there, between two of them.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql

from tests.chaos.rounds.columns import COLUMNS, KEY, SPARE

TABLES = ("t", "u")
ERRORS = (psycopg.Error, pymysql.MySQLError)
AWAY_SECONDS = 0.2
IDS = 120
DISTRICTS = ("天河", "越秀 区", "a|b", "440199")
NAMES = ("张三", "", "o'k", "a\\b", 'say "x"', "NULL", "x\ny", "𠮷野", "%s", " blank ")
_MOMENTS = ("2016-10-31 12:00:00.500000", "1970-01-01 00:00:00", "9999-12-31 23:59:59.999999")


def connection(kind: str, address: str) -> Any:
    """A connection whose transactions its user begins and ends."""
    if kind == "postgres":
        return psycopg.connect(address, connect_timeout=5)
    parts = urlsplit(address)
    return pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path[1:],
        charset="utf8mb4",
        init_command="SET time_zone='+00:00'",
        connect_timeout=5,
    )


class Workload:
    """One department's. `names` has each table's present name, `has_spare` whether its spare column is there: who alters says so."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self._address = address
        self.names = {table: table for table in TABLES}
        self.has_spare = dict.fromkeys(TABLES, True)
        self.done = 0
        self.committed = 0
        self._asked: dict[int, list[Callable[[Any], None]]] = defaultdict(list)
        self.errors: list[BaseException] = []

    def at(self, number: int, act: Callable[[Any], None]) -> None:
        """Do this with the workload's connection before its transaction of this number; again where the database is away."""
        self._asked[number].append(act)

    @contextmanager
    def running(self, chance: random.Random, transactions: int) -> Iterator[None]:
        """Run so many transactions beside the block, and end with it."""
        self.done = self.committed = 0
        thread = threading.Thread(target=self._run, args=(chance, transactions), name=f"workload-{self.kind}")
        thread.start()
        try:
            yield
        finally:
            thread.join(120)
            assert not thread.is_alive(), f"the workload in {self.kind} does not end"
            self._asked.clear()
        if self.errors:
            raise self.errors[0]

    def _run(self, chance: random.Random, transactions: int) -> None:
        try:
            steps = [_Transaction(self, random.Random(chance.random())) for _ in range(transactions)]
            pauses = [chance.uniform(0.0, 0.02) for _ in steps]
            with closing(_Link(self.kind, self._address)) as link:
                for step, pause in zip(steps, pauses, strict=True):
                    for act in self._asked.pop(self.done, ()):
                        link.until_done(act)
                    self.committed += link.tried(step.run)
                    self.done += 1
                    time.sleep(pause)
        except BaseException as error:  # noqa: BLE001 - raised in the test's own thread
            self.errors.append(error)
            self.done = transactions


class _Link:
    """A connection that is made anew where the database was away."""

    def __init__(self, kind: str, address: str) -> None:
        self._kind, self._address = kind, address
        self._open: Any = None

    def tried(self, act: Callable[[Any], bool | None]) -> bool:
        """Whether it was done and committed; where the database refused it or went away it was not, or nobody knows."""
        try:
            if self._open is None:
                self._open = connection(self._kind, self._address)
            with closing(self._open.cursor()) as cursor:
                is_kept = act(cursor) is not False
            (self._open.commit if is_kept else self._open.rollback)()
        except ERRORS:
            try:
                self._open.rollback()
            except (*ERRORS, AttributeError):
                self.close()
                time.sleep(AWAY_SECONDS)
            return False
        return is_kept

    def until_done(self, act: Callable[[Any], None]) -> None:
        deadline = time.monotonic() + 60
        while not self.tried(act):
            assert time.monotonic() < deadline, "the database does not take what is to be done there"

    def close(self) -> None:
        if self._open is not None:
            with suppress(*ERRORS):
                self._open.close()
            self._open = None


class _Transaction:
    """One, drawn before it is run: what happens in it does not depend on what became of others."""

    def __init__(self, load: Workload, chance: random.Random) -> None:
        self._load = load
        self._chance = chance

    def run(self, cursor: Any) -> bool:
        """Whether it is to be committed."""
        chance = self._chance
        if chance.random() < 0.02:
            cursor.execute(f"TRUNCATE TABLE {self._load.names[chance.choice(TABLES)]}")
            return True
        for _ in range(chance.randint(1, 7)):
            if chance.random() < 0.15:
                cursor.execute("SAVEPOINT s")
                self._change(cursor)
                self._change(cursor)
                cursor.execute("ROLLBACK TO SAVEPOINT s" if chance.random() < 0.7 else "RELEASE SAVEPOINT s")
            else:
                self._change(cursor)
        return chance.random() > 0.1

    def _change(self, cursor: Any) -> None:
        chance, table = self._chance, self._load.names[chosen := self._chance.choice(TABLES)]
        at = chance.choice(DISTRICTS), chance.randrange(IDS)
        where = f"WHERE {KEY[0]} = %s AND {KEY[1]} = %s"
        match chance.choice("iiiiuuuukbddm"):
            case "i":
                row = self._row(*at, has_spare=self._load.has_spare[chosen])
                named, marks = ", ".join(row), ", ".join(["%s"] * len(row))
                ignore = ("", " ON CONFLICT DO NOTHING") if self._load.kind == "postgres" else (" IGNORE", "")
                cursor.execute(
                    f"INSERT{ignore[0]} INTO {table} ({named}) VALUES ({marks}){ignore[1]}", tuple(row.values())
                )
            case "u":
                set_ = chance.choice(("name", "alias", "amount", "ok", "raw", "seen", "born"))
                cursor.execute(f"UPDATE {table} SET {set_} = %s {where}", (self._value(set_), *at))
            case "k":  # to a key that may be taken: then the whole transaction is undone
                cursor.execute(
                    f"UPDATE {table} SET {KEY[1]} = %s, {KEY[0]} = %s {where}",
                    (IDS + chance.randrange(IDS), chance.choice(DISTRICTS), *at),
                )
            case "b":
                cursor.execute(f"UPDATE {table} SET note = %s {where}", (self._note(), *at))
            case "m":
                cursor.execute(
                    f"UPDATE {table} SET alias = name, name = alias WHERE {KEY[1]} % 7 = %s".replace("% 7", "%% 7"),
                    (at[1] % 7,),
                )
            case _:
                cursor.execute(f"DELETE FROM {table} {where}", at)

    def _row(self, district: str, number: int, *, has_spare: bool) -> dict[str, Any]:
        values = {each.name: self._value(each.name) for each in COLUMNS if each.name not in KEY}
        if not has_spare:
            del values[SPARE]
        return {KEY[0]: district, KEY[1]: number, **values}

    def _value(self, name: str) -> Any:
        chance = self._chance
        if chance.random() < 0.15:
            return None
        match name:
            case "note":
                return self._note()
            case "amount":
                return Decimal(chance.choice((0, 1, -1, 10**12 - 1, chance.randrange(-(10**11), 10**11)))).scaleb(-2)
            case "born":
                return chance.choice(("1966-02-28", "1970-01-01", "9999-12-31", "2024-02-29"))
            case "seen":
                return chance.choice(_MOMENTS)
            case "ok":
                return chance.random() < 0.5
            case "raw":
                return chance.randbytes(chance.choice((0, 1, 16, 300)))
            case _:
                return f"{chance.choice(NAMES)}{chance.choice(('', chance.randrange(1000)))}"

    def _note(self) -> str | None:
        chance = self._chance
        return chance.choice((None, "", "短", "長" * 3_000, "x" * 9_000, "大" * chance.randrange(20_000, 120_000)))
