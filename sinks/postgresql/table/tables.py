# ruff: noqa: S608  -- identifiers are quoted, values are always parameters
"""Tables: brings the delivered tables into the shape that their contracts need, as far as that is safe (SK-12).

Beside them stands what we made (`_mesh_tables`). So a table or a column that is gone is told from one that was never there: it is
made again **and filled again**, by reading its topic from the beginning. Its offsets go back in the transaction that makes it. The
topic keeps the newest change of every key, and rows that are current are left as they are but for the columns that are anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.errors import ContractBroken
from sinks.postgresql.end import reshaping
from sinks.postgresql.pipe import Pipe
from sinks.postgresql.table.table import DeliveredTable, does_fit, printed_type, quote
from sinks.row import WireColumn
from sinks.sink import Moved
from sinks.table.target import TOKEN

logger = logging.getLogger(__name__)

LOOK_FILLED_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What stands in `_mesh_tables` of one topic. `filling` are columns that a fill under way sets in current rows too."""

    name: str
    relation: int
    home: int
    columns: frozenset[str]
    filling: frozenset[str]
    is_filling: bool


class Tables:
    """The delivered tables of one sink."""

    def __init__(self, pipe: Pipe, subscriber: str, schema: str) -> None:
        self._pipe = pipe
        self._subscriber = subscriber
        self._schema = schema
        self._memory = f"{quote(schema)}._mesh_tables"
        self._offsets = f"{quote(schema)}._mesh_offsets"
        self._filling: set[str] = set()
        self._looked_at = 0.0

    def named(
        self, name: str, columns: Sequence[WireColumn], key: Sequence[WireColumn] = (), doc: str = ""
    ) -> DeliveredTable:
        """See TableKeeper."""
        table = DeliveredTable(schema=self._schema, name=name, columns=tuple(columns), key=tuple(key), doc=doc)
        return table.named_as(self.columns)

    def has_removed(self, topic: str) -> bool:
        """See TableKeeper."""
        sql = f"SELECT EXISTS (SELECT FROM {quote(self._schema)}._mesh_removed WHERE topic = %s)"
        return self._pipe.rows(sql, (topic,)) == [(True,)]

    # `relation` 0 says that the table is gone and its offsets have gone back already.

    def settle(self, topic: str, table: DeliveredTable) -> tuple[Mapping[str, str], frozenset[str]]:
        """See TableKeeper."""
        found, known = self.columns(table), self._known(topic)
        if found:
            if changes := reshaping(self._pipe, topic, table, found):
                self._pipe.change_tables(changes)
                found = self.columns(table)
            _check_drift(self._pipe, table, found)
        missing = [column for column in table.columns if found and column.name not in found]
        statements = [sql for column in missing for sql in table.add(column)] if found else table.create()
        lost = [column.name for column in missing if known and known.columns & {column.name, column.wire}]
        reason = self._reason(topic, table, known, is_made=not found, lost=lost)
        columns = frozenset(column.name for column in table.columns) | (known.columns if known else frozenset())
        columns -= {column.wire for column in table.columns if column.wire != column.name}
        filling = (known.filling if known else frozenset[str]()) | frozenset(lost)
        filling |= {column.name for column in table.columns if column.wire in filling}  # lost under the name of before
        if (
            statements
            or reason
            or known is None
            or known.columns != columns
            or known.name != table.name
            or not known.relation
        ):
            remember = self._remember(topic, table, columns, filling, is_rewound=bool(reason))
            self._pipe.change_tables([*statements, *remember], topic)
        if statements:
            logger.info("%s: table %s follows its contract", self._subscriber, table.name)
        if reason:
            raise Moved(topic, reason)
        if known and known.is_filling:
            self._filling.add(topic)
        return self.columns(table), filling

    def look(self, topics: Collection[str]) -> Mapping[str, str]:
        """See whether what we made is still there; what is not is delivered again from the beginning. Topics and reasons."""
        reasons: dict[str, str] = {}
        for topic, name, is_replaced, lost in self._pipe.rows(
            "SELECT m.topic, m.name, m.relation <> 0 AND (c.oid IS NULL OR (c.oid <> m.relation "
            "AND m.home = to_regclass(%s)::oid)), ARRAY(SELECT unnest(m.columns) EXCEPT SELECT attname::text "
            "FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1) "
            f"FROM {self._memory} m LEFT JOIN pg_class c ON c.oid = "
            "to_regclass(quote_ident(%s) || '.' || quote_ident(m.name)) WHERE m.topic = ANY(%s)",
            (self._offsets, self._schema, list(topics)),
        ):
            if is_replaced or lost:
                what = "was dropped or replaced" if is_replaced else f"lost the column {', '.join(lost)}"
                reasons[topic] = f"table {name} {what} at the subscriber: it is made again and filled anew"
                params = {"topic": topic, "lost": lost, "is_replaced": is_replaced}
                forget = (
                    f"UPDATE {self._memory} SET until = {_until(self._offsets)}, "
                    "columns = CASE WHEN %(is_replaced)s THEN '{}' ELSE ARRAY(SELECT unnest(columns) EXCEPT "
                    "SELECT unnest(%(lost)s::text[])) END, relation = CASE WHEN %(is_replaced)s THEN 0 ELSE relation END, "
                    "filling = CASE WHEN NOT %(is_replaced)s THEN array_cat(filling, %(lost)s::text[]) END "
                    "WHERE topic = %(topic)s"
                )
                self._pipe.change_tables([(forget, params), self._rewound(topic)], topic)
                logger.warning("%s: %s", self._subscriber, reasons[topic])
        return reasons

    def _rewound(self, topic: str) -> tuple[str, Mapping[str, Any]]:
        return f"UPDATE {self._offsets} SET next_offset = NULL WHERE topic = %(topic)s", {"topic": topic}

    def stale(self) -> Collection[str]:
        """See DeliveredState. Asks the database once a second at most."""
        if not self._filling or time.monotonic() < self._looked_at + LOOK_FILLED_SECONDS:
            return ()
        self._looked_at = time.monotonic()
        ended = self._pipe.rows(
            f"UPDATE {self._memory} m SET filling = NULL, until = NULL WHERE topic = ANY(%s) AND NOT EXISTS ("
            f"SELECT FROM jsonb_each_text(m.until) u LEFT JOIN {self._offsets} o ON o.topic = m.topic "
            "AND o.partition = u.key::int WHERE coalesce(o.next_offset, -1) < u.value::bigint) RETURNING topic",
            (list(self._filling),),
        )
        for (topic,) in ended:
            self._filling.discard(topic)
            logger.info("%s: %s is filled", self._subscriber, topic)
        return [topic for (topic,) in ended]

    def columns(self, table: DeliveredTable) -> Mapping[str, str]:
        """See TableKeeper."""
        return dict(
            self._pipe.rows(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
                (table.path,),
            )
        )

    def giving_way(self, table: DeliveredTable) -> Collection[str] | None:
        """See TableKeeper."""
        indexes = self._pipe.rows(
            "SELECT array_agg(a.attname::text) FILTER (WHERE NOT a.attnotnull) FROM pg_index i CROSS JOIN LATERAL ("
            "SELECT unnest(i.indkey::int2[])::int AS number UNION SELECT d.refobjsubid FROM pg_depend d "
            "WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid AND d.refobjid = i.indrelid) k "
            "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number > 0 "
            "WHERE i.indrelid = to_regclass(%s) AND (i.indisunique OR i.indisexclusion) AND NOT i.indisprimary GROUP BY i.indexrelid",
            (table.path,),
        )
        ours = {column.name for column in table.columns} - set(table.key_names)
        nullable = [ours.intersection(names or ()) for (names,) in indexes]
        if nullable and all(nullable):
            return {name for names in nullable for name in names}
        hangs = self._pipe.rows(
            "SELECT FROM pg_constraint WHERE confrelid = to_regclass(%s) AND contype = 'f' AND confdeltype IN ('c', 'n', 'd')",
            (table.path,),
        )
        is_all_ours = set(self.columns(table)) <= {column.name for column in table.columns} | {TOKEN}
        return () if indexes and not hangs and is_all_ours else None

    def _known(self, topic: str) -> Known | None:
        sql = f"SELECT name, relation, home, columns, filling, until IS NOT NULL FROM {self._memory} WHERE topic = %s"
        for name, relation, home, columns, filling, is_filling in self._pipe.rows(sql, (topic,)):
            return Known(
                name=name,
                relation=relation,
                home=home,
                columns=frozenset(columns),
                filling=frozenset(filling or ()),
                is_filling=is_filling,
            )
        return None

    def _reason(
        self, topic: str, table: DeliveredTable, known: Known | None, *, is_made: bool, lost: Sequence[str]
    ) -> str:
        """Why the table has to be filled anew; empty when it has not."""
        if is_made and not (known and known.relation == 0):
            sql = f"SELECT EXISTS (SELECT FROM {self._offsets} WHERE topic = %s AND next_offset > 0)"
            if known or self._pipe.rows(sql, (topic,)) == [(True,)]:
                return f"table {table.name} was not there any more: it is made again and filled anew"
        elif lost:
            return f"table {table.name} had lost the column {', '.join(lost)}: it is made again and filled anew"
        elif known and known.name == table.name and known.relation and not is_made:
            sql = "SELECT to_regclass(%s)::oid, to_regclass(%s)::oid"
            ((relation, home),) = self._pipe.rows(sql, (table.path, self._offsets))
            if relation != known.relation and home == known.home:  # both differ in a database restored as a whole
                return f"table {table.name} was replaced by another of that name: it is filled anew"
        return ""

    def _remember(
        self, topic: str, table: DeliveredTable, columns: Collection[str], filling: Collection[str], *, is_rewound: bool
    ) -> list[tuple[str, Mapping[str, Any]]]:
        params = {
            "topic": topic,
            "name": table.name,
            "path": table.path,
            "offsets": self._offsets,
            "columns": sorted(columns),
            "filling": sorted(filling) or None,
        }
        remember = (
            f"INSERT INTO {self._memory} AS m (topic, name, relation, home, columns, filling, until) VALUES (%(topic)s, "
            "%(name)s, to_regclass(%(path)s)::oid, to_regclass(%(offsets)s)::oid, %(columns)s, %(filling)s, "
            f"{_until(self._offsets) if is_rewound else 'NULL'}) ON CONFLICT (topic) DO UPDATE SET name = excluded.name, "
            "relation = excluded.relation, home = excluded.home, columns = excluded.columns, filling = excluded.filling, "
            "until = coalesce(excluded.until, m.until)"
        )
        statements: list[tuple[str, Mapping[str, Any]]] = [(remember, params)]
        if is_rewound:
            statements.append(self._rewound(topic))
        return statements


