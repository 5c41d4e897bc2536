"""The link to a polled database: SQLAlchemy's engine, and its errors in our words.

A connection is SQLAlchemy's URL: `sqlite:////srv/a.db`, `oracle+oracledb://…`, `mssql+pyodbc://…`, `dm+dmPython://…` (README). The
driver of the database is to be installed beside the mesh. Nothing of ours stands in the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from schemas.errors import ContractBroken, Misconfigured, Transient

_FORM = "write SQLAlchemy's form, such as oracle+oracledb://user:password@host:1521/?service_name=name; see the README"


class PollLink:
    """An engine without a pool: a poll has a connection of its own, on one server, and gives it back (PT-08, PT-09)."""

    def __init__(self, address: str, name: str) -> None:
        self._name = name
        try:
            url = make_url(address)
            self.dialect = url.get_backend_name()
            self.engine: Engine = create_engine(url, poolclass=NullPool)
        except NoSuchModuleError:
            fix = "install the package of SQLAlchemy's that knows it, beside the mesh"
            raise Misconfigured(f"source {name}", "nothing here speaks to its kind of database", fix=fix) from None
        except ModuleNotFoundError as error:
            fix = f"install the driver beside the mesh: the package that provides {error.name}"
            raise Misconfigured(f"source {name}", f"its driver {error.name} is not installed", fix=fix) from None
        except (ArgumentError, ValueError, TypeError):
            raise Misconfigured(f"source {name}", "its connection cannot be read", fix=_FORM) from None

    @contextmanager
    def reading(self, feed: str) -> Iterator[Connection]:
        """A connection to read with: what it reads is rolled back. The driver's words are never told: they quote values.

        Raises ContractBroken for the feed where the database refuses a question about its table, Transient for all else.
        """
        try:
            with self.engine.connect() as connection:
                try:
                    yield connection
                finally:
                    with suppress(SQLAlchemyError):
                        connection.rollback()
        except ProgrammingError as error:
            fix = (
                "let the account SELECT from the table, and the table have the contract's columns; it goes on by itself"
            )
            raise ContractBroken(feed, f"the database refuses to read its table: {_named(error)}", fix=fix) from None
        except DBAPIError as error:
            problem = f"source {self._name}: the database answers {_named(error)}"
            raise Transient(problem, fix=self._fix()) from None
        except SQLAlchemyError as error:
            raise Transient(f"source {self._name}: {type(error).__name__}", fix=self._fix()) from None

    def _fix(self) -> str:
        return "let the database be reached from here, and its account read the tables; it goes on by itself"

    def close(self) -> None:
        """Release it. Never raises."""
        with suppress(SQLAlchemyError):
            self.engine.dispose()


def _named(error: DBAPIError) -> str:
    """The error's class and code, which is all that is safe to show of it."""
    code = next((str(part) for part in getattr(error.orig, "args", ()) if isinstance(part, int)), "")
    code = str(getattr(error.orig, "sqlstate", None) or code)
    return f"{type(error.orig).__name__}{f' {code}' if code else ''}"
