"""Recent: the subjects that a task keeps in memory, so that news of the same subject need not read its entries again."""

from __future__ import annotations

from streams.engine.entry import Live

GENERATION = 20_000
"""How many subjects make a generation full. Those of the present one and of the one before are kept."""


class Recent:
    """Subjects by their prefix. A subject that is asked for lives on; one that nobody asks for in a whole generation goes."""

    def __init__(self) -> None:
        self._young: dict[bytes, Live] = {}
        self._old: dict[bytes, Live] = {}

    def get(self, prefix: bytes) -> Live | None:
        """The subject, if it is in memory."""
        live = self._young.get(prefix)
        if live is None and (live := self._old.pop(prefix, None)) is not None:
            self._young[prefix] = live
        return live

    def keep(self, live: Live) -> None:
        """Take up a subject."""
        self._young[live.prefix] = live

    def age(self) -> None:
        """Let go of the old, where the young have become many. Not while a batch holds subjects that it has changed."""
        if len(self._young) > GENERATION:
            self._young, self._old = {}, self._young

    def clear(self) -> None:
        """Forget all."""
        self._young.clear()
        self._old.clear()
