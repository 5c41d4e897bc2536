"""A rows event: one statement's changes of one table, or a part of them."""

from __future__ import annotations

from collections.abc import Iterator

from producers.mysql.binlog.event import HEADER_BYTES, UPDATE, Damaged, inflated, packed_number
from producers.mysql.binlog.table_map import LogColumn, split_rows

Image = list[bytes | None]


class PartialImage(Exception):
    """Rows without some of their columns: the session logged less than all (binlog_row_image, MY-02)."""


def changes(
    event: bytes, columns: tuple[LogColumn, ...], kind: int, *, is_compressed: bool
) -> Iterator[tuple[Image, Image | None, bytes]]:
    """Each change's image, for an update the one before and the one after, and its bytes. Raises PartialImage and Damaged."""
    width, at = packed_number(event, HEADER_BYTES + 8)
    if width != len(columns):
        raise Damaged
    bitmap_bytes = (width + 7) // 8
    whole = (1 << width) - 1
    for _ in range(2 if kind == UPDATE else 1):
        if int.from_bytes(event[at : at + bitmap_bytes], "little") & whole != whole:
            raise PartialImage
        at += bitmap_bytes
    rows = inflated(event[at:]) if is_compressed else event
    at = 0 if is_compressed else at
    end = len(rows)
    while at < end:
        begin = at
        first, at = split_rows(columns, whole, rows, at)
        second = None
        if kind == UPDATE:
            second, at = split_rows(columns, whole, rows, at)
        yield first, second, rows[begin:at]
    if at != end:
        raise Damaged
