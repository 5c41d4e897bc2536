"""A department's table under a random writer: keys of two columns, long texts, savepoints rolled back, transactions left open."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

TABLE = "人口 登记"
COLUMNS = ("区划 代码", "编号", "姓名", "note", "amount", "born", "seen", "tags")
MAKE = f"""
CREATE TABLE "{TABLE}" ("区划 代码" text, "编号" int, "姓名" text, note text, amount numeric(12,2), born date, seen timestamptz,
    tags text[], PRIMARY KEY ("区划 代码", "编号"));
ALTER TABLE "{TABLE}" ALTER note SET STORAGE EXTERNAL;
ALTER TABLE "{TABLE}" REPLICA IDENTITY FULL"""
_DISTRICTS = ("440199", "440198", "a|b", "", 'q"q', "天河 区")
_NAMES = ("张三", "", "o'k", "a\\b", 'say "x"', "|", ":", "NULL", "x\ny", "𠮷")


class RandomWriter:
    """`run` writes transactions until it is told to end; the same seed writes the same."""

    def __init__(self, dsn: str, seed: int) -> None:
        self._dsn = dsn
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self.transactions = 0

    def fill(self, rows: int) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as db:
            db.execute(MAKE.encode())
            with db.cursor().copy(f'COPY "{TABLE}" FROM STDIN'.encode()) as copy:
                for number in range(rows):
                    copy.write_row(self._row(_DISTRICTS[number % len(_DISTRICTS)], number))

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            thread.join(60)

    def _run(self) -> None:
        with psycopg.connect(self._dsn) as db, psycopg.connect(self._dsn) as slow:
            while not self._ending.is_set():
                self._transaction(db)
                if self._random.random() < 0.3:  # stays open over others' commits
                    self._change(slow, lowest=5_000)
                if self._random.random() < 0.05:
                    (slow.commit if self._random.random() < 0.7 else slow.rollback)()
                self.transactions += 1

    def _transaction(self, db: psycopg.Connection[Any]) -> None:
        for _ in range(self._random.randint(1, 8)):
            if self._random.random() < 0.2:
                try:
                    with db.transaction():
                        self._change(db)
                        raise psycopg.Rollback
                except psycopg.Rollback:
                    pass
            else:
                self._change(db)
        (db.rollback if self._random.random() < 0.1 else db.commit)()

    def _change(self, db: psycopg.Connection[Any], lowest: int = 0) -> None:
        rolled = self._random
        number = lowest + rolled.randrange(2_500)
        at = (rolled.choice(_DISTRICTS), number)
        where = b' WHERE "\xe5\x8c\xba\xe5\x88\x92 \xe4\xbb\xa3\xe7\xa0\x81" = %s AND "\xe7\xbc\x96\xe5\x8f\xb7" = %s'
        table = f'"{TABLE}"'.encode()
        match rolled.choice("iuuukddt"):
            case "i":
                marks = b", ".join([b"%s"] * len(COLUMNS))
                db.execute(b"INSERT INTO " + table + b" VALUES (" + marks + b") ON CONFLICT DO NOTHING", self._row(*at))
            case "u":
                db.execute(
                    b"UPDATE " + table + b" SET amount = %s, seen = now()" + where, (rolled.randrange(10**6) / 100, *at)
                )
            case "k":
                free = 10_000 + lowest + rolled.randrange(10**6)
                db.execute(b"UPDATE " + table + ' SET "编号" = %s'.encode() + where, (free, *at))
            case "t":
                db.execute(b"UPDATE " + table + b" SET note = %s, tags = NULL" + where, (self._note(), *at))
            case _:
                db.execute(b"DELETE FROM " + table + where, at)

    def _note(self) -> str | None:
        rolled = self._random
        return rolled.choice((None, "", "短", "長" * 3_000, "x" * 9_000))

    def _row(self, district: str, number: int) -> tuple[Any, ...]:
        rolled = self._random
        tags = rolled.choice((None, [], ["a", None, 'b"'], ["{", "NULL", " "]))
        return (
            district,
            number,
            rolled.choice(_NAMES),
            self._note(),
            rolled.choice((None, 0, -1, number / 4)),
            rolled.choice((None, "1966-02-28", "0001-01-01")),
            rolled.choice((None, "2016-10-31 12:00:00.5+08")),
            tags,
        )
