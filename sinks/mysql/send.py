# ruff: noqa: S608  -- our own tables' names; values are literals
"""Sending: what one fold of a topic's changes comes to in statements, in the order in which they may follow each other.

Removals that are remembered are read first, within the transaction, and what they are newer than is left out: the offsets that this
transaction moved keep everybody else from the same keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from schemas.errors import Rejected
from sinks.mysql.flavour import Flavour
from sinks.mysql.pipe import MysqlPipe, OpenTransaction, too_large
from sinks.mysql.table.cell import VERBATIM, hexadecimal, literal
from sinks.mysql.table.obstacle import obstacle_of
from sinks.mysql.table.table import REMOVED, Joined, MysqlTable, quote, remember_removal
from sinks.mysql.table.type import is_text
from sinks.row import WireColumn
from sinks.table.fold import RunFold
from sinks.table.reading import Taken
from sinks.table.target import TOKEN, TargetTable
from sinks.table.targets import Conditions

JOINED_MAX = 500
"""Rows of a join in one statement: each is a query to the server's parser."""
_HASHED = 32
_TRUNCATE = b""

Rows = Mapping[bytes, Taken]


class MysqlSending:
    """Sends folds through one pipe."""

    def __init__(self, pipe: MysqlPipe, conditions: Conditions) -> None:
        self._pipe = pipe
        self._conditions = conditions

    def send(self, target: TargetTable[MysqlTable], topic: str, fold: RunFold) -> None:
        """See Sender."""
        if not target.types:
            return  # tombstones of a table that was never made
        conditions = self._conditions
        sending = _FoldSending(
            target,
            topic,
            self._pipe.flavour,
            is_guarded=topic in conditions.has_removed,
            is_giving_way=topic in conditions.giving_way,
        )
        if fold.truncated or fold.removed:
            conditions.has_removed.add(topic)
        self._pipe.queue(topic, partial(sending.send, fold), partial(obstacle_of, self._pipe, target.table))


