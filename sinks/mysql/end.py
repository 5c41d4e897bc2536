# ruff: noqa: S608  -- identifiers are quoted, values are parameters or literals
"""Marks of ended topics in a MariaDB or MySQL (sinks/table/ends.py), and the tables that a later edition takes over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from schemas.feed import edition_of
from sinks.mysql.pipe import MysqlPipe, OpenTransaction
from sinks.mysql.table.catalog import FoundTable, table_in
from sinks.mysql.table.cell import literal
from sinks.mysql.table.table import OFFSETS, REMOVED, MysqlTable, quote
from sinks.mysql.table.type import does_fit
from sinks.table.ends import ENDED
from sinks.table.target import TOKEN


def reshaping(pipe: MysqlPipe, topic: str, table: MysqlTable, found: FoundTable) -> list[str]:
    """Statements that give an empty table the column types of a later edition, whose rows come all anew."""
    unfit = [
        column
        for column in table.columns
        if (there := found.columns.get(column.name)) and not does_fit(table.type_of(column), there.kind)
    ]
    if edition_of(topic) == 1 or TOKEN not in found.columns or not unfit:
        return []
    if pipe.rows(f"SELECT 1 FROM {table.path} LIMIT 1"):
        return []
    return [table.modify(column, pipe.flavour) for column in unfit]


class MysqlEndMarks:
    """`name_of` gives the table of a topic's rows."""

    def __init__(self, pipe: MysqlPipe, subscriber: str, name_of: Callable[[str], str]) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._name_of = name_of

    def mark(self, topic: str, *, is_removed: bool) -> None:
        """See EndMarks."""
        name = self._name_of(topic)
        found = table_in(self._pipe.rows, name)
        path = quote(name) if found and TOKEN in found.columns else ""
        self._pipe.transaction(partial(self._write, topic, path if is_removed else "", is_removed), topic)

    def _write(self, topic: str, path: str, is_removed: bool, session: OpenTransaction) -> None:
        of_topic, who = literal(topic.encode()), literal(self._subscriber.encode())
        is_mark = b" WHERE topic = " + of_topic + f" AND `partition` = {ENDED}".encode()
        session.execute(
            f"INSERT INTO {OFFSETS} (topic, `partition`, subscriber, epoch) VALUES (".encode()
            + of_topic
            + f",{ENDED},".encode()
            + who
            + b",0) ON DUPLICATE KEY UPDATE epoch = epoch"
        )
        session.execute(
            f"UPDATE {OFFSETS} SET epoch = epoch + 1 WHERE topic = ".encode()
            + of_topic
            + f" AND `partition` <> {ENDED}".encode()
        )
        due = session.rows(f"SELECT 1 FROM {OFFSETS}".encode() + is_mark + b" AND next_offset IS NULL FOR UPDATE")
        if is_removed and due:
            gone = session.execute(f"DELETE FROM {path}".encode()) if path else 0
            session.execute(f"UPDATE {OFFSETS} SET next_offset = {gone:d}".encode() + is_mark)
            session.execute(f"DELETE FROM {REMOVED} WHERE topic = ".encode() + of_topic)

    def of(self, topics: Collection[str]) -> dict[str, int | None]:
        """See EndMarks."""
        if not topics:
            return {}
        sql = f"SELECT topic, next_offset FROM {OFFSETS} WHERE topic IN %s AND `partition` = {ENDED}"
        return dict(self._pipe.rows(sql, (list(topics),)))
