"""What a process of the mesh is made with: its settings, and the parts that several hops have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from ops.audit.attempts import RefusedAttempts
from ops.audit.audited_log import AuditedLog
from ops.host.look_on import look_on
from ops.metrics.directory_metrics import news_of
from ops.metrics.incident_metrics import CountedIncidents
from ops.onboarding.present import Tidy, tidying
from ops.settings import Settings
from ops.trust.entry import Doorkeeper
from ops.watch.deafness import Deafness
from ops.watch.incidents import IncidentLog
from schemas.agreement.directory import Directory
from schemas.feed import INCIDENTS, LEDGER
from schemas.guard.entrance import Entrance
from schemas.incident import Incidents
from schemas.ledger.book import LedgerBook, Side
from schemas.log.control.follower import Follower
from schemas.log.control.store import ControlStore
from schemas.log.reports.reports import Accounts
from schemas.log.writer import Log

Part = TypeVar("Part")

LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One process. What is entered ends with it, in the opposite order; `name` is its own among others of its hop."""

    settings: Settings
    doorkeeper: Doorkeeper
    stack: ExitStack
    stop: threading.Event
    name: str
    port: int
    only: frozenset[str]

    def enter(self, part: AbstractContextManager[Part]) -> Part:
        """Keep a part until the process ends."""
        return self.stack.enter_context(part)

    def directory(self) -> Follower:
        """What is onboarded and granted, always as of now."""
        return self.enter(closing(Follower(self.settings.kafka)))

    def look(self, look: Callable[[], object], name: str) -> None:
        """Look every other second, in a thread of its own, until the process is to stop."""
        look_on(look, self.stop, name=name, every_seconds=LOOK_SECONDS)

    def follow(self, directory: Callable[[], Directory], take: Callable[[Directory], object]) -> None:
        """Have `take` told of each new Directory."""
        self.look(news_of(directory, take), "known")

    def log(self, client_id: str, accounts: Accounts | None = None) -> Log:
        """A writer of records."""
        extra = self.settings.producer
        return self.enter(closing(Log(self.settings.kafka, client_id=client_id, extra=extra, accounts=accounts)))

    def book(self, hop: str, side: Side, is_stated: Callable[[str], bool]) -> LedgerBook | None:
        """Where the hop accounts for what it writes or reads, until the process ends. Ask for it before what fills it.

        None where `MESH_LEDGER` is off.
        """
        if not self.settings.has_ledger:
            return None
        log = self.log(f"{LEDGER}-{side}")
        book = self.enter(
            closing(LedgerBook(hop, side, by=self.name, kafka=self.settings.kafka, log=log, is_stated=is_stated))
        )
        threading.Thread(target=book.keep, args=(self.stop,), name=f"ledger-{side}", daemon=True).start()
        return book

    def audited(self, client_id: str) -> AuditedLog:
        """A writer of what is done together with the lines of the audit that say so."""
        return self.enter(closing(AuditedLog(self.settings.kafka, client_id=client_id)))

    def entrance(self) -> Entrance:
        """How others enter the server of this process; whoever is not let in is in the audit. Raises Misconfigured."""
        if not self.settings.is_guarded:
            return self.doorkeeper.entrance()
        attempts = RefusedAttempts(self.audited(f"mesh-{self.name}-attempts"), "request refused")
        return self.doorkeeper.entrance(self.enter(closing(attempts)))

    def store(self, topic: str) -> ControlStore:
        """Records by key on a control topic."""
        extra = self.settings.producer
        log = self.enter(closing(Log(self.settings.kafka, client_id=f"{topic}-progress", linger_ms=0, extra=extra)))
        return ControlStore(self.settings.kafka, topic, log)

    def incidents(self, directory: Follower) -> Incidents:
        """Where the hop says what stands still; of what ended nothing, and its gauges go (ops/onboarding/present.py)."""
        written = self.enter(closing(IncidentLog(self.store(INCIDENTS))))
        incidents = CountedIncidents(written)
        tidying(Tidy(directory, incidents), self.stop)
        directory.tell_deafness(Deafness(incidents, self.name))
        return incidents


@dataclass(frozen=True, slots=True)
class HopProgress:
    """`streams.egress.liveness.EgressProgress`, and that of the flows' past, on a control topic."""

    store: ControlStore

    def load(self) -> Mapping[str, Mapping[str, Any]]:
        """Every record by key."""
        return self.store.all()

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record in the place of the key's former one."""
        self.store.save(key, record)
