"""Held rows: the rows of one feed as its topic has them, on disk beside the capturing process, and the statement that is being told.

`rows.sqlite` has the rows as of statement `number`; `next.sqlite` the statement after it, once it is whole. What is told follows
from the two files alone, in the order of keys, so that a killed process tells the same changes under the same positions
(invariant 2). Once the log has all of them, a whole statement's file takes the other's place by a rename; a part is applied to it
in one transaction.

A folder that is lost, or is of another time than the source's record, is told by its epoch and number: then all is stated anew.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from producers.stated.staging import Staging, about_of, connected, sync_folder
from schemas.wire.codec import RowCodec

ROWS, NEXT, PART = "rows.sqlite", "next.sqlite", "next.part"

_EMPTY = """
CREATE TABLE row (key BLOB PRIMARY KEY, value BLOB, line INTEGER) WITHOUT ROWID;
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_TOLD = """
SELECT n.key, h.value, n.value FROM row n LEFT JOIN held.row h ON h.key = n.key WHERE n.value IS NOT h.value ORDER BY n.key
"""
_GONE = """
SELECT h.key, h.value FROM held.row h LEFT JOIN row n ON n.key = h.key WHERE n.key IS NULL ORDER BY h.key
"""


class Told(NamedTuple):
    """One change: what stood, and what stands; None where there was, or is, no row."""

    key: bytes
    before: bytes | None
    after: bytes | None


class Letter(NamedTuple):
    """A row that could not be read."""

    ordinal: int
    line: int
    reason: str
    detail: str
    raw: bytes


class HeldRows:
    """See above. `about` and `next` are what the two files say of themselves; used by one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PART).unlink(missing_ok=True)
        self.about: Mapping[str, Any] = about_of(folder / ROWS) if (folder / ROWS).is_file() else {}
        self.next: Mapping[str, Any] | None = about_of(folder / NEXT) if (folder / NEXT).is_file() else None
        if self.next is not None and self.next["number"] != self.about.get("number", 0) + 1:
            self.discard()  # it was applied, and the process killed before it was removed

    @property
    def epoch(self) -> int:
        """The epoch of the rows; 0 where there are none."""
        return self.about.get("epoch", 0)

    @property
    def number(self) -> int:
        """The last statement that is durable."""
        return self.about.get("number", 0)

    def begin(self, epoch: int, schema: Mapping[str, Any]) -> None:
        """No rows at all, of this epoch, in this schema."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.next = None
        self.about = {"epoch": epoch, "number": 0, "rows": 0, "schema": schema}
        with closing(connected(self._folder / ROWS)) as db:
            db.executescript(_EMPTY)
            _say(db, self.about)

    def stage(self, *, is_whole: bool) -> Staging:
        """A statement, to be written."""
        return Staging(self._folder / PART, self._folder / ROWS, is_whole=is_whole)

    def staged(self) -> Mapping[str, Any]:
        """Take note that the statement is whole; what it says of itself."""
        self.next = about_of(self._folder / NEXT)
        return self.next

    def discard(self) -> None:
        """The statement is not told."""
        (self._folder / NEXT).unlink(missing_ok=True)
        self.next = None

    def letters(self) -> Iterator[Letter]:
        """The statement's rows that could not be read."""
        with closing(connected(self._folder / NEXT)) as db:
            yield from map(Letter._make, db.execute("SELECT * FROM letter ORDER BY ordinal"))

    def changes(self) -> Iterator[Told]:
        """What differs between the statement and the rows that stand, always in the same order."""
        assert self.next is not None, "a statement is being told"
        with closing(connected(self._folder / NEXT)) as db:
            db.execute("ATTACH ? AS held", (str(self._folder / ROWS),))
            yield from map(Told._make, db.execute(_TOLD))
            if self.next["is_whole"]:
                yield from (Told(key, before, None) for key, before in db.execute(_GONE))

    def apply(self) -> None:
        """The statement is durable: what it states is what stands."""
        assert self.next is not None, "a statement was told"
        kept = {"schema": self.about["schema"], "epoch": self.epoch}
        about = {**self.next, **kept}
        if self.next["is_whole"]:
            with closing(connected(self._folder / NEXT)) as db:
                db.execute("DROP TABLE letter")
                _say(db, kept)
            (self._folder / NEXT).replace(self._folder / ROWS)
            sync_folder(self._folder)
        else:
            with closing(connected(self._folder / ROWS)) as db:
                db.execute("ATTACH ? AS told", (str(self._folder / NEXT),))
                db.execute("BEGIN")
                db.execute("DELETE FROM row WHERE key IN (SELECT key FROM told.row WHERE value IS NULL)")
                db.execute("INSERT OR REPLACE INTO row SELECT * FROM told.row WHERE value IS NOT NULL")
                db.execute("DELETE FROM about")
                _say(db, about)
                db.execute("COMMIT")
            (self._folder / NEXT).unlink()
        self.about, self.next = about, None

    def fits(self, schema: Mapping[str, Any], envelope: Mapping[str, Any]) -> bool:
        """Whether the rows are in this schema, or could be written in it."""
        if self.about["schema"]["key"] != schema["key"]:
            return False
        if self.about["schema"] != schema:
            try:
                self._convert(schema, envelope)
            except sqlite3.OperationalError:  # a column of another type
                return False
        return True

    def _convert(self, schema: Mapping[str, Any], envelope: Mapping[str, Any]) -> None:
        """Write the rows in another schema: columns that they have not are NULL. `envelope` has the new one.

        A statement that is being told is written anew likewise, so that its changes keep their positions.
        """
        former, present = RowCodec({"fields": self.about["schema"]["fields"]}), RowCodec.of_envelope(envelope)

        def converted(value: bytes | None) -> bytes | None:
            return None if value is None else present.write(former.read(value))

        if self.next is not None and self.next.get("schema", self.about["schema"]) != schema:
            _rewrite(self._folder / NEXT, schema, converted)
            self.next = about_of(self._folder / NEXT)
        _rewrite(self._folder / ROWS, schema, converted)
        self.about = {**self.about, "schema": schema}


def _rewrite(path: Path, schema: Mapping[str, Any], converted: Callable[[bytes | None], bytes | None]) -> None:
    with closing(connected(path)) as db:
        db.create_function("converted", 1, converted, deterministic=True)
        db.execute("BEGIN")
        db.execute("UPDATE row SET value = converted(value)")
        _say(db, {"schema": schema})
        db.execute("COMMIT")


def _say(db: sqlite3.Connection, about: Mapping[str, Any]) -> None:
    values = [(name, json.dumps(value)) for name, value in about.items()]
    db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", values)
