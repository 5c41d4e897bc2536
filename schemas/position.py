"""Position: the ordered identity of one change in its source.

On the wire a position is the envelope's `source.sequence`: a JSON array of three zero-padded hexadecimal texts
`["<epoch>","<major>","<minor>"]`, of fixed width, so that comparing the bytes compares the positions. That is the shape
Debezium gives the field, and the token by which every sink decides what is newer (SK-01).

| source     | epoch                         | major                     | minor                            |
|------------|-------------------------------|---------------------------|----------------------------------|
| PostgreSQL | raised on every declared gap  | commit LSN                | ordinal in the transaction, from 1 |
| MariaDB    | the same                      | place in the log          | ordinal in the table's changes of the transaction |
| polled     | the same, and a lost disk     | number of the poll that changed something | ordinal of the change, by key, from 1 |
| files      | the same, and a lost disk     | number of the drop that changed something | ordinal of the change, by key, from 1 |

An update that carries the row as it was takes two ordinals, whether or not its key changes; one without a key change uses the second.
MariaDB's place in the log is the number of its file and the byte in it where the transaction's GTID event ends.
A snapshot row has the position of its snapshot with minor 0, hence below every streamed change committed after it; where a table of
MariaDB is copied for the n-th time anew, minor 2n.
Only the source that made a position does arithmetic on it; everyone else compares.

A change's *trace id* (W3C trace context, 32 hexadecimal digits) is its position written small and without its marks, behind four
digits of its feed's name: it begins at capture, costs no hash, and is the same whenever the change is sent again. The rows of one
snapshot, which have one position, are one trace.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import NamedTuple

TRACE_ID = "trace_id"
"""The header that has it on `out` topics."""
MARK, MARKS, SMALL = b'["', b'",', bytes(range(256)).lower()
"""How a position begins, what of it is not in a trace id, and how the rest is written there: for who cuts it out of an envelope."""
DIGITS_FROM, DIGITS_TO = 2, 36
"""Behind its beginning."""
NO_TRACE = (TRACE_ID, b"0" * 32)
_TRACE = re.compile("[0-9a-f]{32}")


class Position(NamedTuple):
    """Where a change stands in its source; ordered as a tuple and, written out, as text."""

    epoch: int
    major: int
    minor: int

    def __str__(self) -> str:
        return f'["{self.epoch:04X}","{self.major:016X}","{self.minor:08X}"]'

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read the wire form back. Raises ValueError on any other text."""
        epoch, major, minor = json.loads(text)
        return cls(int(epoch, 16), int(major, 16), int(minor, 16))


def trace_salt(feed: str) -> bytes:
    """What tells the traces of feeds apart that have equal positions: four hexadecimal digits."""
    return b"%04x" % (zlib.crc32(feed.encode()) & 0xFFFF)


def trace_in(envelope: bytes, source_at: int, salt: bytes) -> tuple[str, bytes]:
    """The header with the trace id of the change in an envelope, whose source block begins there; zeros where it has no position.

    Hot loops have it written out (streams/egress/route.py).
    """
    at = envelope.find(MARK, source_at)
    return (
        NO_TRACE if at < 0 else (TRACE_ID, salt + envelope[at + DIGITS_FROM : at + DIGITS_TO].translate(SMALL, MARKS))
    )


def is_trace(text: str) -> bool:
    """Whether a header's text is a trace id that may be told to others."""
    return text != "0" * 32 and _TRACE.fullmatch(text) is not None
