"""Connection: how the city enters a department's MariaDB."""

from __future__ import annotations

import pymysql

from ops.city.department.database import CONNECT_WITHIN_SECONDS
from schemas.mysql_address import address_of

ANSWER_WITHIN_SECONDS = 30
_SESSION = "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'"


def connected(address: str) -> pymysql.Connection:
    """A connection whose transactions are ended by `commit`. Raises Misconfigured for what is no address, and what PyMySQL does."""
    at = address_of(address)
    return pymysql.connect(
        host="127.0.0.1" if at.host == "localhost" else at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        database=at.database,
        charset="utf8mb4",
        init_command=_SESSION,
        connect_timeout=CONNECT_WITHIN_SECONDS,
        read_timeout=ANSWER_WITHIN_SECONDS,
        write_timeout=ANSWER_WITHIN_SECONDS,
        program_name="mesh-city",
    )
