"""Store: what the open feeds say now, in one SQLite file, so that a request reads an index instead of a topic.

SQLite because requests filter, page and sort by many columns, want a consistent view while news arrive, and because rows and
offsets of a batch must become durable together: the file is then exactly as far as it says, whenever the process ends
(invariant 7). A key-value store would need all of that built on top of it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.opendata.condition import Condition, How, Order
from schemas.change import Partition
from streams.flows.opendata.catalogue import DATASETS, Dataset, Part, sets_of

ALL = "*"
TREND_POINTS = 1_000
_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (
    dataset TEXT, row_no TEXT, content TEXT NOT NULL, PRIMARY KEY (dataset, row_no)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counted (dataset TEXT PRIMARY KEY, rows INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (
    kind TEXT, dataset TEXT, id TEXT, value TEXT NOT NULL, PRIMARY KEY (kind, dataset, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trend (dataset TEXT, at INTEGER, rows INTEGER, PRIMARY KEY (dataset, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS release (
    dataset TEXT PRIMARY KEY, released_at INTEGER, committed_ms INTEGER, published_ms INTEGER) WITHOUT ROWID;
"""
_TEXT = (
    "CASE json_type(content, ?) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN '' "
    "ELSE CAST(json_extract(content, ?) AS TEXT) END = ?"
)
_KEYS = {
    "profile": ("dataset", "column"),
    "relation": ("from_dataset", "from_column", "to_dataset", "to_column"),
    "heat": ("dataset", "level", "place"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One record of an open feed. `kind` is the feed's last part; `row` is the row as it is now, None when it is gone.

    `committed_ms` is the newest source commit that the record knows of, `published_ms` when the flow wrote it.
    """

    kind: str
    key: Mapping[str, Any]
    row: Mapping[str, Any] | None
    committed_ms: int = 0
    published_ms: int = 0


class Store:
    """One writer and any number of readers, each reading the state after some whole batch."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path.absolute()
        self._lock = threading.Lock()
        self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = NORMAL")  # after a power cut it is older, rows and offsets alike
        if self._writer.execute("PRAGMA user_version").fetchone()[0] not in {0, _VERSION}:
            self._drop()
        self._writer.executescript(_TABLES)
        self._writer.execute(f"PRAGMA user_version = {_VERSION}")
        self._writer.execute("INSERT OR IGNORE INTO meta VALUES ('id', ?)", (secrets.token_hex(6),))

    @property
    def id(self) -> str:
        """This store's own name among readers of the feeds; a new one after `clear`."""
        with self._lock:
            return self._writer.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()[0]

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._writer.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, news: Sequence[News], following: Mapping[Partition, int]) -> None:
        """Make news durable together with the offsets that follow them."""
        with self._lock, self._transaction() as writer:
            for one in news:
                self._take(writer, one)
            writer.executemany(
                "INSERT OR REPLACE INTO place VALUES (?, ?, ?)",
                [(topic, partition, offset) for (topic, partition), offset in following.items()],
            )

    def starts(self, places: Collection[Partition]) -> Mapping[Partition, int]:
        """Where to go on reading; a place that was never read is left out."""
        with self._lock:
            known = self._writer.execute("SELECT topic, partition, next FROM place").fetchall()
        return {(topic, partition): offset for topic, partition, offset in known if (topic, partition) in places}

    def clear(self) -> None:
        """Forget everything, to read anew from the beginning."""
        with self._lock:
            self._drop()
            self._writer.executescript(_TABLES)
            self._writer.execute("INSERT INTO meta VALUES ('id', ?)", (secrets.token_hex(6),))

    def withdraw(self, topic: str, kind: str) -> None:
        """Show nothing of a feed any longer, and read it from its beginning should it come back."""
        with self._lock, self._transaction() as writer:
            # The group on the broker knows where we were; a negative offset is the beginning, whatever it says.
            writer.execute("UPDATE place SET next = -2 WHERE topic = ?", (topic,))
            writer.execute("DELETE FROM told WHERE kind = ?", (kind,))
            if kind == "dataset":
                writer.execute("DELETE FROM published")
                writer.execute("DELETE FROM counted")

    def _drop(self) -> None:
        for table in ("meta", "place", "published", "counted", "told", "trend", "release"):
            self._writer.execute(f"DROP TABLE IF EXISTS {table}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

    def _take(self, writer: sqlite3.Connection, news: News) -> None:
        if news.kind == "dataset":
            _publish(writer, news.key["dataset"], news.key["row_no"], None if news.row is None else news.row["content"])
            return
        columns = _KEYS[news.kind]
        key = (news.kind, news.key[columns[0]], "|".join(news.key[column] for column in columns[1:]))
        if news.row is None:
            writer.execute("DELETE FROM told WHERE kind = ? AND dataset = ? AND id = ?", key)
            return
        writer.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)", (*key, json.dumps(news.row)))
        if news.kind == "profile" and news.row["column"] == ALL:
            _remember(writer, news)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state for as long as it is open, and cannot write."""
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            yield reader

    def rows(
        self, listed: Dataset | Part, where: Sequence[Condition] = (), *, limit: int, after: str = ""
    ) -> list[tuple[str, dict[str, Any]]]:
        """Published rows of a set as (row number, what it shows), by row number, beginning behind `after`.

        The caller has checked that the set has the columns of `where`.
        """
        condition, values = _condition(listed, where)
        query = f"SELECT row_no, content FROM published WHERE {condition} AND row_no > ? ORDER BY row_no LIMIT ?"  # noqa: S608  no value is in it
        with self._reading() as reader:
            found = reader.execute(query, (*values, after, limit)).fetchall()
        return [(row_no, json.loads(content)) for row_no, content in found]

    def whole(self, listed: Dataset | Part, where: Sequence[Condition] = ()) -> Iterator[dict[str, Any]]:
        """What every row of a set shows, by row number, as of one moment. Take them at once: news wait in the file meanwhile."""
        condition, values = _condition(listed, where)
        query = f"SELECT content FROM published WHERE {condition} ORDER BY row_no"  # noqa: S608  no value is in it
        with self._reading() as reader:
            for (content,) in reader.execute(query, values):
                yield json.loads(content)

    def counts(self) -> Mapping[str, int]:
        """How many published rows each set has, parts as well; sets without any are left out."""
        with self._reading() as reader:
            return dict(reader.execute("SELECT dataset, rows FROM counted WHERE rows > 0"))

    def chosen(
        self, listed: Dataset | Part, choose: Callable[[Iterable[str]], Sequence[str]]
    ) -> list[tuple[str, dict[str, Any]]]:
        """The published rows of a set whose numbers `choose` picks from all of them, in its order."""
        condition, values = _condition(listed, ())
        query = f"SELECT row_no FROM published WHERE {condition}"  # noqa: S608  no value is in it
        one = "SELECT content FROM published WHERE dataset = ? AND row_no = ?"
        with self._reading() as reader:
            row_nos = choose(row_no for (row_no,) in reader.execute(query, values))
            found = [(row_no, reader.execute(one, (listed.whole.dataset, row_no)).fetchone()) for row_no in row_nos]
        return [(row_no, json.loads(content)) for row_no, (content,) in found]

    def told(self, kind: str, dataset: str | None = None) -> list[dict[str, Any]]:
        """Rows of `open.profile`, `open.relation` (by the set that an edge starts from) or `open.heat`, by key."""
        query = "SELECT value FROM told WHERE kind = ? AND (? IS NULL OR dataset = ?) ORDER BY dataset, id"
        with self._reading() as reader:
            return [json.loads(value) for (value,) in reader.execute(query, (kind, dataset, dataset))]

    def trend(self, dataset: str, points: int) -> list[tuple[int, int]]:
        """The newest so many (moment in microseconds, rows) of a set, oldest first."""
        query = "SELECT at, rows FROM trend WHERE dataset = ? ORDER BY at DESC LIMIT ?"
        with self._reading() as reader:
            return reader.execute(query, (dataset, points)).fetchall()[::-1]

    def delay(self, dataset: str) -> int | None:
        """Milliseconds from the newest source commit of a set's last release until that release was published."""
        with self._reading() as reader:
            query = "SELECT published_ms - committed_ms FROM release WHERE dataset = ? AND committed_ms > 0"
            found = reader.execute(query, (dataset,)).fetchone()
        return None if found is None else max(found[0], 0)


def _publish(writer: sqlite3.Connection, dataset: str, row_no: str, content: str | None) -> None:
    """Show a row, or no longer, and count it in the set and its parts: the flow's own figures come a while after the rows."""
    find = "SELECT content FROM published WHERE dataset = ? AND row_no = ?"
    known = writer.execute(find, (dataset, row_no)).fetchone()
    if known is not None:
        writer.execute("DELETE FROM published WHERE dataset = ? AND row_no = ?", (dataset, row_no))
        _count(writer, dataset, known[0], -1)
    if content is not None:
        writer.execute("INSERT INTO published VALUES (?, ?, ?)", (dataset, row_no, content))
        _count(writer, dataset, content, 1)


def _count(writer: sqlite3.Connection, code: str, content: str, difference: int) -> None:
    if (dataset := DATASETS.get(code)) is None:
        return
    shown = json.loads(content)
    writer.executemany(
        "INSERT INTO counted VALUES (?, ?) ON CONFLICT (dataset) DO UPDATE SET rows = rows + excluded.rows",
        [(each, difference) for each in sets_of(dataset, [shown.get(column) for column in dataset.groups])],
    )


def _remember(writer: sqlite3.Connection, news: News) -> None:
    """Keep how a set has grown, which the feed itself forgets, and how long its last release took."""
    row = news.row or {}
    dataset, moment = row["dataset"], row["last_change"]
    writer.execute("INSERT OR REPLACE INTO trend VALUES (?, ?, ?)", (dataset, moment, row["rows"]))
    writer.execute(
        "DELETE FROM trend WHERE dataset = ? AND at <= "
        "(SELECT at FROM trend WHERE dataset = ? ORDER BY at DESC LIMIT 1 OFFSET ?)",
        (dataset, dataset, TREND_POINTS),
    )
    writer.execute(
        "INSERT INTO release VALUES (?, ?, ?, ?) ON CONFLICT (dataset) DO UPDATE SET released_at = excluded.released_at, "
        "committed_ms = excluded.committed_ms, published_ms = excluded.published_ms "
        "WHERE excluded.released_at > release.released_at",
        (dataset, moment, news.committed_ms, news.published_ms),
    )


def _condition(listed: Dataset | Part, where: Sequence[Condition]) -> tuple[str, list[str | float]]:
    shown = [*where, *([Condition(*listed.shows)] if listed.shows else [])]
    text, values = "dataset = ?", list[str | float]([listed.whole.dataset])
    for condition in shown:
        path = f'$."{condition.column}"'
        if condition.how is How.IS:
            text += f" AND {_TEXT}"
            values += [path, path, condition.text]
        elif condition.how is How.HAS:
            text += " AND instr(json_extract(content, ?), ?) > 0"
            values += [path, condition.text]
        else:
            sign = ">=" if condition.how is How.FROM else "<="
            if condition.order is Order.NUMBER:
                text += f" AND CAST(json_extract(content, ?) AS REAL) {sign} ?"
                values += [path, float(condition.text)]
            else:  # as much of the date as the bound has
                text += f" AND substr(json_extract(content, ?), 1, ?) {sign} ?"
                values += [path, len(condition.text), condition.text]
    return text, values
