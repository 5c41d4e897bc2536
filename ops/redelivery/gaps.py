"""Gaps: records of a feed that retention took before a group had read them, and a person's word to go on (invariant 9).

The partition stands still and says so as an incident. What was in the gap comes again when the feed is copied anew, a derived one
when what it is made from is; so the request for that (`mesh resync`, the directory's `resyncs`) is the word: from then on the group
reads what is left. A request also counts when it was made while the group's process was down: it came after the gap was told,
or after the first of the records that are left, behind which its copy then stands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from ops.watch.incidents import read
from schemas.agreement.directory import Directory
from schemas.errors import MeshError
from schemas.feed import FLOW_INBOX
from schemas.incident import Incident, Incidents, key_of
from schemas.log.kafka import Kafka
from schemas.log.range import read_range

if TYPE_CHECKING:
    from streams.operators.flow import Flow

ANSWERS_WITHIN_SECONDS = 5.0
LOOKED_THROUGH = 1_000
"""Offsets in which the first record that is left is looked for: transactions leave marks that are none."""
Mark = tuple[str | None, ...]

Written = Callable[[str, int, int], datetime | None]
"""Topic, partition, offset: when the first record from there on was written; None where there is none."""


def untold() -> Mapping[str, Incident]:
    """The incidents that stand, for whoever has none."""
    return {}


def undated(_topic: str, _partition: int, _offset: int) -> datetime | None:
    """A `Written` for whoever cannot ask."""
    return None


class Gaps:
    """`streams.worker.run_thread.Lost` of one group. Called from the consumer's thread.

    `told` gives the incidents that stand, by key; both it and `written` may raise MeshError.
    """

    def __init__(
        self,
        group: str,
        directory: Callable[[], Directory],
        incidents: Incidents,
        *,
        flows: Callable[[], Sequence[Flow]] = tuple,
        told: Callable[[], Mapping[str, Incident]] = untold,
        written: Written = undated,
    ) -> None:
        self._group = group
        self._directory = directory
        self._incidents = incidents
        self._flows = flows
        self._told = told
        self._written = written
        self._lock = threading.Lock()
        self._found: dict[tuple[str, int], Mark] = {}

    def __call__(self, topic: str, partition: int, first: int, left: int) -> bool:
        """See Lost."""
        with self._lock:
            sources = self._sources_of(topic)
            mark = self._mark(topic, sources)
            place = (topic, partition)
            if place not in self._found:
                self._found[place] = mark
                is_accepted = self._is_asked_since(topic, partition, left, sources)
            else:
                is_accepted = self._is_new(mark, self._found[place])
            if not is_accepted:
                reason = (
                    f"records {first} to {left - 1} of partition {partition} were removed before {self._group} read them;"
                    " the partition stands still there, all others flow"
                )
                self._incidents.begin("feed", topic, state="stopped", reason=reason, fix=self._fix(topic, sources))
                return False
            del self._found[place]
            if not any(topic == other for other, _ in self._found):
                self._incidents.end("feed", topic)
            return True

    def _mark(self, topic: str, sources: Sequence[str]) -> Mark:
        resyncs = self._directory().resyncs
        return (resyncs.get(topic), *(resyncs.get(source) for source in sources))

    def _is_new(self, mark: Mark, former: Mark) -> bool:
        """Whether the feed itself, or all that it comes from, was asked for since."""
        if len(mark) != len(former):
            return False
        news = [now is not None and now != then for now, then in zip(mark, former, strict=True)]
        return news[0] or (len(news) > 1 and all(news[1:]))

    def _is_asked_since(self, topic: str, partition: int, left: int, sources: Sequence[str]) -> bool:
        """Whether a request counts that was made before this process saw the gap."""
        asked, *others = map(_moment, self._mark(topic, sources))
        came_by = asked or (min(each for each in others if each) if others and all(others) else None)
        if came_by is None:
            return False
        try:
            standing = self._told().get(key_of("feed", topic))
            known = standing.since if standing is not None and standing.state == "stopped" else None
            remaining = self._written(topic, partition, left)
        except MeshError:
            return False  # it stands still, and another request counts in any case
        return any(moment is not None and came_by > moment for moment in (known, remaining))

    def _fix(self, topic: str, sources: Sequence[str]) -> str:
        commands = ", ".join(f"`mesh resync {source}`" for source in sources)
        if not commands:
            return f"onboard what {topic} comes from, then copy that anew: `mesh status` lists sources and feeds"
        if len(sources) == 1 and self._directory().is_captured(topic):
            return f"copy the feed anew: {commands}"
        return (
            f"copy anew what it is made from: {commands}; rows that were removed in the gap go when a grant is given again:"
            " `mesh grant <grant> REVOKED`, then `mesh grant <grant> ACTIVE`"
        )

    def _sources_of(self, topic: str) -> tuple[str, ...]:
        """The sources that a feed is captured from, or a derived one is made from in the end; every one for the flows' inbox."""
        directory = self._directory()
        feeds = directory.feeds
        found: set[str] = set()
        seen: set[str] = set()
        open_ = [topic]
        while open_:
            name = open_.pop()
            if name in seen:
                continue
            seen.add(name)
            if directory.is_captured(name):
                found.add(feeds[name].contract.source_name)
                continue
            makers = [flow for flow in self._flows() if name in flow.outputs or name == FLOW_INBOX]
            open_ += [each.feed for flow in makers for each in flow.inputs if each.feed in feeds]
        return tuple(sorted(found))


def gaps_on(kafka: Kafka, group: str, directory: Callable[[], Directory], incidents: Incidents) -> Gaps:
    """A group's gaps on the mesh's broker."""
    told, written = partial(read, kafka, within_seconds=ANSWERS_WITHIN_SECONDS), partial(_written, kafka)
    return Gaps(group, directory, incidents, flows=_flows, told=told, written=written)


def _flows() -> Sequence[Flow]:
    from streams.flows import FLOWS  # noqa: PLC0415  only a gap asks, and what serves grants runs no flow

    return FLOWS


def _written(kafka: Kafka, topic: str, partition: int, offset: int) -> datetime | None:
    """See Written."""
    for batch in read_range(kafka, topic, partition, offset, offset + LOOKED_THROUGH):
        return datetime.fromtimestamp(batch.records[0].timestamp_ms / 1000, UTC)
    return None


def _moment(request: str | None) -> datetime | None:
    """When a request was made (ops/onboarding/resync.py)."""
    try:
        moment = datetime.fromisoformat((request or "").partition(" ")[0])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
