"""Fenced: a source's table as it was at one position of its log, so that the feed up to there can be compared with it.

`mesh verify <feed> --source` (ops/proof/source/) takes a fence and compares by ranges of hashed keys. Source and feed digest a row in
the same way, each by itself: a text that both can write of the key and of all columns, hashed under a salt that is the mesh's secret,
so that neither side shows a value. A range is told by the first bits of a key's hash: orders of text differ from database to
database, those of hashes do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from schemas.agreement.agency import SourceConfig
from schemas.agreement.directory import FeedEntry
from schemas.position import Position

RANGE_BITS = 12
RANGES = 1 << RANGE_BITS
KEY_BYTES, ROW_BYTES = 16, 8
WORD = 1 << 64


def key_digest(salt: bytes, text: bytes) -> bytes:
    """The hash by which a key is known on both sides."""
    return hashlib.sha256(salt + text).digest()[:KEY_BYTES]


def row_digest(salt: bytes, text: bytes) -> bytes:
    """The hash of a whole row, its key included."""
    return hashlib.sha256(salt + text).digest()[:ROW_BYTES]


def range_of(key: bytes) -> int:
    """Which range the hash of a key falls into."""
    return int.from_bytes(key[:2], "big") >> 16 - RANGE_BITS


class RangeSum(NamedTuple):
    """How many rows a range has, and the sums, modulo 2^64, of the first eight bytes of their keys' hashes and of their rows'."""

    rows: int
    keys: int
    values: int


class FencedRow(NamedTuple):
    """One row of the source: hashes of key and row, and where it stands in the database, which is no value of it.

    `row` is empty for one that capture cannot encode: its change is a dead letter.
    """

    key: bytes
    row: bytes
    place: str


class FeedChange(NamedTuple):
    """One record of the feed, as its envelope has it: `op` a letter, `token` the position, `text` the row's, None without one.

    `is_partial`: the source did not send every column.
    """

    op: bytes
    token: bytes
    text: bytes | None
    is_partial: bool


class FencedTable(Protocol):
    """A table at its fence. `sums` and `rows` are called by one thread at a time, `is_reached` by any. All raise Transient."""

    position: Position
    """The last position that the table's rows contain."""
    at: str
    """The same as the source's own people write it."""
    how: str
    """How rows are compared: `checksums` of the database's, `sums` made here of rows that are read whole, or `rows` one by one."""

    def is_reached(self, record: Mapping[str, Any] | None, /) -> bool:
        """Whether the feed has all up to the fence, by the source's progress. Raises MeshError where it never will."""
        ...

    def latest(self) -> Position:
        """A position that no change of the source has passed: what the feed has behind it is not the source's."""
        ...

    def key_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], bytes]:
        """From a key of this schema to its text. Raises Rejected for what is none."""
        ...

    def change_reader(self, schema: Mapping[str, Any], /) -> Callable[[bytes], FeedChange]:
        """From a value of this schema to what it says. Raises Rejected for what is none."""
        ...

    def sums(self) -> Mapping[int, RangeSum] | None:
        """What is computed of each range that has rows, at best by the source itself; None where rows are to be compared."""
        ...

    def rows(self, ranges: Collection[int], /) -> Iterator[FencedRow]:
        """The rows of these ranges, in no order."""
        ...

    def unfit(self, places: Iterable[str], /) -> set[str]:
        """Those of these rows that capture cannot encode: their changes are dead letters."""
        ...

    def close(self) -> None:
        """Let go of the source, also in the middle of a question. Never raises."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceSetting:
    """What a fence is taken of. `record` reads the source's progress, `waiting` is told what the fence waits for."""

    entry: FeedEntry
    source: SourceConfig
    address: str = field(repr=False)
    record: Callable[[], Mapping[str, Any] | None]
    salt: bytes = field(repr=False)
    deadline: float
    """By `time.monotonic`."""
    waiting: Callable[[str], None] = lambda _: None


Fencing = Callable[[FenceSetting], FencedTable]
"""Takes the fence. Raises Transient where it cannot be had in time, Misconfigured or ContractBroken where a person must decide."""
