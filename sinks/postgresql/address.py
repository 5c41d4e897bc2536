"""Which database an address of PostgreSQL names."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from schemas.errors import Misconfigured


def database_at(address: str) -> tuple[str, str, str]:
    """Host, port and database. Raises Misconfigured for what is no address."""
    try:
        parts = conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        fix = "write postgresql://user:password@host:port/database"
        raise Misconfigured("address", "is no PostgreSQL address", fix=fix) from None
    host = str(parts.get("host") or parts.get("hostaddr") or "localhost").lower()
    if host in {"127.0.0.1", "::1"}:
        host = "localhost"
    return host, str(parts.get("port") or 5432), str(parts.get("dbname") or parts.get("user") or "")
