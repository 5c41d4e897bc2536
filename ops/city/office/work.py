"""Work: what an office can be given to do, and the connection that it works on."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

KEPT_DAYS = 92
"""How long what came to an end stays in a department's live tables."""
INBOX = "mesh"
"""The schema of a department's database into which the mesh delivers; no publication has it."""


class Work(Protocol):
    """One kind of business of an office."""

    def do(self, connection: Connection, now: datetime, /) -> int:
        """Do what is due at this moment of the city's own time; how many rows were written."""
        ...


def delivered(connection: Connection, *tables: str) -> bool:
    """Whether these tables of the inbox are there: the mesh makes each when something first arrives."""
    found = connection.execute(
        "SELECT bool_and(to_regclass(%s || '.' || name) IS NOT NULL) FROM unnest(%s::text[]) AS name",
        (INBOX, [*tables]),
    ).fetchone()
    return found is not None and bool(found[0])


def query(text: str, **parts: str) -> sql.SQL:
    """A statement whose parts are of our own making; values are always parameters."""
    return sql.SQL(text.format(**parts))  # type: ignore[arg-type]
