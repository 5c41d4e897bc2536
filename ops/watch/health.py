"""Health is progress (OP-03): a process that lives and does not move is unwell.

An entity (a source, a grant's delivery, a sink) is stuck when it has lag and its watermark stands still: the moment up to
which it has done everything. It is judged whenever somebody asks, so that a loop that hangs with lag shows too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OK, STUCK, DOWN = STATUSES = ("ok", "stuck", "down")
STUCK_AFTER_SECONDS = 60.0


@dataclass(slots=True)
class _Entity:
    moved_at: float
    lag_seconds: float = 0.0
    watermark: float = float("-inf")
    is_down: bool = False


class Health:
    """Follows entities, named by kind and name. `clock` counts seconds, from anywhere. Threads may share it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entities: dict[tuple[str, str], _Entity] = {}

    def lag(self, kind: str, name: str, seconds: float) -> None:
        """The entity is so many seconds behind; 0 when it has nothing to do."""
        now = self._clock()
        with self._lock:
            entity = self._entities.setdefault((kind, name), _Entity(now))
            watermark = now - seconds
            if seconds <= 0 or watermark > entity.watermark + 0.001:
                entity.moved_at = now
            entity.lag_seconds = seconds
            entity.watermark = watermark

    def down(self, kind: str, name: str, is_down: bool) -> None:
        """The entity is cut off from the other side, or is connected again."""
        with self._lock:
            self._entities.setdefault((kind, name), _Entity(self._clock())).is_down = is_down

    def keep_only(self, has: Callable[[str, str], bool]) -> None:
        """Forget the entities that `has` (kind, name) denies: they are no more."""
        with self._lock:
            for entity in [entity for entity in self._entities if not has(*entity)]:
                del self._entities[entity]

    def statuses(self) -> Iterator[tuple[str, str, str]]:
        """(kind, name, status) of every entity at this moment."""
        now = self._clock()
        with self._lock:
            entities = list(self._entities.items())
        for (kind, name), entity in entities:
            is_stuck = entity.lag_seconds > 0 and now - entity.moved_at > STUCK_AFTER_SECONDS
            yield kind, name, DOWN if entity.is_down else STUCK if is_stuck else OK