class _FoldSending:
    """One fold's. It works in the pipe's thread, while the next rows are read."""

    def __init__(
        self, target: TargetTable[MysqlTable], topic: str, flavour: Flavour, *, is_guarded: bool, is_giving_way: bool
    ) -> None:
        self._target = target
        self._table = target.table
        self._topic = topic
        self._flavour = flavour
        self._is_guarded = is_guarded
        self._is_giving_way = is_giving_way

    def send(self, fold: RunFold, session: OpenTransaction) -> None:
        """All of it."""
        table = self._table
        if fold.truncated:
            session.execute(table.truncate(literal(fold.truncated)))
            self._remember(session, {_TRUNCATE: fold.truncated})
        if fold.forgotten:
            self._join(session, table.delete(is_guarded=False), self._keys(dict.fromkeys(fold.forgotten, b"")))
        if fold.removed:
            self._join(session, table.delete(), self._keys(fold.removed))
            self._remember(session, fold.removed)
        whole, part = self._not_removed(session, fold.whole), self._not_removed(session, fold.partial)
        for takes_equal in (False, True):
            rows = {key: row for key, row in whole.items() if (row.op == b"r") is takes_equal}
            if rows:
                self._whole(session, rows, takes_equal=takes_equal)
        if part:
            self._partial(session, part)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _whole(self, session: OpenTransaction, rows: Rows, *, takes_equal: bool) -> None:
        table, columns = self._table, self._table.columns
        if self._is_giving_way:
            self._give_way(session, columns, rows, takes_equal=takes_equal)
        upsert = self._target.sql.get(takes_equal)
        if upsert is None:
            upsert = self._target.sql[takes_equal] = table.upsert(self._flavour, takes_equal=takes_equal)
        cells = self._cells(columns, rows)
        for some in self._divided(session, cells, len(rows)):
            session.execute(upsert.of(some))
        if anew := self._target.filling.intersection(column.name for column in columns):
            self._join(session, table.fill(columns, anew), self._cells(columns, rows))

    def _partial(self, session: OpenTransaction, rows: Rows) -> None:
        table = self._table
        groups: dict[tuple[str, ...], dict[bytes, Taken]] = {}
        for key, row in rows.items():
            groups.setdefault(tuple(sorted(row.unchanged)), {})[key] = row
        for absent, group in groups.items():
            numbers = [number for number, column in enumerate(table.columns) if column.wire not in absent]
            columns = [table.columns[number] for number in numbers]
            cut = {
                key: row._replace(cells=tuple(row.cells[number] for number in numbers))
                for key, row in group.items()
                if row.cells is not None
            }
            if self._is_giving_way:
                self._give_way(session, columns, cut, takes_equal=False)
            met = self._join(session, table.update(columns), self._cells(columns, cut))
            if anew := self._target.filling.intersection(column.name for column in columns):
                self._join(session, table.fill(columns, anew), self._cells(columns, cut))
            if met < len(cut):
                self._refuse_missing(session, columns, cut)

    def _refuse_missing(self, session: OpenTransaction, columns: Sequence[WireColumn], rows: Rows) -> None:
        """Some are newer as they stand: that is well. Raises Rejected where one is not there."""
        missing = self._table.missing(columns)
        for some in self._divided(session, self._cells(columns, rows), JOINED_MAX):
            if session.rows(missing.of(some)) != ((0,),):
                raise Rejected(
                    "partial_without_row",
                    f"{self._topic}: an update without all columns finds no row to complete",
                    fix="deliver the grant again: `mesh replay <grant>`",
                )

    def _give_way(self, session: OpenTransaction, sent: Sequence[WireColumn], rows: Rows, *, takes_equal: bool) -> None:
        nulled = self._target.giving_way
        is_whole = len(sent) == len(self._table.columns)
        if nulled is None or not (nulled or is_whole):
            return
        nulled = [name for name in nulled if name in {column.name for column in sent}]
        if nulled or is_whole:
            statement = self._table.give_way(sent, nulled, takes_equal=takes_equal)
            self._join(session, statement, self._cells(sent, rows))

    # -- removals ------------------------------------------------------------------------------------------------------

    def _not_removed(self, session: OpenTransaction, rows: Rows) -> Rows:
        """Those that no remembered removal is newer than."""
        if not rows or not self._is_guarded:
            return rows
        places = {_place(key): key for key in rows}
        listed = b",".join(map(hexadecimal, [_TRUNCATE, *places]))
        found = dict(
            session.rows(
                f"SELECT row_key, {TOKEN} FROM {REMOVED} WHERE topic = ".encode()
                + literal(self._topic.encode())
                + b" AND row_key IN (%s)" % listed
            )
        )
        if not found:
            return rows
        truncated = found.get(_TRUNCATE, b"")
        left: dict[bytes, Taken] = {}
        for place, key in places.items():
            row, newest = rows[key], max(truncated, found.get(place, b""))
            if newest < row.token or (newest == row.token and row.op == b"r"):
                left[key] = row
        return left

    def _remember(self, session: OpenTransaction, removals: Mapping[bytes, bytes]) -> None:
        topic, upsert = literal(self._topic.encode()), remember_removal(self._flavour)
        rows = [(topic, hexadecimal(_place(key)), literal(token)) for key, token in removals.items()]
        for some in self._divided(session, rows, len(rows)):
            session.execute(upsert.of(some))

    # -- statements ----------------------------------------------------------------------------------------------------

    def _join(self, session: OpenTransaction, statement: Joined, rows: Sequence[Sequence[bytes]]) -> int:
        return sum(session.execute(statement.of(some)) for some in self._divided(session, rows, JOINED_MAX))

    def _divided(
        self, session: OpenTransaction, rows: Sequence[Sequence[bytes]], count_max: int
    ) -> Iterator[Sequence[Sequence[bytes]]]:
        """So many together as one statement may have. Raises Rejected for a row that no packet holds."""
        some: list[Sequence[bytes]] = []
        size = 0
        for row in rows:
            more = sum(map(len, row)) + 24 * len(row)
            if some and (size + more > session.bytes_max or len(some) >= count_max):
                yield some
                some, size = [], 0
            if more > session.packet_bytes:
                raise too_large(self._topic, more)
            some.append(row)
            size += more
        if some:
            yield some

    def _keys(self, tokens: Mapping[bytes, bytes]) -> Sequence[Sequence[bytes]]:
        read = self._target.keys.read
        rows = {key: Taken(read(b"\0\0\0\0\0" + key), b"d", token, ()) for key, token in tokens.items()}
        return self._cells(self._table.key, rows)

    def _cells(self, columns: Sequence[WireColumn], rows: Rows) -> Sequence[Sequence[bytes]]:
        """Literals of the columns and the token. Raises Rejected for what a column's type cannot hold."""
        found = [(*cells, literal(token)) for cells, _, token, _ in rows.values() if cells is not None]
        for place, column in enumerate(columns):
            if column.is_lossless or column.type_name in {"float", "double"}:
                found = [self._held(cells, place, column) if cells[place][:1] == VERBATIM else cells for cells in found]
        return found

    def _held(self, cells: tuple[bytes, ...], place: int, column: WireColumn) -> tuple[bytes, ...]:
        kind = self._target.types.get(column.name, "")
        if not is_text(kind) and not kind.startswith("time("):
            name = quote(column.name)
            raise Rejected(
                "value_out_of_range",
                f"{self._topic}: column {column.name} is {kind}, which cannot hold what its source has there",
                fix=f"ALTER TABLE {self._table.path} MODIFY COLUMN {name} LONGTEXT, which holds it as its source prints it; "
                "then take up the dead letter again (`mesh dlq`)",
            )
        return (*cells[:place], cells[place][1:], *cells[place + 1 :])


def _place(key: bytes) -> bytes:
    """What stands for a row's key among the removals: the key, or what its length never is."""
    return key if len(key) < _HASHED else hashlib.sha256(key).digest()
