"""Table: one table of MariaDB at its fence, read whole and encoded as capture does.

The server makes no checksums: it writes some values otherwise than the feed's reader can (floats, text in other character sets).
So sums of the ranges are made here, of rows as they stream by, once: their hashes are kept in a file without a name, 25 bytes a row,
and the transaction ends with the reading, for as long as it lasts whoever alters the table has to wait (a savepoint does not let
go of it where there is a log). An encoding that capture itself gets wrong is not found here; that it is right is held by tests
beside what the server prints (MY-14).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from struct import Struct
from tempfile import TemporaryFile
from typing import Any

import pymysql
from pymysql.cursors import SSCursor

from producers.fenced.encoded import FRAME_BYTES, change_reader, key_reader
from producers.fenced.table import (
    KEY_BYTES,
    ROW_BYTES,
    WORD,
    FencedRow,
    FenceSetting,
    RangeSum,
    key_digest,
    range_of,
    row_digest,
)
from producers.mysql.link.catalog import mysql_tables
from producers.mysql.link.connection import asked, database_named, spelled_name, texts
from producers.mysql.link.fault import GONE_TABLE, mysql_translated, number_in
from producers.mysql.place import COPYING, LIVE, STOPPED, CopyPlace, LogPlace, place_in_log, place_text
from producers.mysql.value.row import RowCoder, Unpaired, paired, select_list
from schemas.contract import Contract
from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from schemas.position import Position

LAST = 0xFFFF_FFFF
"""An ordinal that no change of a transaction has."""
NO_KEY = bytes(KEY_BYTES)
_KEPT = Struct(f">{KEY_BYTES}s{ROW_BYTES}s?")
_ALTERED = frozenset({1412, GONE_TABLE})


class FencedMysqlTable:
    """See FencedTable. The snapshot is held by `connection` until its rows have been read."""

    how = "sums"

    def __init__(
        self, setting: FenceSetting, place: LogPlace, connection: pymysql.Connection[Any], at: int, gtids: str
    ) -> None:
        self._contract = contract = setting.entry.contract
        self._name = contract.source_name
        self._salt = setting.salt
        self._place = place
        self._copy = table_of(place, contract).copy
        self._connection = connection
        self._gtids = _numbers(gtids)
        self._kept = TemporaryFile()  # noqa: SIM115 -- closed by `close`
        self.position = Position(place.epoch, at, LAST)
        self.at = place_text(at)
        found = mysql_tables(connection, database_named(setting.address), [contract.table]).get(contract.table)
        if found is None:
            raise _changed(contract)
        try:
            pairs = paired(contract, found.columns)
        except Unpaired:
            raise _changed(contract) from None
        shape = table_of(place, contract).shape
        if not all(pair.column.name in shape and pair.column.holds_all_of(shape[pair.column.name]) for pair in pairs):
            raise _changed(contract)
        self._coder = RowCoder(contract, pairs, setting.entry.key_schema_id)
        self._query = f"SELECT {select_list(pairs)} FROM {spelled_name(found.name)}"  # noqa: S608 -- names are quoted

    def is_reached(self, record: Mapping[str, Any] | None, /) -> bool:
        """See FencedTable."""
        place = LogPlace.from_json(record)
        table = table_of(place, self._contract)
        if (place.epoch, table.copy) != (self._place.epoch, self._copy):
            raise Transient(f"{self._contract.feed} was copied anew meanwhile", fix="run it again")
        read = _numbers(place.gtids)
        return all(read.get(domain, 0) >= number for domain, number in self._gtids.items())

    def latest(self) -> Position:
        """See FencedTable."""
        with mysql_translated(self._name):
            [[file, position, *_]] = texts(self._connection, "SHOW MASTER STATUS")
        return Position(self._place.epoch, place_in_log(file, int(position)), LAST)

    def key_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], bytes]:
        """See FencedTable."""
        return key_reader(schema)

    def change_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], Any]:
        """See FencedTable."""
        return change_reader(self._contract, schema)

    def sums(self) -> Mapping[int, RangeSum] | None:
        """See FencedTable. A row that capture cannot encode makes its range differ, and is looked at there."""
        found: dict[int, list[int]] = {}
        for key, row in self._read():
            self._kept.write(_KEPT.pack(key, row, bool(row)))
            total = found.setdefault(range_of(key or NO_KEY), [0, 0, 0])
            total[0] += 1
            total[1] += int.from_bytes(key[:8], "big")
            total[2] += int.from_bytes(row or self._salt[:8], "big")
        return {number: RangeSum(rows, keys % WORD, values % WORD) for number, (rows, keys, values) in found.items()}

    def rows(self, ranges: Collection[int], /) -> Iterator[FencedRow]:
        """See FencedTable."""
        wanted = frozenset(ranges)
        self._kept.seek(0)
        while some := self._kept.read(_KEPT.size * 4096):
            for key, row, is_fit in _KEPT.iter_unpack(some):
                if range_of(key) in wanted:
                    yield FencedRow(b"" if key == NO_KEY else key, row if is_fit else b"", "")

    def unfit(self, places: Iterable[str], /) -> set[str]:
        """See FencedTable: rows come encoded or not at all, and are told as such."""
        del places
        return set()

    def close(self) -> None:
        """See FencedTable."""
        driver: Any = self._connection
        driver._force_close()
        self._kept.close()

    def _read(self) -> Iterator[tuple[bytes, bytes]]:
        """Hashes of key and row: of one that cannot be encoded, of the key alone, or of neither."""
        salt, coder = self._salt, self._coder
        with mysql_translated(self._name):
            try:
                with self._connection.cursor(SSCursor) as cursor:
                    cursor.execute(self._query)
                    for cells in cursor:
                        try:
                            key, row = coder.row(cells)
                        except Rejected:
                            yield self._key(cells), b""
                        else:
                            yield key_digest(salt, key[FRAME_BYTES:]), row_digest(salt, row)
            except pymysql.MySQLError as error:
                if number_in(error) in _ALTERED:
                    what = f"{self._contract.table} was altered, emptied or renamed meanwhile"
                    raise Transient(what, fix="run it again") from None
                raise
            asked(self._connection, "ROLLBACK")

    def _key(self, cells: Any) -> bytes:
        try:
            return key_digest(self._salt, self._coder.key(cells)[FRAME_BYTES:])
        except Rejected:
            return b""


def table_of(place: LogPlace, contract: Contract) -> CopyPlace:
    """The feed's place. Raises what keeps it from being compared."""
    feed = contract.feed
    table = place.tables.get(feed)
    if table is not None and table.state == STOPPED:
        raise ContractBroken(feed, f"is stopped: {table.reason}", fix=table.fix)
    if table is None or place.phase != "ready" or table.state == COPYING or not table.is_emptied:
        raise Transient(f"{feed} is being copied", fix="run it again once `mesh status` shows the copy is over")
    if table.state != LIVE:
        raise Misconfigured(feed, "is captured no more", fix="`mesh status` lists the feeds")
    return table


def _numbers(gtids: str) -> dict[str, int]:
    """The last number of each domain."""
    parts = [gtid.split("-") for gtid in gtids.split(",") if gtid]
    return {domain.strip(): int(number) for domain, _, number in parts}


def _changed(contract: Contract) -> ContractBroken:
    fix = f"`mesh status` says what became of it; `mesh follow {contract.feed}` shows what differs"
    return ContractBroken(contract.feed, f"{contract.table} is not what its contract names any more", fix=fix)
