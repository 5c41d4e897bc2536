"""Capture: every source of every agency, each in a thread of its own, into the log.

For each source: read a batch, append it, and once the log has acknowledged what belongs to a mark, confirm that mark
(invariant 1; producers/run.py). What one source fails of is that source's (producers/work.py): the others flow on (invariant 8).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from producers.kind import SourceKind
from producers.release import Releases
from producers.run import SETTLE_SECONDS
from producers.setting import CaptureObserver, CaptureSetting
from producers.source import CaptureLedger, NoCaptureLedger, SourceProgress
from producers.work import LOOK_SECONDS, SourceWork
from schemas.agreement.directory import Directory
from schemas.agreement.offboarding import Offboarding
from schemas.gathering import Gathering
from schemas.guard.entrance import LOOPBACK_ALONE, Entrance
from schemas.incident import Incidents, MemoryIncidents
from schemas.log.writer import Log

GATHERING = Gathering(least_seconds=0.001)
"""Many sources of a process together wake about 250 times a second. A server that holds many databases wakes every one of its
walsenders at each commit in any of them, and each then sends a keepalive: 17 databases at 1,500 commits a second made 15,000 context
switches a second, and half a core of them."""


def _keep_no_record(_done: Offboarding) -> None:
    """For a capture that runs by itself."""


class Capture:
    """Hop 1. `kinds` maps the name of a source's kind to it; `only` limits the work to sources named `<agency>.<source>`.

    `directory` returns the present Directory, the same object while nothing has changed; `address_of(agency, source)` the
    secret address, raising Misconfigured where there is none. `released` keeps that a source gave back what it held after its
    last feed (producers/release.py). `state` is where sources may keep rows on disk, `entrance` how
    others enter servers that they open.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        address_of: Callable[[str, str], str],
        log: Log,
        progress: SourceProgress,
        observer: CaptureObserver,
        kinds: Mapping[str, SourceKind],
        only: Collection[str] | None = None,
        incidents: Incidents | None = None,
        released: Callable[[Offboarding], None] = _keep_no_record,
        ledger: CaptureLedger | None = None,
        state: Path | None = None,
        entrance: Callable[[], Entrance] = lambda: LOOPBACK_ALONE,
    ) -> None:
        self._setting = CaptureSetting(
            directory=directory,
            address_of=address_of,
            log=log,
            progress=progress,
            observer=observer,
            kinds=kinds,
            incidents=incidents or MemoryIncidents(),
            pause_seconds=self._pause_seconds,
            ledger=ledger or NoCaptureLedger(),
            state=state,
            entrance=entrance,
        )
        self._only = only
        self._releases = Releases(self._setting, released)
        self._threads: dict[str, threading.Thread] = {}

    def _pause_seconds(self) -> float:
        """How long a source lets changes gather, by how many share this process."""
        return GATHERING.seconds(len(self._threads))

    def run(self, stop: threading.Event) -> None:
        """Capture until `stop` is set."""
        ending = threading.Event()
        seen: Directory | None = None
        try:
            while not stop.wait(LOOK_SECONDS if seen else 0):
                directory = self._setting.directory()
                if directory is not seen or not all(thread.is_alive() for thread in self._threads.values()):
                    seen = directory
                    self._begin(directory, ending)
        finally:
            ending.set()
            for thread in self._threads.values():
                thread.join(SETTLE_SECONDS * 3)

    def _begin(self, directory: Directory, ending: threading.Event) -> None:
        """Start a thread for every source that has feeds, or still holds a slot, and none yet; ended ones are forgotten."""
        self._threads = {name: thread for name, thread in self._threads.items() if thread.is_alive()}
        with_feeds = {(entry.contract.agency, entry.contract.source) for entry in directory.feeds.values()}
        wanted = {
            f"{agency.agency}.{config.name}"
            for agency in directory.agencies.values()
            for config in agency.sources
            if not config.is_flow and (agency.agency, config.name) in with_feeds
        }
        for name in sorted(wanted.union(self._releases.due()) - self._threads.keys()):
            if self._only is None or name in self._only:
                agency, _, source = name.partition(".")
                work = SourceWork(self._setting, self._releases, agency, source, ending)
                self._threads[name] = threading.Thread(target=work.run, name=f"capture {name}", daemon=True)
                self._threads[name].start()
