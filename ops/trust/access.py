"""Access: who may read which `out` topic at this moment, as validity begins and ends by the clock (invariants 6 and 11).

Onboarding and `mesh grant` open and close topics for their own changes. Nobody runs a command when `valid_to` passes: this is who
closes the topic then, within a second, in every delivery process; and who opens it when `valid_from` comes. What a command that was
killed left open is closed here too.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from ops.own_topic.readers import Readers
from schemas.agreement.directory import Directory
from schemas.errors import MeshError
from schemas.log.kafka import Kafka
from schemas.log.rights.access import withdraw_read

LOOK_SECONDS = 1.0
EXIT_CRASHED = 70  # sysexits EX_SOFTWARE: the supervisor starts the process again

_logger = logging.getLogger(__name__)

Place = tuple[str, str]
"""A user on Kafka, and a topic."""


class Access:
    """Keeps rights in step with the clock."""

    def __init__(self, kafka: Kafka, directory: Callable[[], Directory]) -> None:
        self._kafka = kafka
        self._directory = directory
        self._is_open: dict[Place, bool] = {}

    def look(self, now: datetime) -> None:
        """Bring about what is not so yet; what could not be done is tried at the next look."""
        readers = Readers(kafka=self._kafka, directory=self._directory())
        changes: dict[bool, dict[str, list[str]]] = {False: {}, True: {}}
        for (user, topic), is_open in wanted(readers, now).items():
            if self._is_open.get((user, topic)) is not is_open:
                changes[is_open].setdefault(user, []).append(topic)
        self._change(changes[False], lambda user, topics: withdraw_read(self._kafka, user, topics), is_open=False)
        self._change(changes[True], readers.allow, is_open=True)

    def _change(
        self, changes: Mapping[str, list[str]], change: Callable[[str, Iterable[str]], object], *, is_open: bool
    ) -> None:
        for user, topics in changes.items():
            try:
                change(user, topics)
            except MeshError as error:
                _logger.warning("%s: its rights are put right at the next look: %s", user, error)
            else:
                self._is_open.update({(user, topic): is_open for topic in topics})


def wanted(readers: Readers, now: datetime) -> dict[Place, bool]:
    """Which topics are to be open to whom; what is not named is nobody's."""
    directory, found = readers.directory, dict[Place, bool]()
    for entry in directory.grants.values():
        grant, is_open = entry.grant, entry.grant.is_active(now)
        for user in readers.users(grant.subscriber, grant.sink):
            login = directory.logins.get(user)
            if login is None or not login.is_over(now):
                found[user, entry.topic] = is_open
        if not is_open:
            found[grant.subscriber, entry.topic] = False  # also for the login that every subscriber once had
    for topic, ending in directory.endings.items():
        for user in readers.users(ending.subscriber, ending.sink):
            found.setdefault((user, topic), False)
    return found


def keep_access(kafka: Kafka, directory: Callable[[], Directory], stop: threading.Event) -> None:
    """Keep rights in step in a thread until `stop`. If that thread fails the process ends: nobody else would close topics."""
    access = Access(kafka, directory)

    def keep() -> None:
        try:
            while not stop.wait(LOOK_SECONDS):
                access.look(datetime.now(UTC))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, topics would stay open
            _logger.critical("access: ends the process: %s", type(error).__name__)
            os._exit(EXIT_CRASHED)

    threading.Thread(target=keep, name="access", daemon=True).start()
