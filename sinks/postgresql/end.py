# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Ends of grants in a subscriber's database (schemas/agreement/ending.py): rows go, and nothing of the topic is taken any more.

The mark is a row of `_mesh_offsets` with partition ENDED; its `next_offset` counts the rows that went, null while they are kept.
Mark, raised epochs and removal are one transaction, so a process that still writes the topic is fenced: what it wrote before
is removed, and nothing comes after. A new edition of a grant (schemas/feed.py) takes the table over empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.errors import Fenced
from schemas.feed import edition_of, first_edition, later_edition
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.row import sql_type
from sinks.postgresql.table.table import DeliveredTable, does_fit, quote
from sinks.table.target import TOKEN

ENDED = -1


def reshaping(pipe: Pipe, topic: str, table: DeliveredTable, found: Mapping[str, str]) -> list[str]:
    """Statements that give an empty table the column types of a later edition, whose rows come all anew."""
    unfit = [column for column in table.columns if column.name in found and not does_fit(column, found[column.name])]
    if edition_of(topic) == 1 or TOKEN not in found or not unfit:
        return []
    if pipe.rows(f"SELECT EXISTS (SELECT FROM {table.path})") != [(False,)]:
        return []
    kinds = [(quote(column.name), sql_type(column.kind)) for column in unfit]
    return [f"ALTER TABLE {table.path} ALTER COLUMN {name} TYPE {kind} USING NULL::{kind}" for name, kind in kinds]


class Ends:
    """The ends of topics in one database. `name_of` gives the table of a topic's rows."""

    def __init__(self, pipe: Pipe, subscriber: str, schema: str, name_of: Callable[[str], str]) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._name_of = name_of
        self._offsets = f"{quote(schema)}._mesh_offsets"

    def apply(self, ending: Ending) -> int | None:
        """End a topic as its grant says."""
        return self.end(ending.topic, is_removed=ending.at_end is AtEnd.REMOVE)

    def end(self, topic: str, *, is_removed: bool) -> int | None:
        """End a topic, whoever still writes it; how many rows went, by this call or an earlier one; None if they are kept."""
        marks = self._marks([topic])
        if topic in marks and (marks[topic] is not None or not is_removed):
            return marks[topic]
        params: dict[str, Any] = {"topic": topic, "subscriber": self._subscriber}
        statements: list[tuple[str, dict[str, Any]]] = [
            (
                f"INSERT INTO {self._offsets} (topic, partition, subscriber, epoch) "
                f"VALUES (%(topic)s, {ENDED}, %(subscriber)s, 0) ON CONFLICT DO NOTHING",
                params,
            ),
            (f"UPDATE {self._offsets} SET epoch = epoch + 1 WHERE topic = %(topic)s AND partition <> {ENDED}", params),
        ]
        if is_removed:
            statements += self._removal(self._name_of(topic), params)
        self._pipe.change_tables(statements)
        return self._marks([topic]).get(topic)

    def _removal(self, name: str, params: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        path = f"{quote(self._schema)}.{quote(name)}"
        is_due = f"topic = %(topic)s AND partition = {ENDED} AND next_offset IS NULL"
        found = self._pipe.rows(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s)", (path, TOKEN)
        )
        gone = f"DELETE FROM {path} WHERE EXISTS (SELECT FROM {self._offsets} WHERE {is_due}) RETURNING 1"
        with_gone = f"WITH gone AS ({gone}) " if found == [(True,)] else ""
        count = "(SELECT count(*) FROM gone)" if with_gone else "0"
        memory = f"DELETE FROM {quote(self._schema)}._mesh_removed WHERE topic = %(topic)s"
        return [
            (f"{with_gone}UPDATE {self._offsets} SET next_offset = {count} WHERE {is_due}", params),
            (memory, params),
        ]

    def take_over(self, topics: Collection[str]) -> None:
        """Before partitions of these topics are taken: earlier editions have ended, and their rows are gone."""
        for topic in topics:
            for edition in range(1, edition_of(topic)):
                former = later_edition(first_edition(topic), edition)
                self.end(former, is_removed=True)

    def refuse_ended(self, topics: Collection[str]) -> None:
        """After partitions were taken: nothing is written to a topic that has ended. Raises Fenced."""
        if ended := self._marks(topics):
            raise Fenced(
                f"{self._subscriber}: {', '.join(sorted(ended))} has ended, and nothing of it is taken any more"
            )

    def lost(self, topics: Collection[str]) -> Collection[str]:
        """Those of ended topics of which this database does not know it: a backup from before the end."""
        return set(topics) - self._marks(topics).keys()

    def _marks(self, topics: Collection[str]) -> dict[str, int | None]:
        sql = f"SELECT topic, next_offset FROM {self._offsets} WHERE topic = ANY(%s) AND partition = {ENDED}"
        return dict(self._pipe.rows(sql, (list(topics),)))
