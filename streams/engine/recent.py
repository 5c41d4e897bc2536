"""Recent: the subjects that a task keeps in memory, so that news of the same subject need not read its entries again."""

from __future__ import annotations

from streams.engine.entry import Live

GENERATION = 20_000
"""How many subjects make a generation full. Those of the present one and of the one before are kept."""
ENTRIES_OF_ONE = 20
"""A subject with more entries than that counts as several."""
LARGEST_ENTRIES = 5_000
"""One with more is not kept: a roster of a hundred thousand is read anew whenever it is folded."""


class Recent:
    """Subjects by their prefix. A subject that is asked for lives on; one that nobody asks for in a whole generation goes."""

    def __init__(self) -> None:
        self._young: dict[bytes, Live] = {}
        self._old: dict[bytes, Live] = {}
        self._further = 0

    def get(self, prefix: bytes) -> Live | None:
        """The subject, if it is in memory."""
        live = self._young.get(prefix)
        if live is None and (live := self._old.pop(prefix, None)) is not None:
            self._young[prefix] = live
        return live

    def keep(self, live: Live, entries: int) -> None:
        """Take up a subject that has so many entries, unless they are too many."""
        if entries <= LARGEST_ENTRIES:
            self._young[live.prefix] = live
            self._further += entries // ENTRIES_OF_ONE

    def drop(self, prefix: bytes) -> None:
        """Let go of a subject."""
        self._young.pop(prefix, None)
        self._old.pop(prefix, None)

    def age(self) -> None:
        """Let go of the old, where the young have become many. Not while a batch holds subjects that it has changed."""
        if len(self._young) + self._further > GENERATION:
            self._young, self._old, self._further = {}, self._young, 0

    def clear(self) -> None:
        """Forget all."""
        self._young.clear()
        self._old.clear()
