"""The watch: every few seconds, what the database has of the captured tables, beside what their feeds were made from (PG-44).

A look reads the catalog as of some place in the log, and is judged once the stream has come so far: what happened before it has
been read then, in the order of its commits. The question takes no lock on any table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from producers.postgresql.captured import Captured, CapturedLeaf, Now, Publication
from producers.postgresql.link.link import Locked, translated
from producers.postgresql.stream.pgoutput import lsn_number

_logger = logging.getLogger(__name__)

_PUBLICATION = """
SELECT p.oid::text || ':' || p.xmin::text AS stamp, to_jsonb(p) AS options FROM pg_publication p WHERE p.pubname = %s"""

_TABLES = """
SELECT n.nspname || '.' || c.relname AS name, c.oid::bigint AS oid, c.relkind AS kind, c.relpersistence AS persistence,
       coalesce(pg_relation_filenode(c.oid), 0)::bigint AS filenode, c.relreplident AS identity,
       (SELECT md5(string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.xmin), ','
                              ORDER BY a.attnum))
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS shape,
       coalesce((SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid AND CASE c.relreplident
                 WHEN 'd' THEN i.indisprimary AND i.indimmediate WHEN 'i' THEN i.indisreplident AND i.indisvalid END
                 LIMIT 1), 0)::bigint AS index,
       coalesce(r.oid, CASE WHEN p.puballtables THEN p.oid END, 0)::bigint AS member,
       coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL AS is_narrowed,
       coalesce(p.oid::text || ':' || p.xmin::text, '') AS publication,
       CASE WHEN c.relkind = 'p' THEN (
           WITH RECURSIVE part(oid) AS (
               SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = c.oid AND NOT h.inhdetachpending
               UNION ALL SELECT h.inhrelid FROM part JOIN pg_inherits h ON h.inhparent = part.oid
                         WHERE NOT h.inhdetachpending)
           SELECT jsonb_agg(jsonb_build_array(l.oid::bigint, pg_relation_filenode(l.oid)::bigint, l.xmin::text::bigint)
                            ORDER BY l.oid)
           FROM part JOIN pg_class l ON l.oid = part.oid WHERE l.relkind = 'r') END AS leaves
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication p ON p.pubname = %(publication)s
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE c.relkind IN ('r', 'p') AND (c.oid = ANY(%(oids)s::oid[]) OR n.nspname || '.' || c.relname = ANY(%(names)s))"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the catalog had at a place `at` in the log: everything that it shows was committed before."""

    at: int
    publication: Publication | None
    by_name: Mapping[str, Captured]
    by_oid: Mapping[int, Captured] = field(default_factory=dict[int, Captured])

    def now(self, name: str, oid: int) -> Now:
        """What there is of a table that was captured with this oid, and is asked for by name."""
        return Now(here=self.by_name.get(name), former=self.by_oid.get(oid), publication=self.publication)


def look(
    connection: psycopg.Connection[Any], publication: str, names: Iterable[str], oids: Iterable[int], *, source: str
) -> Look:
    """The tables of these names, and those of these oids whatever they are called now."""
    with translated(source), connection.cursor(row_factory=dict_row) as cursor:
        whole = cursor.execute(_PUBLICATION, (publication,)).fetchone()
        wanted = {"publication": publication, "oids": list(oids), "names": list(names)}
        found = [_captured(row) for row in cursor.execute(_TABLES, wanted).fetchall()]
        # Asked last: every commit that the rows above show is before it.
        end = cursor.execute("SELECT pg_current_wal_insert_lsn()::text AS lsn").fetchone()
    assert end is not None, "a SELECT without FROM has one row"
    return Look(
        at=lsn_number(end["lsn"]),
        publication=None if whole is None else Publication(stamp=whole["stamp"], options=whole["options"]),
        by_name={table.name: table for table in found},
        by_oid={table.oid: table for table in found},
    )


def _captured(row: Mapping[str, Any]) -> Captured:
    leaves = tuple(CapturedLeaf(oid, filenode or 0, xid) for oid, filenode, xid in row["leaves"] or ())
    return Captured(**{**row, "leaves": leaves, "shape": row["shape"] or ""})


def is_filled(connection: psycopg.Connection[Any], oid: int, *, source: str) -> bool:
    """Whether a table has rows, as far as its size says; also where it is locked, and nobody can tell."""
    try:
        with translated(source):
            row = connection.execute("SELECT coalesce(pg_relation_size(%s::oid), 0) > 0", (oid,)).fetchone()
    except Locked:
        return True
    return bool(row and row[0])
