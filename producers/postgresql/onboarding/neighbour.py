"""Neighbour: which database a source is, whatever address leads to it, and which subscribers' sinks deliver into it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from producers.postgresql.link.link import connect, translated
from schemas.errors import Misconfigured

_SINKS = (
    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = '_mesh_offsets'"
)
_IDENTITY = "SELECT current_database(), (SELECT system_identifier FROM pg_control_system())"


def at(address: str) -> str:
    """Host, port and database of an address. Raises Misconfigured for what is none."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        fix = "write postgresql://user:password@host:port/database"
        raise Misconfigured("address", "is no PostgreSQL address", fix=fix) from None
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost").lower()
    host = "localhost" if host in {"127.0.0.1", "::1"} else host
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


def look(address: str, *, name: str) -> tuple[str, set[str]]:
    """The database's identity (empty when the server does not tell it), and the subscribers whose sinks deliver into it."""
    with connect(address, name=name) as connection, translated(name):
        found: set[str] = set()
        for (schema,) in connection.execute(_SINKS).fetchall():
            offsets = sql.Identifier(schema, "_mesh_offsets")
            with suppress(psycopg.errors.InsufficientPrivilege):
                query = sql.SQL("SELECT DISTINCT subscriber FROM {}").format(offsets)
                found.update(subscriber for (subscriber,) in connection.execute(query))
        return _identity(connection), found


def _identity(connection: psycopg.Connection[Any]) -> str:
    with suppress(psycopg.errors.InsufficientPrivilege):
        row = connection.execute(_IDENTITY).fetchone()
        return f"{row[1]}/{row[0]}" if row else ""
    return ""
