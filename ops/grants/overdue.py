"""Overdue: requests that nobody answered in time escalate: an incident that stays until it is answered, and one audit line.

Watched by delivery. What stands on `mesh.incidents` says what was told already, also by a former process or by another one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from ops.audit.audited_log import Act, AuditedLog
from ops.command.terminal import SHANGHAI
from ops.host.look_on import look_on
from ops.trust.audit import audit
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant_life import next_approval, possible
from schemas.incident import Incident, Incidents, key_of

LOOK_SECONDS = 2.0
WITHIN_SECONDS = 30.0

_logger = logging.getLogger(__name__)

Tell = Callable[[str, Mapping[str, str]], None]
"""Writes one audit line about a grant; durable on return. Raises Transient."""


class Overdue:
    """`known` gives the incidents that stand. Used by one thread; what could not be told is told at the next look."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        incidents: Incidents,
        known: Callable[[], Mapping[str, Incident]],
        tell: Tell,
    ) -> None:
        self._directory = directory
        self._incidents = incidents
        self._known = known
        self._tell = tell
        self._told: dict[str, tuple[str, str]] | None = None

    def look(self, now: datetime) -> None:
        """Begin and end what is so now. Raises Transient where it cannot be told."""
        late = {name: entry for name, entry in self._directory().grants.items() if entry.is_overdue(now)}
        if self._told is None:  # what a former process began, or another one: its words are not known
            self._told = {each.name: ("", "") for each in self._known().values() if each.kind == "request"}
        for name in [name for name in self._told if name not in late]:
            self._incidents.end("request", name)
            del self._told[name]
        for name, entry in late.items():
            words = _words(entry)
            if name not in self._told and key_of("request", name) not in self._known():
                self._tell(name, _line(entry))
                _logger.warning("grant %s: %s", name, words[0])
            if self._told.get(name) != words:
                self._incidents.begin("request", name, state="notice", reason=words[0], fix=words[1])
                self._told[name] = words


class OverdueLog:
    """Writes the audit line of a request whose answer is late; returns when it is on record. Raises Transient."""

    def __init__(self, log: AuditedLog) -> None:
        self._log = log

    def __call__(self, grant_id: str, told: Mapping[str, str]) -> None:
        """Keep the line."""
        act = Act()
        audit(act.append, "grant overdue", grant_id, **told)
        self._log.write(act, WITHIN_SECONDS)


def _words(entry: GrantEntry) -> tuple[str, str]:
    life, asked = entry.life, entry.asked
    assert life.due_at is not None
    due = f"{life.due_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
    what = "a change of the grant" if entry.successor else "the request"
    reason = (
        f"{what} is overdue 逾期: its answer was due before {due} by {life.rules}, and {_whom(entry)} has not given one"
    )
    return reason, possible(asked.grant_id, asked.status)


def _whom(entry: GrantEntry) -> str:
    waits = next_approval(entry.asked.status)
    return waits[1] if waits else ""


def _line(entry: GrantEntry) -> Mapping[str, str]:
    life = entry.life
    due, since = life.due_at, life.submitted_at
    told = {"due_at": due.isoformat() if due else "", "submitted_at": since.isoformat() if since else ""}
    return {**told, "rules": life.rules, "waits_for": _whom(entry), "purpose": entry.asked.purpose}


def watching(overdue: Overdue, stop: threading.Event) -> threading.Thread:
    """Look again and again in a thread of its own, which ends with `stop`."""
    return look_on(lambda: overdue.look(datetime.now(UTC)), stop, name="overdue", every_seconds=LOOK_SECONDS)
