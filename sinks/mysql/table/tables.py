"""Tables: brings the delivered tables into the shape that their contracts need, as far as that is safe (SK-12).

Beside them stands what we made (memory.py). So a table or a column that is gone is told from one that was never there: it is made
again **and filled again**, by reading its topic from the beginning. A statement that makes or alters a table commits by itself in
these databases, so its offsets go back first. The topic keeps the newest change of every key, and rows that are current are left
as they are but for the columns that are anew.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection, Mapping, Sequence

from sinks.mysql.end import reshaping
from sinks.mysql.pipe import MysqlPipe
from sinks.mysql.table.catalog import FoundTable, table_in
from sinks.mysql.table.drift import refuse_drift
from sinks.mysql.table.memory import GONE, RememberedTable, TableMemory
from sinks.mysql.table.table import REMOVED, MysqlTable
from sinks.row import WireColumn
from sinks.sink import Moved
from sinks.table.target import TOKEN

logger = logging.getLogger(__name__)

LOOK_FILLED_SECONDS = 1.0


class MysqlTables:
    """The delivered tables of one sink."""

    def __init__(self, pipe: MysqlPipe, subscriber: str) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._memory = TableMemory(pipe)
        self._shapes: dict[str, FoundTable] = {}
        self._stale: set[str] = set()
        self._filling: set[str] = set()
        self._looked_at = 0.0

    def named(
        self, name: str, columns: Sequence[WireColumn], key: Sequence[WireColumn] = (), doc: str = ""
    ) -> MysqlTable:
        """See TableKeeper."""
        return MysqlTable(name=name, columns=tuple(columns), key=tuple(key), doc=doc).named_as(self.columns)

    def columns(self, table: MysqlTable) -> Mapping[str, str]:
        """See TableKeeper."""
        found = table_in(self._pipe.rows, table.name)
        return found.types if found else {}

    def has_removed(self, topic: str) -> bool:
        """See TableKeeper."""
        return bool(self._pipe.rows(f"SELECT 1 FROM {REMOVED} WHERE topic = %s LIMIT 1", (topic,)))  # noqa: S608

    def settle(self, topic: str, table: MysqlTable) -> tuple[Mapping[str, str], frozenset[str]]:
        """See TableKeeper."""
        found, known = table_in(self._pipe.rows, table.name), self._memory.of([topic]).get(topic)
        if found:
            if changes := reshaping(self._pipe, topic, table, found):
                self._pipe.change_tables(changes, topic)
                found = table_in(self._pipe.rows, table.name) or found
            refuse_drift(table, found, self._pipe.flavour)
        missing = [column for column in table.columns if found and column.name not in found.columns]
        lost = [column.name for column in missing if known and known.columns & {column.name, column.wire}]
        reason = self._reason(topic, table, known, found, lost)
        columns = frozenset(column.name for column in table.columns) | (known.columns if known else frozenset())
        columns -= {column.wire for column in table.columns if column.wire != column.name}
        filling = (known.filling if known else frozenset[str]()) | frozenset(lost)
        filling |= {column.name for column in table.columns if column.wire in filling}  # lost under the name of before
        until = known.until if known else None
        if reason:
            gone = RememberedTable(
                name=table.name, mark=GONE, columns=columns - set(lost), filling=filling, until=until
            )
            self._memory.rewind(topic, gone)
        self._make(topic, table, found, missing)
        now = table_in(self._pipe.rows, table.name)
        if now is None:  # dropped at this moment: the next try makes it
            raise Moved(topic, f"table {table.name} was dropped as it was made")
        until = until if not reason else self._memory.of([topic])[topic].until
        wanted = RememberedTable(name=table.name, mark=now.mark, columns=columns, filling=filling, until=until)
        if wanted != known or reason:
            self._memory.remember(topic, wanted)
        if reason:
            raise Moved(topic, reason)
        if until is not None:
            self._filling.add(topic)
        self._shapes[topic] = now
        return now.types, filling

    def _make(self, topic: str, table: MysqlTable, found: FoundTable | None, missing: Sequence[WireColumn]) -> None:
        flavour = self._pipe.flavour
        if found is None:
            statements = [table.create(flavour, f"mesh {secrets.token_hex(8)}")]
        else:
            statements = [table.add(column, flavour) for column in missing]
        if statements:
            self._pipe.change_tables(statements, topic)
            logger.info("%s: table %s follows its contract", self._subscriber, table.name)

    def look(self, topics: Collection[str]) -> Mapping[str, str]:
        """See DeliveredState."""
        reasons: dict[str, str] = {}
        for topic, known in self._memory.of(topics).items():
            found = table_in(self._pipe.rows, known.name)
            if found is not None and self._shapes.get(topic, found) != found:
                self._stale.add(topic)
            is_replaced = known.mark != GONE and (found is None or found.mark != known.mark)
            lost = sorted(known.columns - found.columns.keys()) if found else []
            if is_replaced or lost:
                what = "was dropped or replaced" if is_replaced else f"lost the column {', '.join(lost)}"
                reasons[topic] = f"table {known.name} {what} at the subscriber: it is made again and filled anew"
                left = RememberedTable(
                    name=known.name,
                    mark=GONE if is_replaced else known.mark,
                    columns=frozenset() if is_replaced else known.columns - set(lost),
                    filling=known.filling if is_replaced else known.filling | set(lost),
                    until=known.until,
                )
                self._memory.rewind(topic, left)
                logger.warning("%s: %s", self._subscriber, reasons[topic])
        return reasons

    def stale(self) -> Collection[str]:
        """See DeliveredState."""
        stale, self._stale = self._stale, set()
        if self._filling and time.monotonic() >= self._looked_at + LOOK_FILLED_SECONDS:
            self._looked_at = time.monotonic()
            for topic in self._memory.end_fills(sorted(self._filling)):
                self._filling.discard(topic)
                stale.add(topic)
                logger.info("%s: %s is filled", self._subscriber, topic)
        return stale

    def giving_way(self, table: MysqlTable) -> Collection[str] | None:
        """See TableKeeper."""
        indexes: dict[str, list[str]] = {}
        for index, column in self._pipe.rows(
            "SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = DATABASE() "
            "AND table_name = %s AND non_unique = 0 AND index_name <> 'PRIMARY'",
            (table.name,),
        ):
            indexes.setdefault(index, []).append(column)
        found = table_in(self._pipe.rows, table.name)
        if found is None:
            return None
        ours = {column.name for column in table.columns} - set(table.key_names)
        nullable = [
            {name for name in names if name in ours and found.columns[name].is_nullable} for names in indexes.values()
        ]
        if nullable and all(nullable):
            return {name for names in nullable for name in names}
        hangs = self._pipe.rows(
            "SELECT 1 FROM information_schema.referential_constraints WHERE unique_constraint_schema = DATABASE() "
            "AND referenced_table_name = %s AND delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') LIMIT 1",
            (table.name,),
        )
        is_all_ours = set(found.columns) <= {column.name for column in table.columns} | {TOKEN}
        return () if indexes and not hangs and is_all_ours else None

    def _reason(
        self,
        topic: str,
        table: MysqlTable,
        known: RememberedTable | None,
        found: FoundTable | None,
        lost: Sequence[str],
    ) -> str:
        """Why the table has to be filled anew; empty when it has not."""
        if found is None:
            if not (known and known.mark == GONE) and (known or self._memory.has_offsets(topic)):
                return f"table {table.name} was not there any more: it is made again and filled anew"
        elif lost:
            return f"table {table.name} had lost the column {', '.join(lost)}: it is made again and filled anew"
        elif known and known.name == table.name and known.mark not in {GONE, found.mark}:
            return f"table {table.name} was replaced by another of that name: it is filled anew"
        return ""
