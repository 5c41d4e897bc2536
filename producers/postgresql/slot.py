"""The slot and the publication that a source holds in its database, and whether they still are what it left."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from producers.postgresql.captured import PUBLISHED
from producers.postgresql.identity import IdentityFault, usable_identity
from producers.postgresql.link.catalog import SourceTypes, identifier, tables
from producers.postgresql.link.link import Locked, translated
from producers.postgresql.place import SourcePlace
from producers.postgresql.stream import pgoutput
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken, Misconfigured

_logger = logging.getLogger(__name__)

_SLOT = """
SELECT plugin, database, active_pid, confirmed_flush_lsn::text AS confirmed, wal_status,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS retained
FROM pg_replication_slots WHERE slot_name = %s"""

_CHILDREN = """
SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s AND NOT c.relispartition AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)
  AND n.nspname || '.' || c.relname <> ALL(%s::text[])"""


_NARROW_OPTIONS = """
SELECT FROM pg_publication WHERE pubname = %s
AND NOT (pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot)"""

_NARROW_TABLES = """
SELECT n.nspname, c.relname FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s AND coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL"""


def slot_name(source: str) -> str:
    """The name of slot and publication of `<agency>.<source>`."""
    return f"mesh_{source.replace('.', '_')}"


def by_table(feeds: Mapping[str, FeedEntry]) -> dict[str, FeedEntry]:
    """The feeds by `<schema>.<table>`."""
    return {entry.contract.table: entry for entry in feeds.values()}


class LogGuard:
    """What the server keeps of its log for one source: told, and warned of (stages 0 and 1 of the WAL guard)."""

    def __init__(self, source: str, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._is_warned = False

    def look(self, slot: Mapping[str, Any]) -> int:
        """The kept bytes by `Slot.row`; logs a warning when they come to exceed the limit."""
        retained: int = slot["retained"] or 0
        was_warned, self._is_warned = self._is_warned, retained > self._limit_bytes
        if self._is_warned and not was_warned:
            _logger.warning(
                "%s: the database keeps %d MB of log for us, confirmed %s: the broker or this process is behind, or a "
                "long transaction is open",
                self._source,
                retained >> 20,
                slot["confirmed"] or "0/0",
            )
        return retained


class Slot:
    """Slot and publication of one source, through its connection for statements. Both have the same name."""

    def __init__(self, statements: psycopg.Connection[Any], source: str) -> None:
        self._statements = statements
        self._source = source
        self.name = slot_name(source)

    @property
    def statements(self) -> psycopg.Connection[Any]:
        """The connection."""
        return self._statements

    def acquire(self) -> bool:
        """Whether this process may capture the source; another one that does makes it a standby."""
        with translated(self._source):
            row = self._statements.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (self.name,)
            ).fetchone()
        return bool(row and row[0])

    def drop(self) -> None:
        """Drop the slot, in the phases that allow it."""
        with translated(self._source):
            self._statements.execute("SELECT pg_drop_replication_slot(%s)", (self.name,))

    def row(self) -> dict[str, Any] | None:
        """What the server says of the slot; None if there is none."""
        with translated(self._source), self._statements.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(_SLOT, (self.name,)).fetchone()

    def published(self) -> set[str]:
        """The tables in the publication."""
        with translated(self._source):
            rows = self._statements.execute(
                "SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = %s", (self.name,)
            ).fetchall()
        return {row[0] for row in rows}

    def publish(self, feeds: Mapping[str, FeedEntry]) -> None:
        """An explicit list of tables (PG-14); tables are only ever added, so nobody else's view changes."""
        wanted = sorted(by_table(feeds))
        publication = sql.Identifier(self.name)
        with translated(self._source):
            exists = self._statements.execute("SELECT FROM pg_publication WHERE pubname = %s", (self.name,)).fetchone()
            if exists is None:
                options = PUBLISHED
                if self._statements.info.server_version >= 180_000:
                    options += ", publish_generated_columns = stored"
                create = sql.SQL("CREATE PUBLICATION {} WITH (" + options + ")")  # pyright: ignore[reportArgumentType]
                self._statements.execute(create.format(publication))
            faults = [self._add(table) for table in sorted(set(wanted) - self.published())]
        if found := [fault for fault in faults if fault is not None]:
            raise Misconfigured(
                f"source {self._source}",
                "; ".join(fault.message for fault in found),
                fix="\n       ".join(fault.fix for fault in found),
            )

    def _add(self, table: str) -> IdentityFault | None:
        """Publish one table, unless its own updates and deletes would fail then (invariant 10).

        ONLY: the table's inheritance children are no part of its feed, and need not have an identity. What is judged stays so
        until the transaction ends, since ALTER PUBLICATION has the table locked.
        """
        add = sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}")
        with self._statements.transaction() as transaction:
            self._statements.execute(add.format(sql.Identifier(self.name), identifier(table)))
            fault = usable_identity(tables(self._statements, SourceTypes(self._statements), [table])[table])
            if fault is not None:
                raise psycopg.Rollback(transaction)
        return fault

    def _mend(self, feeds: Mapping[str, FeedEntry]) -> None:
        """Put right what makes a department's writes fail in a publication from before (invariant 10).

        Children by inheritance came with their parent, which earlier versions of the mesh did not prevent; and a publication that
        an upgraded server has kept leaves generated columns out, which tables with FULL identity do not stand.
        """
        publication = sql.Identifier(self.name)
        with translated(self._source):
            for schema, child in self._statements.execute(_CHILDREN, (self.name, sorted(by_table(feeds)))).fetchall():
                _logger.warning("%s: takes %s.%s out of the publication: no feed has it", self._source, schema, child)
                drop = sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}")
                self._statements.execute(drop.format(publication, sql.Identifier(schema, child)))
            if (
                self._statements.info.server_version >= 180_000
                and self._statements.execute(
                    "SELECT FROM pg_publication WHERE pubname = %s AND pubgencols <> 's'", (self.name,)
                ).fetchone()
            ):
                self._statements.execute(
                    sql.SQL("ALTER PUBLICATION {} SET (publish_generated_columns = stored)").format(publication)
                )

    def restore(self) -> None:
        """Let the publication pass on all that happens to its tables, should somebody have narrowed it."""
        publication = sql.Identifier(self.name)
        with translated(self._source):
            if self._statements.execute(_NARROW_OPTIONS, (self.name,)).fetchone():
                _logger.warning("%s: sets the options of publication %s anew", self._source, self.name)
                alter = sql.SQL("ALTER PUBLICATION {} SET (" + PUBLISHED + ")")  # pyright: ignore[reportArgumentType]
                self._statements.execute(alter.format(publication))
            for schema, table in self._statements.execute(_NARROW_TABLES, (self.name,)).fetchall():
                self.take_out(f"{schema}.{table}")  # it is taken in again, whole, with its feed

    def take_out(self, table: str) -> None:
        """Take a table out of the publication. Raises Locked."""
        with translated(self._source):
            drop = sql.SQL("ALTER PUBLICATION {} DROP TABLE ONLY {}")
            self._statements.execute(drop.format(sql.Identifier(self.name), identifier(table)))

    def let_go(self, table: str) -> None:
        """Take the table of a feed that has gone out of the publication, unless somebody has it locked."""
        if table not in self.published():
            return
        try:
            self.take_out(table)
        except Locked:
            _logger.warning("%s: %s stays in the publication: it is locked by somebody", self._source, table)

    def compare(self, place: SourcePlace, identity: Mapping[str, Any], feeds: Mapping[str, FeedEntry]) -> None:
        """PG-09: what we left must be what we find; anything else is a gap that a person must accept (invariant 9)."""
        self._mend(feeds)
        since = pgoutput.lsn_text(place.confirmed)
        fix = f"decide, then accept the gap from {since} on and copy every table anew: `mesh resync {self._source}`"
        former = place.identity
        if former["system"] != identity["system"] or former["database"] != identity["database"]:
            raise ContractBroken(f"source {self._source}", "the address leads to another database than before", fix=fix)
        if former["timeline"] != identity["timeline"]:
            raise ContractBroken(f"source {self._source}", "the database was restored or failed over", fix=fix)
        slot = self.row()
        if slot is None:
            raise ContractBroken(f"source {self._source}", f"its slot {self.name} is gone: changes are lost", fix=fix)
        if slot["wal_status"] == "lost" or slot["plugin"] != "pgoutput":  # PG-43: never heals
            raise ContractBroken(
                f"source {self._source}", f"its slot {self.name} is invalid: changes are lost", fix=fix
            )
        if pgoutput.lsn_number(slot["confirmed"] or "0/0") > place.confirmed:
            raise ContractBroken(
                f"source {self._source}", f"its slot {self.name} was moved or made anew by somebody else", fix=fix
            )
