"""Copy of a subscriber's table in a MariaDB or MySQL, read with the driver's own types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from schemas.agreement.grant import Grant
from schemas.contract import Contract, Field
from schemas.errors import Transient
from schemas.wire.name import column_name
from sinks.copy import Held, granted

_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlCopy:
    """A table in the subscriber's database, to which `connect` connects."""

    connect: Callable[[], pymysql.Connection]
    table: str | None = None

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy."""
        fields = granted(grant, contract)
        names, reads = [field.name for field in fields], [_reading(field) for field in fields]
        table = self._named(grant)
        with _reading_from(self.connect, grant) as connection:
            there = _columns(connection, table)
            if not there:
                return  # nothing ever came: the table is made with the first row
            # A column comes with its first value; until then the copy has none.
            called = [plain if (plain := column_name(name)) in there else name for name in names]
            listed = ", ".join(_quoted(name) if name in there else "NULL" for name in called)
            with connection.cursor(SSCursor) as cursor:
                cursor.execute(f"SELECT {listed} FROM {_quoted(table)}")  # noqa: S608 -- identifiers are quoted
                for values in cursor:
                    yield Held({name: read(value) for name, read, value in zip(names, reads, values, strict=True)})

    def values_left(self, grant: Grant, contract: Contract, /) -> int:
        """See Copy."""
        table = self._named(grant)
        with _reading_from(self.connect, grant) as connection:
            beyond = sorted(
                (_columns(connection, table) & _called(contract.fields)) - _called(granted(grant, contract))
            )
            if not beyond:
                return 0
            counts = " + ".join(f"COUNT({_quoted(name)})" for name in beyond)
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {counts} FROM {_quoted(table)}")  # noqa: S608 -- identifiers are quoted
                found = cursor.fetchone()
            return int(found[0]) if found else 0

    def _named(self, grant: Grant) -> str:
        return self.table or grant.delivered_as.replace(".", "_")


@contextmanager
def _reading_from(connect: Callable[[], pymysql.Connection], grant: Grant) -> Iterator[pymysql.Connection]:
    try:
        with closing(connect()) as connection:
            with connection.cursor() as cursor:
                cursor.execute("SET NAMES utf8mb4")
                cursor.execute("START TRANSACTION READ ONLY")
            yield connection
    except pymysql.MySQLError as error:
        problem = f"its database cannot be read ({type(error).__name__} {error.args[0] if error.args else ''})"
        fix = "see that it is up, and that the account may read the table"
        raise Transient(f"subscriber {grant.subscriber}: {problem}", fix=fix) from None


def _columns(connection: pymysql.Connection, table: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(_COLUMNS, (table,))
        return {name for (name,) in cursor.fetchall()}


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _reading(field: Field) -> Callable[[Any], Any]:
    """What the driver gives of a column, as a source's driver would."""
    logical = field.logical_type or ""
    if logical.startswith("timestamp"):
        return _moment
    if logical.startswith("time-"):
        return _time
    return _as_it_is


def _moment(value: Any) -> Any:
    """In UTC; where the department made the column text, by its text."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _time(value: Any) -> Any:
    if not isinstance(value, timedelta):
        return value
    if value >= timedelta(days=1) or value < timedelta():
        return "24:00:00" if value == timedelta(days=1) else str(value)
    return (datetime.min.replace(tzinfo=UTC) + value).time()


def _as_it_is(value: Any) -> Any:
    return value


def _called(fields: Iterable[Field]) -> set[str]:
    """Their names at a subscriber's, and on the wire, which tables of before have."""
    return {name for field in fields for name in (field.name, column_name(field.name))}
