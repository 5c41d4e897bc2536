"""Staging: one statement on its way to disk, row by row, sorted by key once it is whole. Memory is bounded by batches, not by rows.

What is found here is found before the first record is written: keys that a whole statement gives twice, rows that cannot be read.
Nothing of a staging that was cut off is kept: it is not renamed before it is whole and on disk (FD-09, FD-11).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from producers.stated.records import KeyUnread, RowUnread
from schemas.errors import ContractBroken, Rejected

BATCH_ROWS = 5_000
LOUD = 5
"""So many lines are named of those that trouble a statement."""

_TABLES = """
CREATE TABLE row (key BLOB PRIMARY KEY, value BLOB, line INTEGER) WITHOUT ROWID;
CREATE TABLE letter (ordinal INTEGER PRIMARY KEY, line INTEGER, reason TEXT, detail TEXT, raw BLOB);
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE load.incoming (place INTEGER PRIMARY KEY, key BLOB, value BLOB, line INTEGER);
CREATE TABLE load.kept (key BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Refused(ContractBroken):
    """A statement that is not taken, none of it: the next one is looked at as if it had not been there."""


def connected(path: Path, *, is_shared: bool = False) -> sqlite3.Connection:
    """A connection to a file of ours, with a bounded cache. `is_shared`: threads take turns with it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=not is_shared)
    connection.execute("PRAGMA cache_size = -32768")
    return connection


class Staging:
    """A statement being written. `held` is the file with the rows that stand; `is_whole`: what is not stated is gone.

    Used by one thread; ends by `finish` or `drop`.
    """

    def __init__(self, path: Path, held: Path, *, is_whole: bool) -> None:
        self._path, self._held, self._is_whole = path, held, is_whole
        self._load = path.with_suffix(".load")
        self._rows: list[tuple[int, bytes, bytes | None, int]] = []
        self.count = 0
        self.letters = 0
        self._withheld = False
        for old in (path, self._load):
            old.unlink(missing_ok=True)
        self._db = connected(path)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("ATTACH ? AS load", (str(self._load),))
        self._db.execute("PRAGMA load.journal_mode = OFF")
        self._db.execute("PRAGMA load.synchronous = OFF")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")

    def add(self, key: bytes, value: bytes | None, line: int) -> None:
        """A row; one without a value is gone. Of several of one key the last counts, where the statement is not whole."""
        self.count += 1
        rows = self._rows
        rows.append((self.count, key, value, line))
        if len(rows) >= BATCH_ROWS:
            self._write()

    def reject(self, error: Rejected, line: int, raw: bytes, unit: str = "line") -> None:
        """A row that cannot be taken: a dead letter. Where its key is known its row stays; otherwise no row is taken for deleted."""
        self.letters += 1
        text = f"{unit} {line}: {error.problem}"
        letter = (self.letters, line, error.reason, text, raw)
        self._db.execute("INSERT INTO letter VALUES (?, ?, ?, ?, ?)", letter)
        if isinstance(error, RowUnread):
            self._db.execute("INSERT OR IGNORE INTO load.kept VALUES (?)", (error.key,))
        elif isinstance(error, KeyUnread):
            self._withheld = True

    def _write(self) -> None:
        self._db.executemany("INSERT INTO load.incoming VALUES (?, ?, ?, ?)", self._rows)
        self._rows.clear()

    def finish(self, subject: str, about: Mapping[str, Any]) -> None:
        """Sort, compare and keep. Raises Refused for a key that a whole statement gives twice."""
        self._write()
        db = self._db
        db.execute("ATTACH ? AS held", (str(self._held),))
        order = "SELECT key, value, line FROM load.incoming ORDER BY key, place"
        try:
            db.execute(f"INSERT {'' if self._is_whole else 'OR REPLACE '}INTO row {order}")
        except sqlite3.IntegrityError:
            raise self._twice(subject) from None
        if self._is_whole:
            of = "held.row" if self._withheld else "held.row JOIN load.kept USING (key)"
            db.execute(f"INSERT OR IGNORE INTO row SELECT key, value, 0 FROM {of}")  # noqa: S608
        counted = {**_counted(db, is_whole=self._is_whole), "letters": self.letters, "stated": self.count}
        whole = {**about, **counted, "is_whole": self._is_whole, "is_withheld": self._withheld}
        db.executemany("INSERT INTO about VALUES (?, ?)", [(name, json.dumps(value)) for name, value in whole.items()])
        db.execute("COMMIT")
        self._end()
        _sync(self._path)

    def _twice(self, subject: str) -> Refused:
        query = (
            "SELECT min(line), max(line) FROM load.incoming GROUP BY key HAVING count(*) > 1 ORDER BY min(line) LIMIT ?"
        )
        lines = ", ".join(f"{first} and {last}" for first, last in self._db.execute(query, (LOUD,)))
        fix = "let the sender name each row once; a list of changes is read by a source of `mode: changes`"
        return Refused(subject, f"a key stands in it more than once (lines {lines})", fix=fix)

    def _end(self) -> None:
        self._db.close()
        self._load.unlink(missing_ok=True)

    def drop(self) -> None:
        """Keep nothing of it. Never raises."""
        with suppress(sqlite3.Error, OSError):
            self._end()
            self._path.unlink(missing_ok=True)


def _counted(db: sqlite3.Connection, *, is_whole: bool) -> dict[str, int]:
    """What the statement makes of the rows that stand."""
    joined = "FROM row n LEFT JOIN held.row h ON h.key = n.key"
    [(created, updated, deleted)] = db.execute(
        "SELECT total(h.key IS NULL AND n.value IS NOT NULL),"
        " total(h.value IS NOT NULL AND n.value IS NOT NULL AND h.value <> n.value),"
        f" total(h.key IS NOT NULL AND n.value IS NULL) {joined}"
    )
    [(held,)] = db.execute("SELECT count(*) FROM held.row")
    if is_whole:
        query = "SELECT count(*) FROM held.row h LEFT JOIN row n ON n.key = h.key WHERE n.key IS NULL"
        [(deleted,)] = db.execute(query)
    rows = held + int(created) - int(deleted)
    return {"held": held, "created": int(created), "updated": int(updated), "deleted": int(deleted), "rows": rows}


def _sync(path: Path) -> None:
    """On disk, and under its own name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    final = path.with_suffix(".sqlite")
    path.replace(final)
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """A rename in it survives the loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def about_of(path: Path) -> dict[str, Any]:
    """What a file of ours says of itself."""
    with closing(connected(path)) as db:
        return {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM about")}
