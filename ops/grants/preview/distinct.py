"""Distinct: how many different things came by, in bounded memory: exact up to a limit, estimated beyond.

Of the hashes that came by the smallest are kept (k minimum values): how close they lie together says how many there are. With
65,536 of them an estimate is off by 0.4 % (one standard deviation).
"""

from __future__ import annotations

import hashlib
from heapq import heappushpop

KEPT_MAX = 65_536
_SPACE = 1 << 64


def hash_of(data: bytes) -> int:
    """64 bits that are spread evenly, however alike the data."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


class Distinct:
    """Counts different hashes."""

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._kept = set[int]()
        self._heap: list[int] = []
        """The largest of those kept is the first, as its negative; empty as long as all are kept."""

    def add(self, hashed: int) -> None:
        """One came by."""
        if hashed in self._kept:
            return
        if not self._heap:
            self._kept.add(hashed)
            if len(self._kept) == self._kept_max:
                self._heap = sorted(-each for each in self._kept)
        elif hashed < -self._heap[0]:
            self._kept.remove(-heappushpop(self._heap, -hashed))
            self._kept.add(hashed)

    @property
    def is_exact(self) -> bool:
        """Whether the count is no estimate."""
        return not self._heap

    @property
    def count(self) -> int:
        """How many different ones came by."""
        if self.is_exact:
            return len(self._kept)
        return round((self._kept_max - 1) * _SPACE / -self._heap[0])
