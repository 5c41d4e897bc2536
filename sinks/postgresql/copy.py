"""Copy of a subscriber's table, read with the driver's own types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import adapt, sql
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from schemas.agreement.grant import Grant
from schemas.contract import Contract, Field
from schemas.errors import Transient
from schemas.wire.name import column_name
from sinks.copy import Held, granted

_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"
_AS_VALUES = {"bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bytea", "uuid"}
_IN_PYTHON: Mapping[str, type[adapt.Loader]] = {
    "date": DateLoader,
    "time": TimeLoader,
    "timestamp": TimestampLoader,
    "timestamptz": TimestamptzLoader,
}
"""What Python has no value for, such as infinity and years before 1, stays the text that the database prints."""
_SETTINGS = {
    # What the role has is not for us: a large table is read for as long as that takes.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "lc_monetary": "C",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredCopy:
    """A table in the subscriber's PostgreSQL."""

    dsn: str
    schema: str = "public"
    table: str | None = None

    def held(self, grant: Grant, contract: Contract, /) -> Iterator[Held]:
        """See Copy."""
        names = [field.name for field in granted(grant, contract)]
        table = self._named(grant)
        with _reading(self.dsn, grant) as connection:
            there = connection.execute(_COLUMNS, (table.as_string(connection),)).fetchall()
            if not there:
                return  # nothing ever came: the table is made with the first row
            present = {name for (name,) in there}
            # A column comes with its first value; until then the copy has none. A table of before may have the names of the wire.
            called = [plain if (plain := column_name(name)) in present else name for name in names]
            columns = sql.SQL(", ").join(sql.Identifier(name) if name in present else sql.NULL for name in called)
            for values in connection.execute(sql.SQL("SELECT {} FROM {}").format(columns, table)):
                yield Held(dict(zip(names, values, strict=True)))

    def values_left(self, grant: Grant, contract: Contract, /) -> int:
        """See Copy."""
        allowed = _called(granted(grant, contract))
        table = self._named(grant)
        with _reading(self.dsn, grant) as connection:
            there = {name for (name,) in connection.execute(_COLUMNS, (table.as_string(connection),))}
            beyond = sorted((there & _called(contract.fields)) - allowed)
            if not beyond:
                return 0
            counts = sql.SQL(" + ").join(sql.SQL("count({})").format(sql.Identifier(name)) for name in beyond)
            found = connection.execute(sql.SQL("SELECT {} FROM {}").format(counts, table)).fetchone()
            return found[0] if found else 0

    def _named(self, grant: Grant) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table or grant.delivered_as.replace(".", "_"))


def _called(fields: Iterable[Field]) -> set[str]:
    """Their names at a subscriber's, and on the wire, which tables of before have."""
    return {name for field in fields for name in (field.name, column_name(field.name))}


@contextmanager
def _reading(dsn: str, grant: Grant) -> Iterator[psycopg.Connection[Any]]:
    """A connection to compare from: plain types as Python has them, all others as the database prints them.

    Raises Transient when the database cannot be read; it does not quote a row.
    """
    try:
        with psycopg.connect(dsn, client_encoding="utf8", connect_timeout=10, prepare_threshold=None) as connection:
            # For this transaction, which is all that is read in: a pooler before the database takes no startup options.
            settings = _SETTINGS
            if connection.info.server_version >= 170_000:
                settings = {**settings, "transaction_timeout": "0"}
            for name, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            for known in connection.adapters.types:
                if known.name in _IN_PYTHON:
                    connection.adapters.register_loader(known.oid, _or_text(_IN_PYTHON[known.name]))
                elif known.name not in _AS_VALUES:
                    connection.adapters.register_loader(known.oid, TextLoader)
            yield connection
    except psycopg.Error as error:
        raise Transient(
            f"subscriber {grant.subscriber}: its database cannot be read ({type(error).__name__})",
            fix="see that it is up, and that the role may read the table",
        ) from error


def _or_text(kind: type[adapt.Loader]) -> type[adapt.Loader]:
    class OrText(TextLoader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._loader = kind(oid, context)

        def load(self, data: Any) -> Any:
            try:
                return self._loader.load(data)
            except psycopg.DataError:
                return bytes(data).decode()  # as a string whatever the connection's encoding

    return OrText
