"""A connection for statements. What a SELECT finds comes as the server sends it: raw bytes in each column's own character set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pymysql
from pymysql import converters

from producers.mysql.link.fault import mysql_translated
from schemas.errors import Misconfigured, Transient
from schemas.mysql_address import address_of

CONNECT_WITHIN_SECONDS = 10
ANSWER_WITHIN_SECONDS = 120
GOODBYE_SECONDS = 2
_CONVERSIONS: Mapping[Any, Any] = converters.conversions
_ENCODERS: dict[Any, Any] = {kind: encode for kind, encode in _CONVERSIONS.items() if not isinstance(kind, int)}
_SESSION = (
    "SET SESSION sql_mode='', time_zone='+00:00', character_set_results=NULL, transaction_isolation='REPEATABLE-READ',"
    " lock_wait_timeout=5, wait_timeout=86400"
)

Raw = Sequence[bytes | None]


def database_named(address: str) -> str:
    """The database that an address names. Raises Misconfigured for what is no address."""
    return address_of(address).database


def connect_mysql(address: str, *, name: str) -> pymysql.Connection[Any]:
    """A connection whose sessions print every value the same way. Raises Transient and Misconfigured."""
    at = address_of(address)
    tls = at.tls()
    with mysql_translated(name):
        connection = pymysql.connect(
            host=at.host if at.host != "localhost" else "127.0.0.1",
            port=at.port,
            unix_socket=at.socket or None,
            user=at.user,
            password=at.password,
            database=at.database,
            charset="utf8mb4",
            use_unicode=False,
            conv=_ENCODERS,
            autocommit=True,
            connect_timeout=CONNECT_WITHIN_SECONDS,
            read_timeout=ANSWER_WITHIN_SECONDS,
            write_timeout=ANSWER_WITHIN_SECONDS,
            program_name=f"mesh {name}",
            ssl=tls,  # pyright: ignore[reportArgumentType] -- PyMySQL's own documentation says that it may be a context
            ssl_disabled=tls is None,
        )
        version = connection.get_server_info()
        if "mariadb" not in version.lower():
            connection.close()
            fix = "capture the table from a MariaDB (10.6 or newer); the log of MySQL is not read yet"
            raise Misconfigured(f"source {name}", "is a MySQL, and no MariaDB", fix=fix)
        asked(connection, _SESSION)
    return connection


def asked(connection: pymysql.Connection[Any], statement: str, values: Sequence[Any] = ()) -> list[Raw]:
    """What a statement finds, in raw bytes. Raises what PyMySQL raises."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def texts(connection: pymysql.Connection[Any], statement: str, values: Sequence[Any] = ()) -> list[tuple[str, ...]]:
    """The same as text; NULL is empty."""
    return [
        tuple(cell.decode() if cell is not None else "" for cell in row) for row in asked(connection, statement, values)
    ]


def variables(connection: pymysql.Connection[Any], *names: str) -> dict[str, str]:
    """Settings of the server by name; one that it does not know is not there."""
    listed = ", ".join("%s" for _ in names)
    found = texts(connection, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})", names)
    return {row[0].lower(): row[1] for row in found}


def hold_alone(connection: pymysql.Connection[Any], source: str) -> bool:
    """Whether this connection is the one that captures the source; it stays so until it ends."""
    [row] = texts(connection, "SELECT GET_LOCK(%s, 0)", (f"mesh {source}"[:64],))
    return row[0] == "1"


def let_go(connection: pymysql.Connection[Any]) -> None:
    """Let the next process capture at once: the server may take its time to see that a connection has gone. Never raises."""
    driver: Any = connection
    driver._read_timeout = GOODBYE_SECONDS
    with suppress(pymysql.MySQLError, OSError, ValueError):
        texts(connection, "SELECT RELEASE_ALL_LOCKS()")


def spelled_name(table: str) -> str:
    """`<database>.<table>` as a statement has it."""
    return ".".join("`{}`".format(part.replace("`", "``")) for part in table.split(".", 1))


def check_alive(connection: pymysql.Connection[Any], name: str) -> None:
    """Nobody asks it anything for long: see that it is there, and with it our lock. Raises Transient."""
    with mysql_translated(name):
        if not texts(connection, "SELECT 1"):
            raise Transient(f"source {name}: its connection was lost")
