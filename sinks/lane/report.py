"""Lane report: what a lane tells of itself: what was delivered, how far behind it is, and whether and why it stands still."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from schemas.change import Batch, Record
from schemas.errors import MeshError, Rejected, Transient
from schemas.incident import Incidents, State
from schemas.wire.envelope import unframe
from schemas.wire.envelope_walk import Moment, moment_reader
from sinks.lane.notice import Notices
from sinks.sink import SinkSetup, TopicTrouble

logger = logging.getLogger(__name__)

SAMPLE_MAX = 32


class DeliveryObserver(Protocol):
    """What delivery tells whoever measures it. Called from every lane's thread."""

    def delivered(self, *, grant_id: str, count: int, size_bytes: int, latencies_seconds: Sequence[float]) -> None:
        """Durable at the subscriber. The latencies, commit to acknowledgement, are of a sample; snapshot rows have none."""
        ...

    def dead(self, *, grant_id: str, reason: str, count: int) -> None:
        """Gone to the dead letters."""
        ...

    def retried(self, *, subscriber: str, sink: str) -> None:
        """One more attempt was needed."""
        ...

    def lag(self, *, grant_id: str, seconds: float) -> None:
        """Age of the oldest change that is not yet durable; 0 when there is none."""
        ...

    def parked(self, *, subscriber: str, sink: str, is_parked: bool) -> None:
        """Whether the lane waits for a person, or for its target to come back."""
        ...

    def paused(self, *, grant_id: str, by: str) -> None:
        """What holds a grant's delivery on purpose: `person`, `quiet hours`, or nothing."""
        ...


