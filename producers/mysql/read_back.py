"""Rows of a department's table on MariaDB, read back with the driver's own types, so that `mesh verify` can compare a copy with them.

It shares no code with capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
from pymysql.constants import FIELD_TYPE
from pymysql.cursors import SSCursor

from schemas.contract import Contract, Field
from schemas.errors import Transient
from schemas.mysql_address import address_of

CONNECT_WITHIN_SECONDS = 10
ANSWER_WITHIN_SECONDS = 120
_SESSION = "SET time_zone = '+00:00', sql_mode = ''"
_A_MICROSECOND = timedelta(microseconds=1)

Read = Callable[[Any], Any]


def rows(address: str, contract: Contract) -> Iterator[dict[str, Any]]:
    """The rows of the contract's table, column to value, as they were at one moment. Raises Transient."""
    names = [field.name for field in contract.fields]
    listed = ", ".join(map(_selected, contract.fields))
    table = ".".join(map(_quoted, contract.table.split(".", 1)))
    try:
        with closing(_connected(address)) as connection, connection.cursor(SSCursor) as cursor:
            cursor.execute(f"SELECT {listed} FROM {table}")  # noqa: S608 -- names are quoted
            bits = [about[1] == FIELD_TYPE.BIT for about in cursor.description]
            widths: list[Any] = [about[3] for about in cursor.description]
            reads = [
                _bits(width, field) if is_bits else _reading(field)
                for field, is_bits, width in zip(contract.fields, bits, widths, strict=True)
            ]
            for values in cursor:
                yield {
                    name: None if value is None else read(value)
                    for name, read, value in zip(names, reads, values, strict=True)
                }
    except (pymysql.MySQLError, OSError) as error:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else ""
        problem = f"source {contract.source_name}: {contract.table} cannot be read ({type(error).__name__} {number})"
        raise Transient(problem, fix="see that its database is up, and that the account may read the table") from None


def _connected(address: str) -> pymysql.Connection:
    at = address_of(address)
    tls = at.tls()
    return pymysql.connect(
        host="127.0.0.1" if at.host == "localhost" else at.host,
        port=at.port,
        unix_socket=at.socket or None,
        user=at.user,
        password=at.password,
        database=at.database,
        charset="utf8mb4",
        init_command=_SESSION,
        connect_timeout=CONNECT_WITHIN_SECONDS,
        read_timeout=ANSWER_WITHIN_SECONDS,
        write_timeout=ANSWER_WITHIN_SECONDS,
        program_name="mesh verify",
        ssl=tls,  # pyright: ignore[reportArgumentType] -- PyMySQL's own documentation says that it may be a context
        ssl_disabled=tls is None,
    )


def _quoted(name: str) -> str:
    return "`{}`".format(name.replace("`", "``"))


def _selected(field: Field) -> str:
    # A plain float is printed with six of its digits.
    return f"{_quoted(field.column)}+0e0" if field.branches[0] in ("float", "double") else _quoted(field.column)


def _reading(field: Field) -> Read:
    """What the driver gives of a column, as another source's driver would."""
    logical = field.logical_type or ""
    if logical == "timestamp-micros":
        return _moment
    if logical == "time-micros":
        return _time
    if field.branches[0] == "long":
        return _micros
    return _as_it_is


def _moment(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _time(value: Any) -> Any:
    if not isinstance(value, timedelta) or not timedelta() <= value < timedelta(days=1):
        return value
    return (datetime.min.replace(tzinfo=UTC) + value).time()


def _micros(value: Any) -> Any:
    return value // _A_MICROSECOND if isinstance(value, timedelta) else value


def _bits(width: int, field: Field) -> Read:
    def read(value: Any) -> Any:
        number = int.from_bytes(value, "big")
        return bool(number) if field.branches[0] == "boolean" else f"{number:0{width}b}"

    return read


def _as_it_is(value: Any) -> Any:
    return value
