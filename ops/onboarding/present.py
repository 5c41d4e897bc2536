"""Present: what there is of sources, feeds, sinks and grants by the directory, and what ends with the rest.

Nobody is called for something that is gone: when a grant is revoked, a subscriber leaves or an agency is offboarded, its gauges leave
the pages of all processes within seconds, its health is judged no more, and its incidents end. One place does it for every
observer, whatever it still reports while it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.host.look_on import look_on
from ops.metrics.exporter import EXPORTER, Exporter
from schemas.agreement.directory import Directory
from schemas.incident import Incidents, Kind

LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Present:
    """Names by kind of thing, as incidents name them."""

    names: dict[str, frozenset[str]]

    @classmethod
    def of(cls, directory: Directory, now: datetime) -> Present:
        """What the directory has at this moment; of grants and their sinks, those that are active."""
        active = [entry.grant for entry in directory.grants.values() if entry.grant.is_active(now)]
        sources = {entry.contract.source_name for entry in directory.feeds.values()}
        sources |= {f"{code}.{source.name}" for code, agency in directory.agencies.items() for source in agency.sources}
        sources |= {slot.name for slot in directory.slots_due()}
        return cls(
            {
                "source": frozenset(sources),
                "feed": frozenset(directory.feeds),
                "grant": frozenset(grant.grant_id for grant in active),
                "sink": frozenset(f"{grant.subscriber}.{grant.sink}" for grant in active),
            }
        )

    def has(self, kind: str, name: str) -> bool:
        """Whether it is there; of other kinds, such as flows, the directory says nothing."""
        return kind not in self.names or name in self.names[kind]

    def without(self, later: Present) -> list[tuple[Kind, str]]:
        """What is here and is not there any more."""
        kinds: tuple[Kind, ...] = ("source", "feed", "grant", "sink")
        return [(kind, name) for kind in kinds for name in self.names[kind] - later.names[kind]]


class Tidy:
    """Takes what ended off the page of a process, and ends its incidents."""

    def __init__(
        self,
        directory: Callable[[], Directory],
        incidents: Incidents | None = None,
        exporter: Exporter = EXPORTER,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._incidents = incidents
        self._exporter = exporter
        self._now = now
        self._former: Present | None = None

    def look(self) -> None:
        """Compare with the directory once."""
        present = Present.of(self._directory(), self._now())
        self._exporter.keep_only(present.has)
        if self._incidents is not None and self._former is not None:
            for kind, name in self._former.without(present):
                self._incidents.end(kind, name)
        self._former = present


def tidying(tidy: Tidy, stop: threading.Event) -> threading.Thread:
    """Tidy in a thread of its own, which ends with `stop`."""
    return look_on(tidy.look, stop, name="tidy", every_seconds=LOOK_SECONDS)
