"""A stated source without a broker: what it writes is kept in memory, confirmed as the log would, and folded as a sink would."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from producers.kind import SourceKind
from producers.source import MemoryProgress, SourceSetting
from schemas.agreement.agency import Agency, SourceConfig
from schemas.agreement.directory import FeedEntry
from schemas.change import Change, Op, Record
from schemas.contract import Contract
from schemas.guard.entrance import LOOPBACK_ALONE
from schemas.incident import Incident, MemoryIncidents, key_of
from schemas.wire.codec import Codec
from tests.stage.capturing import Schemas, Seen


class Killed(Exception):
    """The process died here."""


class Stating:
    """One source of agency `gov` and its feeds. `records` is the log: all that was ever appended."""

    def __init__(self, kind: SourceKind, address: str, state: Path, **options: Any) -> None:
        self.kind, self.address, self.state, self.options = kind, address, state, options
        self.schemas = Schemas()
        self.codec = Codec(self.schemas.of)
        self.feeds: Mapping[str, FeedEntry] = {}
        self.progress = MemoryProgress()
        self.incidents = MemoryIncidents()
        self.resyncs: dict[str, str] = {}
        self.entrance = LOOPBACK_ALONE
        self.records: list[Any] = []

    def add(self, agreed: Contract) -> None:
        self.feeds = {**self.feeds, agreed.feed: self.schemas.entry(agreed, partitions=1)}

    def setting(self) -> SourceSetting:
        config = SourceConfig(name="main", kind="any", options=self.options)
        feeds = self.feeds
        return SourceSetting(
            agency=Agency(agency="gov", name="gov", sources=(config,)),
            config=config,
            address=self.address,
            feeds=lambda: feeds,
            progress=self.progress,
            observer=Seen(),
            incidents=self.incidents,
            resyncs=lambda: self.resyncs,
            state=self.state,
            entrance=lambda: self.entrance,
        )

    def run(self, until: Callable[[], Any], *, dies_after: int | None = None, confirms: bool = True) -> None:
        """Capture until the condition holds; or die once so many records were appended, without a goodbye."""
        assert self.kind.open
        source: Any = self.kind.open(self.setting())
        deadline, appended = time.monotonic() + 60, 0
        try:
            for batch in source.batches():
                for record in batch.records:
                    self.records.append(record)
                    appended += 1
                    if dies_after is not None and appended >= dies_after:
                        raise Killed
                for _, mark in batch.marks:
                    if confirms:
                        source.confirm(mark)
                if until():
                    break
                assert time.monotonic() < deadline, "the condition does not come"
        except Killed:
            source._teller.close()  # as the system does for a process that has died
            source._lock.close()
            return
        source.close()

    def changes(self, feed: str) -> list[Change]:
        found = [Record(0, key, value, headers, 0) for topic, key, value, _, headers in self.records if topic == feed]
        return [change for record in found if (change := self.codec.change(feed, record)) is not None]

    def letters(self, feed: str) -> list[tuple[bytes, dict[str, str]]]:
        return [
            (value, {name: text.decode() for name, text in headers})
            for topic, _, value, _, headers in self.records
            if topic == f"dlq.{feed}"
        ]

    def fold(self, feed: str) -> dict[Any, Mapping[str, Any]]:
        """The rows by key, each record guarded by its position: a resend changes nothing."""
        rows: dict[Any, tuple[Any, Any]] = {}
        for change in self.changes(feed):
            if change.op is Op.TRUNCATE:
                rows = {key: row for key, row in rows.items() if row[0] > change.position}
                continue
            [key] = change.key.values()
            if key not in rows or rows[key][0] < change.position:
                rows[key] = (change.position, change.after)
        return {key: after for key, (_, after) in rows.items() if after is not None}

    def incident(self, feed: str) -> Incident | None:
        return self.incidents.present().get(key_of("feed", feed))

    def place(self, feed: str) -> Mapping[str, Any]:
        record = self.progress.load("gov.main") or {"feeds": {}}
        return record["feeds"].get(feed, {})