class LaneReport:
    """One lane's. `grants` maps the `out` topics that it delivers now to the ids of their grants.

    Those that are `held` wait, for the reason that stands there: a person paused them, or it is quiet.
    """

    def __init__(
        self, setup: SinkSetup, observer: DeliveryObserver, incidents: Incidents, now: Callable[[], float]
    ) -> None:
        self.grants: Mapping[str, str] = {}
        self.held: Mapping[str, str] = {}
        self.name = f"{setup.subscriber}.{setup.sink.name}"
        self.group = f"sub.{self.name}"
        self._setup = setup
        self._observer = observer
        self._incidents = incidents
        self._now = now
        self.notices = Notices(incidents, now)
        self._moments: dict[int, Callable[[bytes], Moment]] = {}
        self._is_parked = False
        self._keys_wait = False
        self._standing: set[str] = set()
        self._idle_reported_at = 0.0

    def begun(self, *, stands_still: bool = False) -> None:
        """The lane begins to live; what stood of an earlier one is over, unless it stands still until a person resumes it."""
        self._is_parked = False
        if not stands_still:
            self._incidents.end("sink", self.name)
        self._tell_parked(is_parked=stands_still)

    def park(self, why: str, fix: str = "") -> None:
        """It stands still, for this reason."""
        self._stands_still("parked", why, fix)

    def unwell(self, error: MeshError, attempts: int, *, is_parked: bool) -> None:
        """Its target was tried so many times in a row and is unwell; `is_parked`: often enough that somebody should know."""
        if is_parked:
            self.park(error.problem, error.fix)
        elif attempts == 1:
            logger.warning("%s: tries again: %s", self.group, error)

    def stop(self, why: str) -> None:
        """Its receiver asked never to be called again: it stands still until a person resumes it."""
        fix = "give the sink its new address, or another signing key, and `mesh onboard` its subscriber; "
        fix += f"or, if the same receiver is back, `mesh subscription resume {self.name}`"
        self._stands_still("stopped", why, fix)

    def _stands_still(self, state: State, why: str, fix: str) -> None:
        self._incidents.begin("sink", self.name, state=state, reason=why, fix=fix)
        if not self._is_parked:
            self._is_parked = True
            logger.error("%s: %s: %s%s", self.group, state, why, f"\n  fix: {fix}" if fix else "")
            self._tell_parked(is_parked=True)

    def rests(self) -> None:
        """Nothing is to be delivered now, so nothing stands still."""
        for topic in list(self._standing):
            self.flows(topic)
        self.begun()

    def unpark(self) -> None:
        """It moves again."""
        if self._is_parked:
            self._is_parked = False
            logger.info("%s: delivers again", self.group)
            self._incidents.end("sink", self.name)
            self._tell_parked(is_parked=False)

    def keys_wait(self, count: int) -> None:
        """So many keys wait because of changes that are not taken while others are."""
        if count and not self._is_parked:
            reason = f"{count} keys wait: their changes are not taken, others are; they become dead letters in the end"
            self._incidents.begin("sink", self.name, state="waiting", reason=reason)
        elif self._keys_wait and not self._is_parked:
            self._incidents.end("sink", self.name)
        self._keys_wait = bool(count)

    def waits(self, topic: str, error: MeshError) -> None:
        """Changes of a topic wait for others."""
        self._standing.add(topic)
        reason = f"changes wait, and with them the later ones of their keys: {error.problem}"
        self._incidents.begin("grant", self.grant_of(topic), state="waiting", reason=reason, fix=error.fix)

    def stands(self, trouble: TopicTrouble, *, is_all: bool) -> None:
        """A topic is not delivered for now; `is_all`: nor is any other of this lane."""
        state = "waiting" if trouble.is_passing else "parked"
        if trouble.topic not in self._standing:
            logger.error("%s: %s is %s: %s", self.group, trouble.topic, state, trouble)
        self._standing.add(trouble.topic)
        name = self.grant_of(trouble.topic)
        self._incidents.begin("grant", name, state=state, reason=trouble.problem, fix=trouble.fix)
        if is_all:
            self.park(trouble.problem, trouble.fix)

    def flows(self, topic: str) -> None:
        """A topic that stood or waited is delivered again."""
        if topic in self._standing:
            self._standing.discard(topic)
            self._incidents.end("grant", self.grant_of(topic))
            logger.info("%s: %s is delivered again", self.group, topic)

    def retried(self) -> None:
        """One more attempt was needed."""
        self._observer.retried(subscriber=self._setup.subscriber, sink=self._setup.sink.name)

    def delivered(self, batches: Iterable[Batch]) -> None:
        """These are durable at the subscriber."""
        now = self._now()
        by_topic: dict[str, list[Batch]] = {}
        for batch in batches:
            by_topic.setdefault(batch.topic, []).append(batch)
        for topic, of_topic in by_topic.items():
            changes = [record for batch in of_topic for record in batch.records if record.value is not None]
            if not changes:
                continue
            step = -(-len(changes) // SAMPLE_MAX)
            moments = [moment for record in changes[::step] if (moment := self.moment(record)) is not None]
            latencies = [max(0.0, now - moment.committed_at_ms / 1000) for moment in moments if moment.op != b"r"]
            size = sum(len(record.value or b"") + len(record.key or b"") for record in changes)
            grant_id = self.grant_of(topic)
            self._observer.delivered(
                grant_id=grant_id, count=len(changes), size_bytes=size, latencies_seconds=latencies
            )
            if latencies:
                self._observer.lag(grant_id=grant_id, seconds=latencies[-1])

    def behind(self, batches: Iterable[Batch]) -> None:
        """These wait; the first of each is the oldest."""
        now = self._now()
        for batch in batches:
            first = next((record for record in batch.records if record.value is not None), None)
            if first is not None and (moment := self.moment(first)) is not None:
                seconds = max(0.0, now - moment.committed_at_ms / 1000)
                self._observer.lag(grant_id=self.grant_of(batch.topic), seconds=seconds)

    def caught_up(self, *, has_partitions: bool, behind: Collection[str] = ()) -> None:
        """There is nothing to deliver, but for what waits of the topics `behind`."""
        self.keys_wait(0)
        if has_partitions and not behind:
            self.unpark()  # it could start
        if (now := self._now()) - self._idle_reported_at >= 1:
            self._idle_reported_at = now
            for grant_id in [grant_id for topic, grant_id in self.grants.items() if topic not in behind]:
                self._observer.lag(grant_id=grant_id, seconds=0.0)

    def dead(self, batch: Batch, error: Rejected) -> None:
        """The change is among the dead letters."""
        self._observer.dead(grant_id=self.grant_of(batch.topic), reason=error.reason, count=1)
        place = (batch.topic, batch.partition, batch.records[0].offset)
        logger.warning("%s: %s [%d] %d is a dead letter: %s", self.group, *place, error.reason)

    def moment(self, record: Record) -> Moment | None:
        """When and where in its source a change was committed; None where it cannot be read."""
        try:
            schema_id = unframe(record.value or b"")[0]
            read = self._moments.get(schema_id)
            if read is None:
                read = self._moments[schema_id] = moment_reader(self._setup.schema_of(schema_id))
            return read(record.value or b"")
        except (Rejected, Transient, KeyError):
            return None  # a record that cannot be read has no time; its fate is told elsewhere

    def grant_of(self, topic: str) -> str:
        """The id of the grant that an `out` topic carries."""
        return self.grants.get(topic, topic.removeprefix("out."))

    def _tell_parked(self, *, is_parked: bool) -> None:
        self._observer.parked(subscriber=self._setup.subscriber, sink=self._setup.sink.name, is_parked=is_parked)
