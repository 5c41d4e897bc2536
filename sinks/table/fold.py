"""Fold: the newest state per key of a run of changes, since one statement may touch a row once (SK-02)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.errors import Rejected
from sinks.table.reading import Taken

_ROWS = frozenset((b"c", b"u", b"r"))


@dataclass(slots=True)
class RunFold:
    """What a run of one topic comes to. Keys are Avro bodies; a key stands in one of the mappings only.

    `whole` and `partial` have the change that wins; `removed` the token of a removal; `forgotten` keys have only a tombstone.
    """

    names: Sequence[str]
    whole: dict[bytes, Taken] = field(default_factory=dict[bytes, Taken])
    partial: dict[bytes, Taken] = field(default_factory=dict[bytes, Taken])
    removed: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    forgotten: dict[bytes, None] = field(default_factory=dict[bytes, None])
    truncated: bytes = b""

    def __len__(self) -> int:
        return len(self.whole) + len(self.partial) + len(self.removed) + len(self.forgotten)

    def tombstone(self, key: bytes) -> None:
        """A tombstone that stands alone: compaction took the removal before it, so it stands for it (fault 21)."""
        self.whole.pop(key, None)
        self.partial.pop(key, None)
        self.forgotten[key] = None

    def take(self, key: bytes, change: Taken) -> None:
        """Fold one more change in; the key is empty for a truncate. Raises Rejected for what is no change of a row."""
        cells, op, token, unchanged = change
        if (
            key
            and op in _ROWS
            and cells is not None
            and not (unchanged or self.partial or self.removed or self.truncated)
        ):
            # Most changes: a whole row, of a run in which nothing else happened.
            row = self.whole.get(key)
            if row is None or row.token < token or (row.token == token and op == b"r"):
                self.whole[key] = change
            return
        if not key and op != b"t":
            raise Rejected("no_key", "a change without key has no place in a table")
        if op in _ROWS:
            if change.cells is None:
                raise Rejected("no_row", "a create or update without the row after it")
            self._take_row(key, change)
        elif op == b"d":
            if self._newest(key) <= token:
                self.whole.pop(key, None)
                self.partial.pop(key, None)
                self.removed[key] = token
        elif op == b"t":
            self._truncate(token)
        else:
            raise Rejected("unknown_op", "the envelope's op is none of c, u, d, r, t")

    def _take_row(self, key: bytes, change: Taken) -> None:
        token, takes_equal = change.token, change.op == b"r"
        newest = max(self._newest(key), self.truncated)
        if newest > token or (newest == token and not takes_equal):
            return
        if not change.unchanged:
            self.partial.pop(key, None)
            self.whole[key] = change
        elif key in self.whole:
            self.whole[key] = self._complete(change, self.whole[key])
        elif key in self.partial:
            self.partial[key] = self._complete(change, self.partial[key])
        elif key in self.removed:
            raise Rejected("partial_without_row", "an update without all columns follows the row's removal")
        else:
            self.partial[key] = change
        self.removed.pop(key, None)

    def _newest(self, key: bytes) -> bytes:
        if (row := self.whole.get(key) or self.partial.get(key)) is not None:
            return row.token
        return self.removed.get(key, b"")

    def _complete(self, change: Taken, earlier: Taken) -> Taken:
        """Fill absent columns from the earlier change of the same key (SK-02)."""
        assert change.cells is not None
        assert earlier.cells is not None
        absent = set(change.unchanged)
        cells = tuple(
            old if name in absent else new
            for name, new, old in zip(self.names, change.cells, earlier.cells, strict=True)
        )
        still = tuple(name for name in earlier.unchanged if name in absent)
        return change._replace(cells=cells, unchanged=still, op=earlier.op if earlier.op == b"r" else change.op)

    def _truncate(self, token: bytes) -> None:
        self.truncated = max(self.truncated, token)
        for rows in (self.whole, self.partial):
            for key in [key for key, row in rows.items() if row.token < token]:
                del rows[key]
        for key in [key for key, removal in self.removed.items() if removal < token]:
            del self.removed[key]
