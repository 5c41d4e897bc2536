"""Scope: which rows a grant's subscriber holds, for sources that do not say what a row was (REPLICA IDENTITY DEFAULT).

Whether a row that is outside the filter now was inside before can then be told only from what was delivered. The grant's own
`out` topic says that: a key is held when its last record there is none of a removal. So nothing further is kept anywhere, and
nothing is read as long as rows come whole: the first change of a partition that needs to know has its `out` partition read, and
from then on what is written there is noted as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from schemas.change import Batch

ReadOut = Callable[[str, int], Iterable[Batch]]
"""Everything that stands in a partition of an `out` topic at this moment. Raises Transient."""

_TRUNCATE_KEY = b""

Append = Callable[..., None]


class Scopes:
    """Per `out` topic and partition the keys that the subscriber holds. Used by one router, hence one thread."""

    def __init__(self, read_out: ReadOut, append: Append) -> None:
        self._read_out = read_out
        self._append = append
        self._held: dict[tuple[str, int], set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def forget(self) -> None:
        """Others may have written since: read again when needed."""
        self._held.clear()

    def is_known(self, topic: str, partition: int) -> bool:
        """Whether the partition has been read."""
        return (topic, partition) in self._held

    def holds(self, topic: str, partition: int, key: bytes) -> bool:
        """Whether the subscriber holds the row. What was appended before must be durable the first time."""
        held = self._held.get((topic, partition))
        if held is None:
            held = set[bytes]()
            for batch in self._read_out(topic, partition):
                for record in batch.records:
                    _note(held, record.key, record.value)
            self._held[topic, partition] = held
        return key in held

    def append(self, topic: str, key: bytes | None, value: bytes | None, *, partition: int, headers: Any) -> None:
        """Append to the outlet, and note what that does to what the subscriber holds."""
        self._append(topic, key, value, partition=partition, headers=headers)
        held = self._held.get((topic, partition))
        if held is not None:
            _note(held, key, value)


def _note(held: set[bytes], key: bytes | None, value: bytes | None) -> None:
    if not key:  # a truncate (KF-08: its key is empty)
        held.clear()
    elif value is None:  # every removal is followed by its tombstone
        held.discard(key)
    else:
        held.add(key)
