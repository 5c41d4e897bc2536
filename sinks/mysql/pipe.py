"""Pipe: the connection to one subscriber's database, and what its errors mean.

Acts are queued and done later: everything between two calls of `end` is one transaction, done by a thread of the pipe's own, and
while the server works on it the caller reads the next rows. Only one of the two uses the connection at a time.

No file is ever loaded through it (LOAD DATA LOCAL): by that statement's protocol the server names the file that it wants of us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import pymysql

from schemas.errors import ContractBroken, MeshError, Rejected, Transient
from sinks.mysql.connection import connected, number_of, refusal
from sinks.mysql.fault import DATA_CLIPPED, translate
from sinks.mysql.flavour import Flavour, flavour_of
from sinks.sink import TopicTrouble
from sinks.table.fault import FaultPlace

STATEMENT_BYTES_MAX = 4 << 20
_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION"
_SESSION = (
    f"SET SESSION sql_mode='{_MODE}', time_zone='+00:00', lock_wait_timeout=10, innodb_lock_wait_timeout=10, "
    "foreign_key_checks=1, unique_checks=1, max_error_count=1024, group_concat_max_len=1048576"
)
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
_TABLES_LOCK_SECONDS = 10


class Obstacle(NamedTuple):
    """What of a table stands in the way: its names, as FaultPlace has them, and the statement that takes it away.

    `drift`: the table is not what it has to be, and that comes before whatever a row has to do with it.
    """

    names: str = ""
    fix: str = ""
    drift: ContractBroken | None = None


Explain = Callable[[int, str], Obstacle]
"""What an error of the server means at its table, by number and text. Of the text only names that the table knows go on."""


def no_obstacle(_number: int, _text: str) -> Obstacle:
    """For our own tables."""
    return Obstacle()


class OpenTransaction:
    """The open transaction, as an act sees it. `bytes_max`: of one statement where more rows are to go; `packet_bytes`: of any."""

    def __init__(self, connection: pymysql.Connection, packet_bytes: int) -> None:
        self._cursor = connection.cursor()
        self.packet_bytes = packet_bytes - 1024
        self.bytes_max = min(STATEMENT_BYTES_MAX, self.packet_bytes)

    def execute(self, sql: bytes) -> int:
        """Run a statement; how many rows it met, whether it changed them or not. Raises Rejected where a value was clipped."""
        met = self._cursor.execute(sql)  # pyright: ignore[reportArgumentType] -- it takes bytes as they are
        if self._cursor.warning_count and any(number == DATA_CLIPPED for _, number, _ in self._rows("SHOW WARNINGS")):
            raise pymysql.DataError(DATA_CLIPPED, "")
        return met

    def rows(self, sql: bytes) -> Sequence[tuple[Any, ...]]:
        """What a query finds."""
        return self._rows(sql)

    def _rows(self, sql: str | bytes) -> Sequence[tuple[Any, ...]]:
        self._cursor.execute(sql)  # pyright: ignore[reportArgumentType] -- the same
        return self._cursor.fetchall()


Act = Callable[[OpenTransaction], None]


@dataclass(frozen=True, slots=True)
class _Queued:
    topic: str
    act: Act
    explain: Explain


class MysqlPipe:
    """One connection, opened when first needed and again after it was lost."""

    def __init__(self, address: str, subscriber: str) -> None:
        self._address = address
        self._subscriber = subscriber
        self._connection: pymysql.Connection | None = None
        self._flavour: Flavour | None = None
        self._packet_bytes = 0
        self._queued: list[_Queued] = []
        self._worker: ThreadPoolExecutor | None = None
        self._under_way: Future[None] | None = None

    @property
    def known_flavour(self) -> Flavour | None:
        """The same, without asking: None before the first connection."""
        return self._flavour

    @property
    def flavour(self) -> Flavour:
        """Which server it is; connects to find out. Raises Transient and Misconfigured."""
        self.collect()
        self._open()
        assert self._flavour is not None
        return self._flavour

    # -- one by one ----------------------------------------------------------------------------------------------------

    def rows(self, sql: str, params: Sequence[Any] = (), topic: str = "") -> list[tuple[Any, ...]]:
        """Run one statement by itself and return its rows."""
        self.collect()
        with self._errors(topic), self._open().cursor() as cursor:
            cursor.execute(sql, params or None)
            return list(cursor.fetchall()) if cursor.description else []

    def transaction(self, act: Callable[[OpenTransaction], Any], topic: str = "") -> Any:
        """Do an act in one transaction of its own, now; what it gives."""
        self.collect()
        with self._errors(topic):
            connection = self._open()
            connection.begin()
            done = act(OpenTransaction(connection, self._packet_bytes))
            connection.commit()
            return done

    def change_tables(self, statements: Sequence[str], topic: str = "") -> None:
        """Run statements that make or alter tables, of one topic. Each commits by itself; only one process does so at a time."""
        self.collect()
        with self._errors(topic), self._open().cursor() as cursor:
            cursor.execute(
                "SELECT GET_LOCK(SHA2(CONCAT('_mesh_tables ', DATABASE()), 224), %s)", (_TABLES_LOCK_SECONDS,)
            )
            if cursor.fetchone() != (1,):
                raise Transient(f"{self._subscriber}'s database: another process is altering its tables")
            try:
                for statement in statements:
                    cursor.execute(statement)
            finally:
                with suppress(pymysql.MySQLError):
                    cursor.execute("DO RELEASE_LOCK(SHA2(CONCAT('_mesh_tables ', DATABASE()), 224))")

    # -- together ------------------------------------------------------------------------------------------------------

    def queue(self, topic: str, act: Act, explain: Explain = no_obstacle) -> None:
        """Queue an act about a topic, empty for our own tables."""
        self._queued.append(_Queued(topic, act, explain))

    def end(self) -> None:
        """End the transaction: its acts are done, and it commits, while the caller goes on."""
        queued, self._queued = self._queued, []
        self.collect()
        self._open()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"pipe {self._subscriber}")
        self._under_way = self._worker.submit(self._commit, queued)

    def collect(self) -> None:
        """Wait until everything that was ended is committed; raise for the first statement that failed."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def abandon(self) -> None:
        """Close the connection once the transaction that was ended has been decided; what was not ended is rolled back."""
        with suppress(MeshError):
            self.collect()
        self.close()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        self._queued.clear()
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.exception()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown()
        self._disconnect()

    # -- the connection ------------------------------------------------------------------------------------------------

    def _commit(self, queued: Sequence[_Queued]) -> None:
        """In the worker's thread."""
        connection = self._open()
        with self._errors():
            connection.begin()
        for each in queued:
            with self._errors(each.topic, each.explain):
                each.act(OpenTransaction(connection, self._packet_bytes))
        with self._errors():
            connection.commit()

    @contextmanager
    def _errors(self, topic: str = "", explain: Explain = no_obstacle) -> Iterator[None]:
        """Whatever goes wrong rolls back, and becomes an error of ours."""
        try:
            yield
        except pymysql.MySQLError as error:
            number = number_of(error)
            self._roll_back()
            obstacle = self._explained(explain, number, error) if topic else Obstacle()
            if obstacle.drift is not None:
                raise TopicTrouble(topic, obstacle.drift) from None
            raise translate(
                number, FaultPlace(topic=topic, names=obstacle.names), self._subscriber, obstacle.fix
            ) from None
        except BaseException:
            self._roll_back()
            raise

    def _explained(self, explain: Explain, number: int, error: pymysql.MySQLError) -> Obstacle:
        try:
            return explain(number, str(error.args[1]) if len(error.args) > 1 else "")
        except (MeshError, pymysql.MySQLError):
            return Obstacle()

    def look(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        """A query after a transaction failed, from within `Explain`."""
        if self._connection is None:
            return []
        with self._connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())

    def _roll_back(self) -> None:
        try:
            if self._connection is not None:
                self._connection.rollback()
        except (pymysql.MySQLError, OSError):
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _open(self) -> pymysql.Connection:
        if self._connection is not None and self._connection.open:
            return self._connection
        try:
            self._connection = connected(self._address, f"pearlmesh {self._subscriber}")
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT VERSION(), @@max_allowed_packet")
                found = cursor.fetchone()
                assert found is not None
                version, self._packet_bytes = found
                self._flavour = flavour_of(version, self._subscriber)
                cursor.execute(_ISOLATION)
                cursor.execute(_SESSION)
                cursor.execute(f"SET NAMES utf8mb4 COLLATE {self._flavour.collation}")
        except pymysql.MySQLError as error:
            self._disconnect()
            raise refusal(error, self._subscriber) from None
        except MeshError:
            self._disconnect()
            raise
        return self._connection


def too_large(topic: str, size: int) -> Rejected:
    """The error for a row that does not fit into one packet of its server's."""
    return Rejected(
        "row_too_large",
        f"{topic}: a row of {size:,} bytes does not fit into a statement of its database",
        fix=f"SET GLOBAL max_allowed_packet = {2 * size + (1 << 20)}, there and in its configuration",
    )
