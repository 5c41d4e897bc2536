"""What is left to be done after `mesh offboard`, done by the hops: slots given back, subscribers that confirmed all ends.

Nothing here needs the command: whatever it was interrupted at, and whoever runs, ends what its records say.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime

from ops.audit.audited_log import Act, AuditedLog
from ops.host.look_on import look_on
from ops.own_topic.logins import file_name
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from ops.watch.lag import delivery_group
from schemas.agreement.directory import Directory
from schemas.agreement.offboarding import Offboarding
from schemas.errors import MeshError
from schemas.feed import LOGINS, OFFBOARDED, SUBSCRIBERS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish
from schemas.log.kafka import Kafka
from schemas.log.rights.login import remove_groups, remove_login

LOOK_SECONDS = 1.0
WITHIN_SECONDS = 30.0
MINTED = ("kafka", "hash-key")

_logger = logging.getLogger(__name__)


class Finished:
    """Keeps that nothing is left to be done for something that left."""

    def __init__(self, settings: Settings, log: AuditedLog) -> None:
        self._settings = settings
        self._log = log

    def slot(self, slot: Offboarding) -> None:
        """A source's slot was given back; its address is forgotten, unless its agency may add feeds. Raises Transient."""
        if not slot.command.startswith("feed "):
            code, _, source = slot.name.partition(".")
            Connections(self._settings.directory).sources.remove(code, source)
        self._write(slot, "slot given back", Act())

    def subscriber(self, offboarding: Offboarding) -> None:
        """Every grant of a subscriber has ended: its logins, groups, keys and the addresses of its sinks go. Raises MeshError."""
        code, kafka = offboarding.name, self._settings.kafka
        logins = [login for login in read_directory(kafka).logins.values() if login.subscriber == code]
        for user in [code, *(login.user for login in logins)]:
            remove_login(kafka, user)
        for group in {delivery_group(code, login.sink) for login in logins}:
            remove_groups(kafka, group)
        connections = Connections(self._settings.directory)
        connections.sinks.forget(code)
        for name in (*MINTED, *(file_name(login.sink) for login in logins)):
            connections.remove(code, name)
        act = Act()
        act.append(SUBSCRIBERS, code.encode(), None)
        for login in logins:
            act.append(LOGINS, login.user.encode(), None)
        self._write(offboarding, "subscriber left", act)

    def _write(self, offboarding: Offboarding, what: str, act: Act) -> None:
        done = replace(offboarding, done_at=datetime.now(UTC))
        audit(act.append, what, offboarding.name)
        publish(act.append, OFFBOARDED, done.key, done.to_json())
        self._log.write(act, WITHIN_SECONDS, lambda: self._is_due(offboarding))

    def _is_due(self, offboarding: Offboarding) -> bool:
        """Read anew: another process, or this one a moment ago, may have done it already."""
        return read_directory(self._settings.kafka).offboarded.get(offboarding.key) == offboarding


def unconfirmed(directory: Directory, code: str) -> list[str]:
    """Topics of a subscriber whose end its side has not confirmed, and grants that have not even ended."""
    running = [entry.topic for entry in directory.grants.values() if entry.grant.subscriber == code]
    due = [each.topic for each in directory.endings.values() if each.subscriber == code and not each.acknowledged_at]
    return sorted({*running, *due})


def leaving(directory: Directory) -> list[Offboarding]:
    """Subscribers that are on their way out."""
    return [each for each in directory.offboarded.values() if each.kind == "subscriber" and each.done_at is None]


class Leaving:
    """Lets subscribers go once their side confirmed the end of every grant; in every delivery process."""

    def __init__(
        self,
        kafka: Kafka,
        directory: Callable[[], Directory],
        finished: Finished,
        before: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        """`before` is called while what they confirmed still stands."""
        self._before = before
        self._kafka = kafka
        self._directory = directory
        self._finished = finished

    def look(self) -> None:
        """Finish who can be; who cannot is looked at again."""
        if not self._ready(self._directory()):
            return
        try:
            # Followed records of several topics come in no order: an end may stand on its topic and not be here yet.
            ready = self._ready(read_directory(self._kafka))
            if ready:
                self._before(datetime.now(UTC))
            for offboarding in ready:
                self._finished.subscriber(offboarding)
                _logger.info("subscriber %s has left", offboarding.name)
        except MeshError as error:
            _logger.warning("subscribers that leave are looked at again: %s", error)

    def _ready(self, directory: Directory) -> Collection[Offboarding]:
        return [each for each in leaving(directory) if not unconfirmed(directory, each.name)]

    def run(self, stop: threading.Event) -> None:
        """Look every second until `stop`, in a thread of its own."""
        look_on(self.look, stop, name="leaving", every_seconds=LOOK_SECONDS)