def _until(offsets: str) -> str:
    """Where the topic's partitions are: a fill ends there."""
    return (
        f"(SELECT jsonb_object_agg(partition::text, next_offset) FROM {offsets} "
        "WHERE topic = %(topic)s AND next_offset IS NOT NULL)"
    )


def _check_drift(pipe: Pipe, table: DeliveredTable, found: Mapping[str, str]) -> None:
    if TOKEN not in found:
        raise ContractBroken(
            f"table {table.name}",
            "exists already and was not made by the mesh",
            fix="rename it, or give the feed another name with the sink's option `tables`",
        )
    for column in table.columns:
        if column.name in found and not does_fit(column, found[column.name]):
            raise ContractBroken(
                f"table {table.name}, column {column.name}",
                f"is {found[column.name]}, the contract says {printed_type(column)}",
                fix=f"ALTER TABLE {table.path} ALTER COLUMN {quote(column.name)} TYPE {printed_type(column)}",
            )
    key = pipe.rows(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
        "AND a.attnum = ANY (i.indkey::int2[]) WHERE i.indrelid = to_regclass(%s) AND i.indisprimary",
        (table.path,),
    )
    names = sorted(name for (name,) in key)
    if names != sorted(table.key_names):
        raise ContractBroken(
            f"table {table.name}",
            f"has the primary key {names}, the contract says {sorted(table.key_names)}",
            fix=f"DROP TABLE {table.path}: it is made again with the right key, and filled anew",
        )
