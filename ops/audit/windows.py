"""Windows: what was delivered by each grant, for what and to whom: a line of the audit for each hour in which something was.

A window is a run of offsets of the grant's topic, up to where the subscriber's group had confirmed it as the window was closed: by
the clock, or as its grant ends. How far the lines have come stands on `mesh.delivered`, and is written in one transaction with them:
whatever is killed when, and however many processes look, each window is in the audit once and the runs of a topic tile. What is
delivered again because somebody asks has a line of its own, that of the replay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.audit.audited_log import Act, AuditedLog
from ops.host.look_on import look_on
from ops.trust.audit import audit
from ops.watch.lag import delivery_group
from ops.watch.offsets.confirmed import Confirmed
from schemas.agreement.directory import Directory, GrantEntry
from schemas.change import Partition
from schemas.feed import DELIVERED
from schemas.log.control.records import Append, publish
from schemas.log.control.store import ControlReader
from schemas.log.kafka import Kafka

WINDOW_SECONDS = 3600
LOOK_SECONDS = 5.0
OVER_SECONDS = 60.0
WITHIN_SECONDS = 30.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivered:
    """Whose topic it is, and up to where its deliveries are in the audit; `at` is when the last window ended."""

    topic: str
    grant_id: str
    purpose: str
    subscriber: str
    sink: str
    feed: str
    to: Mapping[str, int]
    at: str = ""

    @classmethod
    def of(cls, entry: GrantEntry, known: Mapping[str, Any]) -> _Delivered:
        grant = entry.grant
        return cls(
            topic=entry.topic,
            grant_id=grant.grant_id,
            purpose=grant.purpose,
            subscriber=grant.subscriber,
            sink=grant.sink,
            feed=grant.feed,
            to=known.get("to", {}),
            at=known.get("at", ""),
        )

    def to_json(self) -> dict[str, Any]:
        named = ("grant_id", "purpose", "subscriber", "sink", "feed", "to", "at")
        return {name: getattr(self, name) for name in named}

    @property
    def group(self) -> str:
        return delivery_group(self.subscriber, self.sink)


class DeliveryWindows:
    """In every delivery process."""

    def __init__(self, kafka: Kafka, directory: Callable[[], Directory], log: AuditedLog) -> None:
        self._directory = directory
        self._log = log
        self._reader = ControlReader(kafka, DELIVERED)
        self._confirmed = Confirmed(kafka)
        self._lock = threading.Lock()
        self._closed = set[str]()
        """Topics whose end is confirmed and in the audit: nothing more is delivered of them."""

    def look(self, now: datetime) -> None:
        """Close the windows that are due. Raises MeshError; what was not written is at the next look."""
        with self._lock:
            known = self._reader.all()
            due = self._due(known, now)
            confirmed = self._confirmed.of({each.group for each in due}) if due else {}
            act = Act()
            closed: list[str] = []
            for each in due:
                runs = _runs(each, confirmed[each.group])
                if runs:
                    closed.append(each.topic)
                    _close(each, runs, now, act.append)
                elif self._is_long_over(each.topic, now):
                    self._closed.add(each.topic)

            def is_as_before() -> bool:
                present = self._reader.all()
                return all(present.get(topic) == known.get(topic) for topic in closed)

            if closed:
                self._log.write(act, WITHIN_SECONDS, is_as_before)

    def _due(self, known: Mapping[str, Any], now: datetime) -> list[_Delivered]:
        """Topics of which nothing is written yet, whose window is over, or whose grant or edition is."""
        directory, present = self._directory(), set[str]()
        due: list[_Delivered] = []
        for entry in directory.grants.values():
            present.add(entry.topic)
            each = _Delivered.of(entry, known.get(entry.topic, {}))
            if entry.grant.is_active(now):
                self._closed.discard(entry.topic)
            if not entry.grant.is_active(now) or not each.at or _is_over(each.at, now):
                due.append(each)
        due += [_Delivered(topic=topic, **record) for topic, record in known.items() if topic not in present]
        return [each for each in due if each.topic not in self._closed]

    def _is_long_over(self, topic: str, now: datetime) -> bool:
        """Whether its end was confirmed so long ago that the group has heard of the last delivery."""
        ending = self._directory().endings.get(topic)
        confirmed_at = ending.acknowledged_at if ending is not None else None
        return confirmed_at is not None and (now - confirmed_at).total_seconds() > OVER_SECONDS

    def run(self, stop: threading.Event) -> None:
        """Look every few seconds until `stop`, in a thread of its own."""
        look_on(lambda: self.look(datetime.now(UTC)), stop, name="delivered", every_seconds=LOOK_SECONDS)


def _is_over(at: str, now: datetime) -> bool:
    closed = datetime.fromisoformat(at).timestamp()
    return closed // WINDOW_SECONDS < now.timestamp() // WINDOW_SECONDS


def _runs(each: _Delivered, confirmed: Mapping[Partition, int]) -> dict[str, tuple[int, int]]:
    """By partition from where to where it was confirmed since."""
    runs: dict[str, tuple[int, int]] = {}
    for (topic, number), offset in sorted(confirmed.items()):
        start = each.to.get(str(number), 0)
        if topic == each.topic and offset > start:
            runs[str(number)] = (start, offset)
    return runs


def _close(each: _Delivered, runs: Mapping[str, tuple[int, int]], now: datetime, append: Append) -> None:
    at = now.isoformat()
    to = {**each.to, **{number: end for number, (_, end) in runs.items()}}
    publish(append, DELIVERED, each.topic, {**each.to_json(), "to": to, "at": at})
    audit(
        append,
        "delivered",
        each.grant_id,
        purpose=each.purpose,
        subscriber=each.subscriber,
        sink=f"{each.subscriber}.{each.sink}",
        feed=each.feed,
        topic=each.topic,
        since=each.at or None,
        until=at,
        offsets={number: list(run) for number, run in runs.items()},
        records=sum(end - start for start, end in runs.values()),
    )
