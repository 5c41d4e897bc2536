"""Logins: the users by which a subscriber reads its topics itself. Made at subscription, rotated on request, removed for good.

Kafka knows one password of a user at a time. So a rotation makes another user, with the same rights, and both can enter until the
former's time is over; then delivery removes it (`Lapsed`), with its rights, at which also a client that is connected is refused.
The password stands in one file of mode 0600, which is replaced at each rotation, and nowhere else: no topic, log or audit has it.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.audit.audited_log import Act, AuditedLog
from ops.host.look_on import look_on
from ops.settings import Connections, Settings
from ops.trust.audit import audit
from ops.watch.lag import delivery_group
from schemas.agreement.directory import Directory
from schemas.agreement.subscriber import Login
from schemas.errors import MeshError
from schemas.feed import LOGINS, ends_topic
from schemas.log.control.follower import read_directory
from schemas.log.control.records import Append, publish
from schemas.log.kafka import Kafka
from schemas.log.rights.access import create_scram_user
from schemas.log.rights.login import remove_login

LOOK_SECONDS = 1.0
WITHIN_SECONDS = 30.0
SCRAM = "SCRAM-SHA-512"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A login that was just made, and the file with everything that its subscriber's client needs."""

    login: Login
    file: Path


def mint(settings: Settings, subscriber: str, sink: str, known: Iterable[Login], now: datetime) -> Minted:
    """Make a user that may do nothing yet, and write down how it enters. It is on record once the caller publishes it."""
    number = 1 + max((int(login.user.rpartition(".")[2]) for login in known), default=0)
    login = Login(user=f"{subscriber}.{sink}.{number}", subscriber=subscriber, sink=sink, since=now)
    password = secrets.token_urlsafe(32)
    create_scram_user(settings.kafka, login.user, password)
    connections = Connections(settings.directory)
    name = file_name(sink)
    connections.save(subscriber, name, _handed_over(settings, login, password))
    return Minted(login=login, file=settings.directory / "connections" / f"{subscriber}.{name}")


def file_name(sink: str) -> str:
    """Under which a sink's login is kept with the connections, behind its subscriber's code."""
    return f"{sink}.properties"


def publish_login(append: Append, login: Login, what: str, **details: Any) -> None:
    """Queue its record, and the line of the audit."""
    publish(append, LOGINS, login.user, login.to_json())
    audit(append, what, f"{login.subscriber}.{login.sink}", user=login.user, **details)


def forget_login(append: Append, login: Login, reason: str) -> None:
    """Queue that a user is gone that was removed."""
    append(LOGINS, login.user.encode(), None)
    audit(append, "login removed", f"{login.subscriber}.{login.sink}", user=login.user, reason=reason)


def _handed_over(settings: Settings, login: Login, password: str) -> str:
    security = "SASL_SSL" if settings.kafka.uses_tls else "SASL_PLAINTEXT"
    entered = replace(
        Kafka(settings.kafka_sasl or settings.kafka.bootstrap, security, login.user, password, SCRAM),
        ca=settings.kafka.ca if settings.kafka.uses_tls else "",
    )
    own = {"group.id": delivery_group(login.subscriber, login.sink), "auto.offset.reset": "earliest"}
    java = {name: value for name, value in entered.java().items() if name.startswith("sasl.jaas")}
    name = f"{login.subscriber}.{login.sink}"
    return "\n".join(
        [
            f"# How {login.subscriber} reads the topics of its sink {login.sink}: for librdkafka, as it is.",
            f"# Keep it secret. `mesh subscription rotate {name}` makes another and says until when this one is good.",
            *(f"{each}={value}" for each, value in entered.client(own).items()),
            "# For Java's clients, in the place of sasl.username and sasl.password:",
            *(f"# {each}={value}" for each, value in java.items()),
            f"# Topics: ^out\\.{login.subscriber}\\..* as far as its grants open them,",
            f"# and {ends_topic(login.subscriber, login.sink)}, which tells their ends.",
            f"# What the group commits is confirmed. Its schemas: {settings.registry}",
            "",
        ]
    )


class Lapsed:
    """Removes logins whose time is over; in every delivery process."""

    def __init__(self, kafka: Kafka, directory: Callable[[], Directory], log: AuditedLog) -> None:
        self._kafka = kafka
        self._directory = directory
        self._log = log

    def look(self, now: datetime) -> None:
        """Remove those that are due; what could not be removed is at the next look."""
        for login in [each for each in self._directory().logins.values() if each.is_over(now)]:
            try:
                self._remove(login, now)
            except MeshError as error:
                _logger.warning("login %s is removed at the next look: %s", login.user, error)

    def _remove(self, login: Login, now: datetime) -> None:
        remove_login(self._kafka, login.user)
        act = Act()
        forget_login(act.append, login, "its time was over")

        def is_there() -> bool:
            known = read_directory(self._kafka).logins.get(login.user)
            return known is not None and known.is_over(now)

        if self._log.write(act, WITHIN_SECONDS, is_there):
            _logger.info("login %s was removed: its time was over", login.user)

    def run(self, stop: threading.Event) -> None:
        """Look every second until `stop`, in a thread of its own."""
        look_on(lambda: self.look(datetime.now(UTC)), stop, name="logins", every_seconds=LOOK_SECONDS)
