"""Plain reading: how `mesh verify` reads a PostgreSQL, a department's and a subscriber's alike, apart from capture and delivery.

Plain types come as Python has them, all others as the database prints them, so that two databases' values can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import adapt
from psycopg.abc import AdaptContext
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from schemas.errors import Transient

TextOf = Callable[[psycopg.Connection[Any]], type[adapt.Loader] | None]
"""What reads the text of a database just connected to, where that is not UTF-8; it sets the connection up for it."""

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


@contextmanager
def plain_reading(
    address: str, whose: str, text_of: TextOf = lambda _connection: None
) -> Iterator[psycopg.Connection[Any]]:
    """A connection to compare from, for one transaction.

    Raises Transient when the database cannot be read; it does not quote a row.
    """
    try:
        with psycopg.connect(address, client_encoding="utf8", connect_timeout=10, prepare_threshold=None) as connection:
            text = text_of(connection)
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
                    connection.adapters.register_loader(known.oid, text or TextLoader)
            if text:
                connection.adapters.register_loader(0, text)
            yield connection
    except psycopg.Error as error:
        problem = f"its database cannot be read ({type(error).__name__})"
        raise Transient(f"{whose}: {problem}", fix="see that it is up, and that the role may read the table") from error


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
