"""Release: what a source holds in its department's database is given back once its last feed was offboarded.

A slot that nobody reads makes the database keep its log until the disk is full. So giving it back is tried until it is done,
whatever error says no (it departs from `next_move`: nothing else waits for it), and said while it is not; no kill forgets it,
since its record in the directory (schemas/agreement/offboarding.py) stands until it is done.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from datetime import datetime

from producers.kind import SourceHolding
from producers.setting import CaptureSetting
from producers.source import SourceSetting, StandingBy
from schemas.agreement.agency import Agency
from schemas.agreement.offboarding import Offboarding
from schemas.backoff import Backoff
from schemas.errors import MeshError

PAUSE = Backoff(first_seconds=1.0, longest_seconds=60.0)
LOOK_SECONDS = 0.5

_logger = logging.getLogger(__name__)


class Releases:
    """For one capture process. `done` keeps that a slot's record is done, and returns once that is durable."""

    def __init__(self, setting: CaptureSetting, done: Callable[[Offboarding], None]) -> None:
        self._setting = setting
        self._done = done
        self._given_back: set[tuple[str, datetime]] = set()
        """What this process did: followed, its own record comes a moment later, and would be met as due until then."""

    def due(self) -> list[str]:
        """Sources that hold something and have no feed."""
        return [each.name for each in self._due()]

    def run(self, name: str, ending: threading.Event) -> None:
        """Give back what a source holds; returns once that is done, is no longer to be done, or capture ends."""
        failures = 0
        while not ending.is_set() and (record := self._record(name)) is not None:
            try:
                self._release(record)
            except StandingBy as error:
                _logger.info("%s: %s", name, error)
            except Exception as error:  # noqa: BLE001 - whatever it is, the slot is still there
                self._say(record, error)
            else:
                _logger.info("%s: was offboarded; nothing of it is left in its database", name)
                break
            failures += 1
            pause = PAUSE.after(failures)
            while pause > 0 and not ending.wait(LOOK_SECONDS) and self._record(name) == record:
                pause -= LOOK_SECONDS
        if not ending.is_set():
            self._setting.incidents.end("source", name)

    def _due(self) -> list[Offboarding]:
        return [each for each in self._setting.directory().slots_due() if (each.name, each.at) not in self._given_back]

    def _record(self, name: str) -> Offboarding | None:
        return next((each for each in self._due() if each.name == name), None)

    def _holding(self, slot: Offboarding) -> SourceHolding | None:
        kind = self._setting.kinds.get(slot.source.kind) if slot.source else None
        return kind.holding if kind else None

    def _release(self, slot: Offboarding) -> None:
        record = self._setting.progress.load(slot.name)
        holding = self._holding(slot)
        if record is not None and holding is not None and slot.source is not None:
            code, _, source = slot.name.partition(".")
            setting = SourceSetting(
                agency=Agency(agency=code, name=code, sources=(slot.source,)),
                config=slot.source,
                address=self._setting.address_of(code, source),
                feeds=dict,
                progress=self._setting.progress,
                observer=self._setting.observer,
            )
            holding.release(setting, record)
        if self._setting.state is not None:  # rows that it held on this host
            shutil.rmtree(self._setting.state / slot.name, ignore_errors=True)
        if record is not None:
            self._setting.progress.save(slot.name, None)
        self._done(slot)
        self._given_back.add((slot.name, slot.at))

    def _say(self, slot: Offboarding, error: Exception) -> None:
        # The text of what nobody foresaw may quote a row.
        problem = error.problem if isinstance(error, MeshError) else type(error).__name__
        holding = self._holding(slot)
        words = holding.words(slot.name) if holding else "what it holds there"
        reason = f"it was offboarded, but {words} could not be dropped yet, and its database keeps its log: {problem}"
        by_hand = f"; or in its database: {holding.by_hand(slot.name)}" if holding else ""
        fix = (
            f"it is tried again by itself{by_hand}; where that database is gone for good, or cannot be reached any more: "
            f"`mesh offboard {slot.command} --yes --abandon`"
        )
        _logger.warning("%s: %s\n  fix: %s", slot.name, reason, fix)
        self._setting.incidents.begin("source", slot.name, state="parked", reason=reason, fix=fix)
