"""Access: who may read which `out` topic at this moment, as validity begins and ends by the clock (invariants 6 and 11).

Onboarding and `mesh grant` open and close topics for their own changes. Nobody runs a command when `valid_to` passes: this is who
closes the topic then, within a second, in every delivery process; and who opens it when `valid_from` comes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from schemas.agreement.directory import Directory
from schemas.errors import MeshError
from schemas.log.kafka import Kafka
from schemas.log.rights.access import allow_read, withdraw_read

LOOK_SECONDS = 1.0
EXIT_CRASHED = 70  # sysexits EX_SOFTWARE: the supervisor starts the process again

_logger = logging.getLogger(__name__)

Change = Callable[[str, list[str]], object]


class Access:
    """Keeps rights in step with the clock. `allow` and `withdraw` take a user and topics, and may raise MeshError."""

    def __init__(self, directory: Callable[[], Directory], *, allow: Change, withdraw: Change) -> None:
        self._directory = directory
        self._allow = allow
        self._withdraw = withdraw
        self._is_open: dict[tuple[str, str], bool] = {}

    def look(self, now: datetime) -> None:
        """Bring about what is not so yet; what could not be done is tried at the next look."""
        opening: dict[str, list[str]] = {}
        closing: dict[str, list[str]] = {}
        for entry in self._directory().grants.values():
            place, is_open = (entry.grant.subscriber, entry.topic), entry.grant.is_active(now)
            before = self._is_open.get(place)
            if before is is_open:
                continue
            if before is None and is_open:  # onboarding has opened it
                self._is_open[place] = True
            else:
                (opening if is_open else closing).setdefault(place[0], []).append(place[1])
        self._change(closing, self._withdraw, is_open=False)
        self._change(opening, self._allow, is_open=True)

    def _change(self, changes: dict[str, list[str]], change: Change, *, is_open: bool) -> None:
        for user, topics in changes.items():
            try:
                change(user, topics)
            except MeshError as error:
                _logger.warning("%s: its rights are put right at the next look: %s", user, error)
            else:
                self._is_open.update({(user, topic): is_open for topic in topics})


def keep_access(kafka: Kafka, directory: Callable[[], Directory], stop: threading.Event) -> None:
    """Keep rights in step in a thread until `stop`. If that thread fails the process ends: nobody else would close topics."""

    def allow(user: str, topics: Iterable[str]) -> None:
        allow_read(kafka, user, topics, f"sub.{user}.")

    def withdraw(user: str, topics: Iterable[str]) -> None:
        withdraw_read(kafka, user, topics)

    access = Access(directory, allow=allow, withdraw=withdraw)

    def keep() -> None:
        try:
            while not stop.wait(LOOK_SECONDS):
                access.look(datetime.now(UTC))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, topics would stay open
            _logger.critical("access: ends the process: %s", type(error).__name__)
            os._exit(EXIT_CRASHED)

    threading.Thread(target=keep, name="access", daemon=True).start()
