"""Standstills (sinks/lane/standstill.py) on their control topic: lanes that only a person resumes, known again after a restart.

A lane must not wait for the broker to say so: a thread of its own writes what is new, tries again until it stands there, and looks
every two seconds whether a person took a record away, or another process wrote one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from schemas.errors import MeshError
from schemas.log.control.store import ControlStore
from sinks.lane.standstill import StandingStill

LOOK_EVERY_SECONDS = 2.0

_logger = logging.getLogger(__name__)


class StandstillLog:
    """`sinks.lane.standstill.Standstills` on the control topic. Raises Transient when it cannot be read at the start."""

    def __init__(self, store: ControlStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._asked: dict[str, StandingStill | None] = {}
        self._present = _read(store.all())
        self._news = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._follow, name="standstills", daemon=True)
        self._thread.start()

    def of(self, name: str) -> StandingStill | None:
        """See Standstills."""
        with self._lock:
            return self._asked[name] if name in self._asked else self._present.get(name)

    def keep(self, name: str, standing: StandingStill) -> None:
        """See Standstills."""
        self._ask(name, standing)

    def forget(self, name: str) -> None:
        """See Standstills."""
        self._ask(name, None)

    def close(self) -> None:
        """Write what is left, if the broker takes it now."""
        self._is_closing = True
        self._news.set()
        self._thread.join(5)

    def _ask(self, name: str, standing: StandingStill | None) -> None:
        with self._lock:
            self._asked[name] = standing
        self._news.set()

    def _follow(self) -> None:
        is_last = False
        while not is_last:
            self._news.wait(LOOK_EVERY_SECONDS)
            self._news.clear()
            is_last = self._is_closing
            try:
                self._write()
                if not is_last:
                    present = _read(self._store.all())
                    with self._lock:
                        self._present = present
            except MeshError as error:
                _logger.warning("standstills: written and looked for later: %s", error)

    def _write(self) -> None:
        with self._lock:
            asked = dict(self._asked)
        for name, standing in asked.items():
            if standing is not None or name in self._present or self._store.is_unsure(name):
                self._store.save(name, standing.to_json() if standing else None)
        with self._lock:
            for name, standing in asked.items():
                if standing is None:
                    self._present.pop(name, None)
                else:
                    self._present[name] = standing
                if self._asked.get(name) is standing:
                    del self._asked[name]


def _read(records: Mapping[str, Mapping[str, Any]]) -> dict[str, StandingStill]:
    present: dict[str, StandingStill] = {}
    for name, record in records.items():
        try:
            present[name] = StandingStill.from_json(record)
        except (KeyError, TypeError) as error:
            _logger.error("standstills: a record cannot be read (%s); it is left out", type(error).__name__)  # noqa: TRY400
    return present
