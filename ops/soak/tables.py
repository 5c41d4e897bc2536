"""The soak's own department: two tables whose shape changes under way, and a subscriber that receives both."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

AGENCY, SUBSCRIBER = "soak", "soak_reader"
RENAMED, REWRITTEN = "renamed", "rewritten"
FEEDS = (f"{AGENCY}.{RENAMED}", f"{AGENCY}.{REWRITTEN}")
ROWS = 500
_SOURCE, _SINK = "MESH_SOAK_DSN", "MESH_SOAK_READER_DSN"


class Tables:
    """The department's tables. `write` is called again and again; while the database is away it does nothing."""

    def __init__(self, source: str, sink: str, seed: int) -> None:
        self._source = source
        self._rng = Random(seed)  # noqa: S311 - reproducible on purpose, guards nothing
        self._names = {RENAMED: RENAMED, REWRITTEN: REWRITTEN}
        self._connection: psycopg.Connection[Any] | None = None
        self._next = ROWS + 1
        os.environ[_SOURCE], os.environ[_SINK] = source, sink

    def create(self) -> None:
        """Make and fill the tables."""
        with psycopg.connect(self._source, autocommit=True) as connection:
            for table in self._names.values():
                name = sql.Identifier(table)
                connection.execute(sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, note text, amount int)").format(name))
                connection.execute(sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(name))
                fill = "INSERT INTO {} SELECT n, 'note ' || n, n FROM generate_series(1, %s) n"
                connection.execute(sql.SQL(fill).format(name), (ROWS,))

    def folder(self, path: Path) -> Path:
        """Write what `mesh onboard` takes; returns the folder."""
        columns = ("note", "amount")
        agency = path / AGENCY
        subscriber = path / SUBSCRIBER
        for each in (agency, subscriber):
            each.mkdir(parents=True)
        source = {"name": "main", "kind": "postgres", "connection": f"${{{_SOURCE}}}"}
        sink = {"name": "main", "kind": "postgres", "connection": f"${{{_SINK}}}"}
        _write(agency / "agency.yaml", {"agency": AGENCY, "name": "长稳测试", "sources": [source]})
        for table in self._names:
            _write(agency / f"{table}.avsc", _contract(table))
        grants = [
            {"feed": feed, "columns": list(columns), "purpose": "长稳测试", "legal_basis": "示例依据"} for feed in FEEDS
        ]
        _write(
            subscriber / "subscriber.yaml",
            {"subscriber": SUBSCRIBER, "name": "长稳", "sinks": [sink], "grants": grants},
        )
        return path

    def write(self) -> None:
        """One change of each kind in each table, as far as the database takes it."""
        for table in self._names.values():
            with suppress(psycopg.Error):
                self._change(sql.Identifier(table))

    def rename(self) -> None:
        """Rename a table. Raises psycopg.Error while the database is away."""
        former, name = self._names[RENAMED], f"{RENAMED}_{self._rng.randrange(1000)}"
        self._execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(former), sql.Identifier(name)))
        self._names[RENAMED] = name

    def rewrite(self) -> None:
        """Write a table anew with other values and another type, past the log. Raises psycopg.Error as above."""
        change = "ALTER TABLE {} ALTER COLUMN note TYPE varchar(200) USING left(note || '*', 200)"
        self._execute(sql.SQL(change).format(sql.Identifier(self._names[REWRITTEN])))

    def vacuum(self) -> None:
        """Write a table anew without any change. Raises psycopg.Error as above."""
        self._execute(sql.SQL("VACUUM FULL {}").format(sql.Identifier(self._names[REWRITTEN])))

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _change(self, name: sql.Identifier) -> None:
        known = self._rng.randrange(1, self._next)
        insert = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s)").format(name)
        self._execute(insert, (self._next, f"note {self._next}", known))
        self._next += 1
        self._execute(sql.SQL("UPDATE {} SET amount = amount + 1 WHERE id = %s").format(name), (known,))
        self._execute(sql.SQL("DELETE FROM {} WHERE id = %s").format(name), (self._rng.randrange(1, self._next),))

    def _execute(self, statement: sql.Composed, parameters: tuple[Any, ...] = ()) -> None:
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._source, autocommit=True, connect_timeout=2)
            self._connection.execute(statement, parameters)
        except psycopg.OperationalError:
            self.close()
            raise


def _contract(table: str) -> Mapping[str, Any]:
    kinds = {"id": "int", "note": ["null", "string"], "amount": ["null", "int"]}
    fields = [
        {
            "name": name,
            "type": kind,
            "doc": f"列 {name}",
            "confluent:tags": ["L1"],
            **({} if name == "id" else {"default": None}),
        }
        for name, kind in kinds.items()
    ]
    gov = {"key": ["id"], "class": "UNCONDITIONAL"}
    return {"type": "record", "name": table.title(), "doc": "长稳测试表", "gov": gov, "fields": fields}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
