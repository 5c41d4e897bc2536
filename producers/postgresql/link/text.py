"""Connections to an SQL_ASCII database whose names and text are in an encoding that the source's option names.

The server passes bytes on, both ways; it refuses to when it is told of an encoding that only clients have, such as GB18030.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import postgres, sql
from psycopg.adapt import Dumper, Loader

_TEXTS = ("text", "name", "varchar", "bpchar", '"char"')


class TextConnection(psycopg.Connection[Any]):
    """Reads and writes text by its codec. Statements with names are given as `str` or `sql.Composable`."""

    codec = "utf-8"
    answers_within_seconds: float | None = None
    """How long any wait for the server may take; raises OperationalError then."""

    def wait(self, gen: Any, *how: Any, timeout: float | None = None, **named: Any) -> Any:
        """See psycopg."""
        return super().wait(gen, *how, timeout=timeout or self.answers_within_seconds, **named)

    def read_by(self, codec: str) -> None:
        """From now on text is read and written so."""

        class Read(Loader):
            def load(self, data: Any) -> str:
                return bytes(data).decode(codec, "backslashreplace")

        class Written(Dumper):
            oid = postgres.types["text"].oid

            def dump(self, obj: str) -> bytes:
                return obj.encode(codec)

        super().execute("SET client_encoding TO SQL_ASCII")
        self.codec = codec
        for name in _TEXTS:
            self.adapters.register_loader(name, Read)
        self.adapters.register_loader(0, Read)
        self.adapters.register_dumper(str, Written)

    def execute(self, query: Any, params: Any = None, **how: Any) -> psycopg.Cursor[Any]:
        """See psycopg."""
        if isinstance(query, sql.Composable):
            query = query.as_string()
        return super().execute(query.encode(self.codec) if isinstance(query, str) else query, params, **how)
