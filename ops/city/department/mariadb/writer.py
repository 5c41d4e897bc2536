"""Writer: one department's connection for writing on MariaDB, a transaction at a time, each waited for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, MutableMapping, Sequence
from contextlib import suppress

import pymysql

from ops.city.department.change import RowChange
from ops.city.department.database import AGAIN_SECONDS, AWAY
from ops.city.department.mariadb.connection import connected
from ops.city.department.mariadb.statement import MariaDbStatements
from schemas.contract import Contract

_OURS = range(2000, 3000)
"""Numbers of the driver's own errors: the connection is lost."""
_ENDING = frozenset({0, 1040, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927})
"""Of the server's those that end a connection."""


class MariaDbWriter:
    """See Writer."""

    def __init__(
        self, agency: str, address: str, contracts: Iterable[Contract], hindered: MutableMapping[str, str]
    ) -> None:
        self._agency = agency
        self._address = address
        self._statements = MariaDbStatements(contracts)
        self._hindered = hindered
        self._connection: pymysql.Connection | None = None
        self._retry_at = 0.0
        self._counted: Counter[tuple[str, str]] = Counter()

    def send(self, transaction: Sequence[RowChange], /) -> None:
        """See Writer."""
        feed = ""
        rows: Counter[tuple[str, str]] = Counter()
        try:
            connection = self._opened()
            if connection is None:
                return
            with connection.cursor() as cursor:
                for change in transaction:
                    feed = change.feed
                    rows[feed, change.op] += cursor.execute(*self._statements.of(change))
            connection.commit()
        except (pymysql.MySQLError, OSError) as error:
            self._failed(error, feed)
        else:
            self._counted += rows
            for changed, _ in rows if self._hindered else ():
                self._hindered.pop(changed, None)

    def answers(self) -> Counter[tuple[str, str]]:
        """See Writer: nothing is on its way."""
        counted, self._counted = self._counted, Counter()
        return counted

    def close(self) -> None:
        """See Writer."""
        if self._connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                self._connection.close()
            self._connection = None

    def _opened(self) -> pymysql.Connection | None:
        if self._connection is None and time.monotonic() >= self._retry_at:
            self._connection = connected(self._address)
            self._hindered.pop(self._agency, None)
        return self._connection

    def _failed(self, error: Exception, feed: str) -> None:
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if isinstance(error, OSError) or self._connection is None or number in _OURS or number in _ENDING:
            self.close()
            self._retry_at = time.monotonic() + AGAIN_SECONDS
            self._hindered[self._agency] = AWAY
            return
        self._hindered[feed] = f"its database refuses what the city writes (error {number})"
        try:
            self._connection.rollback()
        except (pymysql.MySQLError, OSError) as lost:
            self._failed(OSError(str(lost)), feed)
