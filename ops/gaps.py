"""Gaps: records of a feed that retention took before a group had read them, and a person's word to go on (invariant 9).

The partition stands still and says so as an incident. Copying the feed anew brings back what was in the gap, so the request
for that (`mesh resync`, the directory's `resyncs`) is the word: from then on the group reads what is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from schemas.directory import Directory
from schemas.incident import Incidents

Mark = tuple[str | None, ...]


class Gaps:
    """`streams.run_thread.Lost` of one group. Called from the consumer's thread."""

    def __init__(self, group: str, directory: Callable[[], Directory], incidents: Incidents) -> None:
        self._group = group
        self._directory = directory
        self._incidents = incidents
        self._lock = threading.Lock()
        self._found: dict[tuple[str, int], Mark] = {}

    def __call__(self, topic: str, partition: int, first: int, left: int) -> bool:
        """See Lost."""
        with self._lock:
            source = self._source_of(topic)
            resyncs = self._directory().resyncs
            mark = (resyncs.get(topic), resyncs.get(source) if source else None)
            if self._found.setdefault((topic, partition), mark) == mark:
                reason = (
                    f"records {first} to {left - 1} of partition {partition} were removed before {self._group} read them;"
                    " the partition stands still there, all others flow"
                )
                fix = f"copy the feed anew: `mesh resync {source}`" if source else "read the feed's inputs anew"
                self._incidents.begin("feed", topic, state="stopped", reason=reason, fix=fix)
                return False
            del self._found[topic, partition]
            if not any(topic == other for other, _ in self._found):
                self._incidents.end("feed", topic)
            return True

    def _source_of(self, topic: str) -> str:
        """The source that the feed is captured from; empty where it is not captured."""
        directory = self._directory()
        entry = directory.feeds.get(topic)
        agency = directory.agencies.get(entry.contract.agency) if entry else None
        if entry is None or agency is None or agency.has_flow(entry.contract.source):
            return ""
        return f"{agency.agency}.{entry.contract.source}"
