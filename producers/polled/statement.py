"""One poll as a statement: the rows since the cursor, or the whole table by one question.

The question is of one moment (PT-02, PT-05, PT-10).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from producers.polled.link import PollLink
from producers.polled.options import PolledOptions
from producers.polled.table import PAGE_ROWS, Cursor, PolledTable
from producers.stated.records import StatedRows
from producers.stated.staging import Staging
from schemas.contract import Contract
from schemas.errors import ContractBroken, Rejected

PAUSE_ROWS = 2_000
_Row = tuple[Mapping[str, Any], Any]
"""A row's values, and its updated column."""


class PollStatement:
    """See `producers.stated.teller.TableStatement`. `cursor` is how far the table was read; None reads all of it."""

    def __init__(
        self,
        link: PollLink,
        contract: Contract,
        options: PolledOptions,
        cursor: Cursor | None,
        *,
        number: int,
        token: str,
        whole_ms: int,
    ) -> None:
        self._link, self._contract, self._options = link, contract, options
        self._from = cursor
        self._number, self._token = number, token
        self.is_whole = cursor is None
        self._newest: Any = cursor.value if cursor else None
        self._at_ms = int(time.time() * 1000)
        self._whole_ms = self._at_ms if self.is_whole else whole_ms
        self.is_ahead = False
        """Whether rows are newer than the database's own clock."""

    @property
    def subject(self) -> str:
        """See TableStatement."""
        return f"{self._contract.feed}, poll {self._number} of {self._contract.table}"

    def about(self) -> Mapping[str, Any]:
        """See TableStatement."""
        return {
            "name": f"poll {self._number}",
            "token": self._token,
            "at_ms": self._at_ms,
            "whole_ms": self._whole_ms,
            "cursor": Cursor(value=self._newest).to_json(),
        }

    def rows(self, rows: StatedRows, staging: Staging) -> Iterator[None]:
        """See TableStatement."""
        with self._link.reading(self._contract.feed) as connection:
            table = PolledTable(connection, self._contract, self._options.updated_column)
            now = self._clock(connection)
            if self._options.updated_column:
                require_cursor(table, self._contract, self._options)
            found = self._whole(connection, table) if self._from is None else self._pages(connection, table)
            for count, (values, updated) in enumerate(self._legible(found), 1):
                if count % PAUSE_ROWS == 0:
                    yield
                self._note(updated, now)
                try:
                    staging.add(*rows.encoded(values), count)
                except Rejected as error:
                    raw = json.dumps(values, ensure_ascii=False, default=str).encode()
                    staging.reject(error, count, raw, unit="row")

    def _legible(self, found: Iterator[_Row]) -> Iterator[_Row]:
        """SQLAlchemy stops at a value that its column's type does not have."""
        try:
            yield from found
        except ValueError:
            breach = f"a value of column {self._options.updated_column}, or of another, is none of its type"
            fix = 'let the department correct it; or write `updated_column: ""` among the source\'s options'
            raise ContractBroken(self._contract.feed, breach, fix=fix) from None

    def _whole(self, connection: Connection, table: PolledTable) -> Iterator[_Row]:
        width = len(table.names)
        result = connection.execution_options(yield_per=PAUSE_ROWS).execute(table.whole())
        for row in result:
            yield dict(zip(table.names, row, strict=False)), _moment(row[width]) if len(row) > width else None

    def _pages(self, connection: Connection, table: PolledTable) -> Iterator[_Row]:
        assert self._from is not None, "a poll since a cursor"
        width, after = len(table.names), None
        begin = self._from.begin(self._options)
        while True:
            page: Sequence[Any] = connection.execute(table.page(begin, after)).all()
            for row in page:
                yield dict(zip(table.names, row, strict=False)), _moment(row[width])
            if len(page) < PAGE_ROWS:
                return
            former, after = after, tuple(page[-1][width:])
            if after == former:  # its type holds more digits than its driver gives
                breach = f"{self._contract.table} does not move on behind a value of {self._options.updated_column}"
                fix = "name another `updated_column`, or write an empty one: the table is read whole each time"
                raise ContractBroken(self._contract.feed, breach, fix=fix)

    def _note(self, updated: Any, now: Any) -> None:
        """The cursor goes with the newest row, and never ahead of the database's clock (PT-03)."""
        if updated is None:
            return
        if isinstance(updated, datetime) and isinstance(now, datetime):
            if (updated.tzinfo is None) != (now.tzinfo is None):
                now = now.replace(tzinfo=updated.tzinfo)
            if updated > now:
                self.is_ahead = True
                updated = now
        if self._newest is None or updated > self._newest:
            self._newest = updated

    def _clock(self, connection: Connection) -> Any:
        return connection.execute(select(func.current_timestamp())).scalar_one()


def require_cursor(table: PolledTable, contract: Contract, options: PolledOptions) -> None:
    """The updated column is there, and has an order. Raises ContractBroken."""
    column, whole = options.updated_column, "write an empty one: the table is read whole each time"
    if table.updated is None:
        breach = f"{contract.table} has no column {column} that says when a row was written"
        fix = f"name one as `updated_column` among the source's options, or {whole}"
        raise ContractBroken(contract.feed, breach, fix=fix)
    if not table.is_ordered():
        breach = f"column {column} of {contract.table} is of a type that has no order of time"
        fix = f"name a column that is a time or a number as `updated_column`, or {whole}"
        raise ContractBroken(contract.feed, breach, fix=fix)


def _moment(updated: Any) -> Any:
    """SQLite's times are texts. Raises ValueError for one that is none."""
    return datetime.fromisoformat(updated) if isinstance(updated, str) else updated
