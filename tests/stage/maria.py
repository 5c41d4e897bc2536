"""The run's MariaDB, and what tests ask of its databases."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pymysql


class MariaServer:
    """One server, entered as the account that may do everything."""

    def __init__(self, address: str) -> None:
        self.address = address

    def create_database(self, prefix: str) -> str:
        """A new, empty database whose name starts with `prefix`; its address."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        address = f"{self.address}{name}"
        with connected(self.address) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return address


@contextmanager
def connected(address: str) -> Iterator[pymysql.Connection]:
    """A connection that commits each statement."""
    parts = urlsplit(address)
    with closing(
        pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username,
            password=parts.password or "",
            database=parts.path[1:] or None,
            charset="utf8mb4",
            autocommit=True,
            init_command="SET time_zone='+00:00'",
        )
    ) as connection:
        yield connection


def run(address: str, *statements: str) -> None:
    """Run statements, each as it stands."""
    with connected(address) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def rows(
    address: str, sql: str = "SELECT id, name, CAST(amount AS CHAR) FROM police_person ORDER BY id"
) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with connected(address) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def rows_or_none(address: str, sql: str) -> list[tuple[Any, ...]]:
    """The same; nothing where the table is not there, or the server is away."""
    try:
        return rows(address, sql)
    except pymysql.MySQLError:
        return []


def repaired(address: str, error: BaseException | str, given: Callable[[str], str] = str) -> list[str]:
    """Run the statements of an error's `fix`, to the letter; which those were."""
    fix = given(error if isinstance(error, str) else getattr(error, "fix", ""))
    statements = [statement for statement in fix.split("; ") if statement]
    run(address, *statements)
    return statements
