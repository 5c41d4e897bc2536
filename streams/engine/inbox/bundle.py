"""Bundle: many messages to the subjects of one task as one record of the inbox.

A change is a message to each flow and subject that it is evidence for, and a record costs the broker and its clients many times
what a message in it costs. A bundle has no key; its value is a MessagePack array of keys and values in turn. What goes to every
task (a tick, a truncate, a watermark) is a record of its own under its key, since folding may stop in the middle of one and go on
there. A record with a key and a subject is one message, as earlier versions wrote them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from struct import unpack_from

from schemas.change import Record
from streams.engine.derived import Written
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import pack, unpack

BUNDLE_BYTES = 128 << 10
"""About how large a bundle becomes: far below what a broker takes, and enough that records no longer count."""

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_32 = 0xFFFFFFFF


def bundled(
    messages: Iterable[Outgoing],
    inbox: str,
    partitions: int,
    *,
    roots: int = 0,
    onward: Iterable[tuple[int, Outgoing]] = (),
) -> Iterator[Written]:
    """Messages as records of the inbox, in the order given: to their subjects' partitions, or to all where they name none.

    To all is to the first `roots`, or to all `partitions` where that is 0. Before them goes `onward`, to the partition that is named
    with each.
    """
    bundles = _Bundles(inbox)
    for partition, message in onward:
        yield from bundles.put(message, partition)
    for message in messages:
        if message.key.endswith(b"\0"):
            for partition in range(roots or partitions):
                yield from bundles.put(message, partition)
        else:
            yield from bundles.put(message, partition_of(message.key, partitions))
    yield from bundles.close()


class _Bundles:
    """What waits for a record to be full, by partition."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._waiting: defaultdict[int, list[bytes]] = defaultdict(list)
        self._sizes: defaultdict[int, int] = defaultdict(int)

    def put(self, message: Outgoing, partition: int) -> Sequence[Written]:
        """Take a message; the records that are to be written now."""
        key, value = message.key, message.value
        if key.endswith(b"\0"):  # a record of its own, behind everything that came before it
            return (*self._closed(partition), (self._inbox, key, value, partition, None))
        size = len(key) + len(value)
        is_full = (
            self._sizes[partition] + size > BUNDLE_BYTES
        )  # a large message does not make a bundle that nobody takes
        full = self._closed(partition) if is_full else ()
        self._waiting[partition] += (key, value)
        self._sizes[partition] += size
        return full

    def close(self) -> Iterator[Written]:
        """What still waits."""
        for partition in list(self._waiting):
            yield from self._closed(partition)

    def _closed(self, partition: int) -> Sequence[Written]:
        waiting = self._waiting.pop(partition, None)
        self._sizes.pop(partition, None)
        return ((self._inbox, None, pack(waiting), partition, None),) if waiting else ()


def unbundled(record: Record) -> Sequence[tuple[int, bytes, bytes]]:
    """The messages in a record of the inbox: (offset of the record, key, value) each."""
    if record.key:
        return ((record.offset, record.key, record.value or b""),)
    messages: list[bytes] = unpack(record.value or b"\x90")
    return [(record.offset, key, value) for key, value in zip(messages[::2], messages[1::2], strict=True)]


@lru_cache(maxsize=1 << 15)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own clients choose for a key: murmur2, as in schemas/log/writer.py (KF-02)."""
    size = len(key)
    mixed = _SEED ^ size
    words = size >> 2
    for word in unpack_from(f"<{words}I", key):
        part = word * _MIX & _32
        part = (part ^ part >> 24) * _MIX & _32
        mixed = mixed * _MIX & _32 ^ part
    if rest := key[words << 2 :]:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * _MIX & _32
    mixed = (mixed ^ mixed >> 13) * _MIX & _32
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions
