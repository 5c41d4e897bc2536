"""Groups: how many rows look alike by their quasi-identifiers (准标识符), in bounded memory: the smallest group says what k is.

A row is in one group at a time: that of its last state. Beyond a limit groups are sampled by their hash: those that are left are
counted whole, so that the smallest of them is a group of that size.
"""

from __future__ import annotations

ROWS_MAX = 500_000


class Groups:
    """Keys and groups are given as hashes (ops/grants/preview/distinct.py)."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._limit = 1 << 64
        self._group_of: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    def put(self, key: int, group: int) -> None:
        """The row is in this group now."""
        self.drop(key)
        if group >= self._limit:
            return
        self._group_of[key] = group
        self._sizes[group] = self._sizes.get(group, 0) + 1
        while len(self._group_of) > self._rows_max and len(self._sizes) > 1:
            self._halve()

    def drop(self, key: int) -> None:
        """The row is gone."""
        group = self._group_of.pop(key, None)
        if group is not None:
            self._sizes[group] -= 1
            if not self._sizes[group]:
                del self._sizes[group]

    def clear(self) -> None:
        """All rows are gone."""
        self._group_of.clear()
        self._sizes.clear()

    @property
    def is_whole(self) -> bool:
        """Whether every group is counted, not a sample of them."""
        return self._limit == 1 << 64

    @property
    def smallest(self) -> int | None:
        """The rows of the smallest group; None without any."""
        return min(self._sizes.values(), default=None)

    @property
    def singled_out(self) -> int:
        """Groups of one row: who knows the quasi-identifiers knows whose row it is."""
        return sum(size == 1 for size in self._sizes.values())

    def __len__(self) -> int:
        return len(self._sizes)

    def _halve(self) -> None:
        self._limit = max(self._sizes) if len(self._sizes) == 2 else sorted(self._sizes)[len(self._sizes) // 2]
        self._sizes = {group: size for group, size in self._sizes.items() if group < self._limit}
        self._group_of = {key: group for key, group in self._group_of.items() if group < self._limit}
