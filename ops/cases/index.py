"""Index: cases by feed, in the order in which they want somebody, in one SQLite file of this process's own.

SQLite because a page is a part of many, filtered, ordered and counted, and memory must not grow with the cases. The file has no name
and is gone with the process: what stands in it can be read again from the feeds.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NEVER = 1 << 60
"""In microseconds: later than whatever is due."""
MEMORY_KIB = 16_384
_TABLES = """
CREATE TABLE entry (feed TEXT, name TEXT, cause TEXT, state TEXT, waits INTEGER, rank INTEGER, since INTEGER, due INTEGER,
    content TEXT, PRIMARY KEY (feed, name)) WITHOUT ROWID;
CREATE INDEX entry_rank ON entry (feed, waits DESC, rank, name);
CREATE INDEX entry_cause ON entry (feed, cause, waits DESC, rank, name);
CREATE INDEX entry_state ON entry (feed, state, waits DESC, rank, name);
CREATE INDEX entry_due ON entry (feed, waits, due);
CREATE INDEX entry_counted ON entry (feed, cause, state, waits, since);
CREATE TABLE sought (feed TEXT, hash TEXT, name TEXT, PRIMARY KEY (feed, hash, name)) WITHOUT ROWID;
CREATE INDEX sought_of ON sought (feed, name);
CREATE TABLE decided (feed TEXT, name TEXT, content TEXT, PRIMARY KEY (feed, name)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One case. `name` is a keyed hash, `sought` are those of what it may be looked for by. Moments are microseconds, UTC.

    `content` is what is shown of it, as JSON. `waits`: somebody is still to act, until `due` where that is said.
    """

    name: str
    state: str
    content: Mapping[str, Any] = field(repr=False)
    cause: str = ""
    waits: bool = False
    since: int | None = None
    due: int | None = None
    rank: int = NEVER
    sought: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many of a cause and state, and the oldest moment of them."""

    cause: str
    state: str
    waits: bool
    count: int
    since: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which of a feed's cases: what is empty chooses all. `late_at`: those that were due by then. `sought`: a hash."""

    cause: str = ""
    state: str = ""
    late_at: int | None = None
    sought: str = ""


class CaseIndex:
    """Any thread may ask; one at a time is answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute(f"PRAGMA cache_size = -{MEMORY_KIB}")
        self._db.execute("PRAGMA journal_mode = MEMORY")
        self._db.execute("PRAGMA synchronous = OFF")  # it is gone with the process anyway
        self._db.executescript(_TABLES)

    def put(self, feed: str, entries: Iterable[Entry], gone: Iterable[str] = ()) -> None:
        """Cases as they are now, and the names of those that are no more."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            for name in gone:
                self._db.execute("DELETE FROM entry WHERE feed = ? AND name = ?", (feed, name))
                self._db.execute("DELETE FROM sought WHERE feed = ? AND name = ?", (feed, name))
            for each in entries:
                due = NEVER if each.due is None else each.due
                told = json.dumps(each.content, ensure_ascii=False)
                row = (feed, each.name, each.cause, each.state, each.waits, each.rank, each.since, due, told)
                self._db.execute("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
                self._db.execute("DELETE FROM sought WHERE feed = ? AND name = ?", (feed, each.name))
                hashes = [(feed, each_hash, each.name) for each_hash in set(each.sought)]
                self._db.executemany("INSERT INTO sought VALUES (?, ?, ?)", hashes)

    def restate(self, feed: str, name: str, state: str, *, waits: bool) -> None:
        """A case that stands otherwise now."""
        with self._lock:
            self._db.execute(
                "UPDATE entry SET state = ?, waits = ? WHERE feed = ? AND name = ?", (state, waits, feed, name)
            )

    def forget(self, feed: str) -> None:
        """All that is known of a feed, to read it anew."""
        with self._lock:
            for table in ("entry", "sought", "decided"):
                self._db.execute(f"DELETE FROM {table} WHERE feed = ?", (feed,))  # noqa: S608 - a name of ours

    def decide(self, feed: str, name: str, content: Mapping[str, Any]) -> None:
        """What was decided of an item, be it there or not."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO decided VALUES (?, ?, ?)", (feed, name, json.dumps(content)))

    def decided(self, feed: str, name: str) -> Mapping[str, Any] | None:
        """The newest decision about an item."""
        found = self._rows("SELECT content FROM decided WHERE feed = ? AND name = ?", (feed, name))
        return json.loads(found[0][0]) if found else None

    def one(self, feed: str, name: str) -> Entry | None:
        """A case by its name, or by the beginning of it where that is one case's alone."""
        text = "SELECT * FROM entry WHERE feed = ? AND name >= ? AND name < ? LIMIT 2"
        found = self._rows(text, (feed, name, f"{name}~"))
        return _entry(found[0]) if len(found) == 1 else None

    def page(self, feed: str, chosen: Filter, *, start: int, count: int) -> list[Entry]:
        """A part of the chosen ones: first what waits, by its rank."""
        where, values = _where(feed, chosen)
        text = f"SELECT * FROM entry WHERE {where} ORDER BY waits DESC, rank, name LIMIT ? OFFSET ?"  # noqa: S608 - ours
        return [_entry(row) for row in self._rows(text, (*values, count, start))]

    def count(self, feed: str, chosen: Filter) -> int:
        """How many there are."""
        where, values = _where(feed, chosen)
        return self._rows(f"SELECT count(*) FROM entry WHERE {where}", values)[0][0]  # noqa: S608 - ours

    def counts(self, feed: str) -> list[Count]:
        """All of a feed by cause and state."""
        text = "SELECT cause, state, waits, count(*), min(since) FROM entry WHERE feed = ? GROUP BY cause, state, waits"
        names = ("cause", "state", "waits", "count", "since")
        found = [dict(zip(names, row, strict=True)) for row in self._rows(text, (feed,))]
        return [Count(**{**each, "waits": bool(each["waits"])}) for each in found]

    def close(self) -> None:
        """Remove it."""
        with self._lock:
            self._db.close()

    def _rows(self, text: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(text, values).fetchall()


def _where(feed: str, chosen: Filter) -> tuple[str, list[Any]]:
    parts: list[str] = ["feed = ?"]
    values: list[Any] = [feed]
    for column, wanted in (("cause", chosen.cause), ("state", chosen.state)):
        if wanted:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if chosen.late_at is not None:
        parts.append("waits = 1 AND due < ?")
        values.append(chosen.late_at)
    if chosen.sought:
        parts.append("name IN (SELECT name FROM sought WHERE feed = ? AND hash = ?)")
        values += [feed, chosen.sought]
    return " AND ".join(parts), values


def _entry(row: tuple[Any, ...]) -> Entry:
    _, name, cause, state, waits, rank, since, due, content = row
    return Entry(
        name=name,
        cause=cause,
        state=state,
        waits=bool(waits),
        rank=rank,
        since=since,
        due=None if due == NEVER else due,
        content=json.loads(content),
    )
