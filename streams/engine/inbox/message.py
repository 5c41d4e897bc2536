"""Message: what travels on the inbox of the flows, and under which key.

The inbox is one topic for all flows; its partitions are the tasks. A message's key is flow and subject, so that
everything of a subject meets in one partition, in order. Values are MessagePack arrays: internal, short-lived, never granted.

| kind  | value                                                                            | from            |
|-------|-----------------------------------------------------------------------------------|-----------------|
| FACT  | [0, feed, row id, position, event time, commit ms, row or nil, keeps history, …]   | intake, a tell, a decision |
| COUNT | [1, measure, difference, committed ms]                                             | a fold          |
| TICK  | [2, event clock, commit ms]                                                        | intake          |
| GONE  | [3, feed, position]: every row of the feed up to that position is gone             | intake          |
| WATERMARKS  | [4, {place: event clock or nil}]: how far time may go while a partition is unread  | intake          |
| DIVIDE | [5, tasks]: its subjects are divided by so many from here on                      | `mesh tasks` |
| ROUTE | [6, tasks]: so many have them, and messages may be sent by that number             | `mesh tasks` |
| MOVED | [7, tasks, epoch, key, value, …]: state entries from the task that had them         | a task          |

TICK, GONE and WATERMARKS go to every task, under the flow's name alone. The commit of FACT and COUNT is the source's own; where
the flow's clock has another (see Fact), a FACT says that too, at its end. That of a TICK is the one that moved the clock. DIVIDE and
ROUTE go to every task too, whatever flow they name (streams/engine/division/division.py).
"""

from __future__ import annotations

from typing import Any

import msgspec

FACT, COUNT, TICK, GONE, WATERMARKS, DIVIDE, ROUTE, MOVED = range(8)
OF_DIVISION = frozenset({DIVIDE, ROUTE, MOVED})

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()

pack = _encoder.encode


def unpack(data: bytes) -> Any:
    """The value in a message or a state entry."""
    return _decoder.decode(data)


def message_key(flow: str, subject: str) -> bytes:
    """The key of a message to a subject."""
    return f"{flow}\0{subject}".encode()


def split_key(key: bytes) -> tuple[str, str]:
    """Flow and subject of a message's key; the subject is empty for what goes to all."""
    flow, _, subject = key.decode().partition("\0")
    return flow, subject
