"""Endings at a lane: what its grants delivered is taken back, and confirmed, once they are over (schemas/agreement/ending.py).

A sink that holds rows removes them itself (`Ender`), in one transaction with the mark that nothing of the topic is taken any more.
Any other is given one record, op `t` with the reason GRANT_ENDED, by which its subscriber learns that everything the grant
delivered is to go, or may be kept where the grant says so. Delivery may be killed anywhere in between: an end that is not
on record as confirmed is applied again, which changes nothing.

It departs from `next_move`: an end is no change, so what refuses it makes no dead letter and stops no lane. It is told, and the
end is tried again every AGAIN_SECONDS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from schemas.agreement.ending import GRANT_ENDED, Ending
from schemas.agreement.grant import AtEnd
from schemas.change import Batch, Record
from schemas.errors import Fenced, MeshError, Transient
from schemas.incident import Incidents, State
from schemas.position import Position
from schemas.wire.codec import Codec
from schemas.wire.schema import SchemaOf
from sinks.kind import SinkKind
from sinks.sink import AnsweringSink, Gone, Sink

AGAIN_SECONDS = 15.0
OUTSIDE = -1
"""The partition number of a record that stands on no topic."""

Acknowledge = Callable[[Ending, int | None], None]

logger = logging.getLogger(__name__)


@runtime_checkable
class Ender(Protocol):
    """A sink that holds rows, and takes back what a topic delivered, or a part of it."""

    def end(self, ending: Ending) -> int | None:
        """Remove it all, or see that nothing more comes where rows are kept; how many rows went. Changes nothing twice."""
        ...

    def narrow(self, topic: str, value_schema_id: int) -> None:
        """Have no columns but those of this schema, also where records of an earlier one are still to come."""
        ...

    def lost_ends(self, topics: Collection[str]) -> Collection[str]:
        """Those of these topics whose end it was told of and does not know any more: its backup is from before."""
        ...


class Endings:
    """What one lane has to take back. `due`, `past` and `schemas` come from another thread.

    `past` are ends that were confirmed: a database that is restored from a backup may have their rows again. `schemas` has the
    present value schema of each topic.
    """

    def __init__(self, schema_of: SchemaOf, acknowledge: Acknowledge, incidents: Incidents) -> None:
        self._codec = Codec(schema_of)
        self._acknowledge = acknowledge
        self._incidents = incidents
        self._done: set[str] = set()
        self._again_at: dict[str, float] = {}
        self._unwell: set[str] = set()
        self._narrowed: dict[str, int] = {}
        self._known: dict[str, int] = {}
        self._sink: Sink | AnsweringSink | None = None
        self._looked_back_at = float("-inf")
        self.due: Sequence[Ending] = ()
        self.past: Sequence[Ending] = ()
        self.schemas: Mapping[str, tuple[str, int]] = {}

    def has_work(self, kind: SinkKind) -> bool:
        """Whether something may have to be taken back: a reason to call a target that is delivered nothing now."""
        is_wider = kind.keeps_rows and any(
            self._known.get(topic) != schema_id for topic, (_, schema_id) in self.schemas.items()
        )
        return is_wider or any(ending.topic not in self._done for ending in self.due)

    def look(self, sink: Sink | AnsweringSink, now: float, at: float | None = None) -> None:
        """Apply what is due. What cannot be applied says so and holds up no other grant. Raises Transient, Fenced and Gone.

        `now` is in Unix seconds, `at` in those of a clock that only goes forward.
        """
        at = now if at is None else at
        if sink is not self._sink:
            self._sink = sink
            self._narrowed = {}
            self._looked_back_at = float("-inf")
        if isinstance(sink, Ender):
            self._look_back(sink, at)
            for topic, (grant_id, schema_id) in self.schemas.items():
                if self._narrowed.get(topic) != schema_id and at >= self._again_at.get(topic, 0.0):
                    self._attempt(
                        grant_id, topic, at, partial(self._narrow, sink, topic, schema_id), "has fewer columns now"
                    )
        for ending in self.due:
            if ending.topic not in self._done and at >= self._again_at.get(ending.topic, 0.0):
                what = f"is over ({ending.reason})"
                self._attempt(ending.grant_id, ending.topic, at, partial(self._end, sink, ending, now), what)

    def _look_back(self, sink: Ender, now: float) -> None:
        """See whether what was taken back stays away. What else is wrong with the target, the next write tells."""
        if now < self._looked_back_at + AGAIN_SECONDS:
            return
        self._looked_back_at = now
        try:
            lost = sink.lost_ends([ending.topic for ending in self.past])
        except Fenced:
            raise
        except MeshError:
            return
        self._narrowed = {}
        for ending in [ending for ending in self.past if ending.topic in lost]:
            what = f"is over ({ending.reason})"
            self._attempt(ending.grant_id, ending.topic, now, partial(self._end_again, sink, ending), what)

    def _attempt(self, grant_id: str, topic: str, now: float, act: Callable[[], None], what: str) -> None:
        try:
            act()
        except (Transient, Fenced) as error:
            reason = f"{what}; its subscriber does not confirm that yet: {error.problem}"
            self._begin(grant_id, "waiting", reason, error.fix)
            if not isinstance(self._sink, AnsweringSink):
                raise
            self._again_at[topic] = now + AGAIN_SECONDS
        except Gone:
            raise  # who asks never to be called again is not told of ends either, until a person resumes it
        except MeshError as error:
            reason = f"{what}, but what it may no longer have could not be removed: {error.problem}"
            self._begin(grant_id, "stopped", reason, error.fix)
            logger.error("grant %s %s", grant_id, reason)  # noqa: TRY400  -- the text says all
            self._again_at[topic] = now + AGAIN_SECONDS
        else:
            if grant_id in self._unwell:
                self._unwell.discard(grant_id)
                self._incidents.end("grant", grant_id)

    def _begin(self, grant_id: str, state: State, reason: str, fix: str) -> None:
        self._unwell.add(grant_id)
        self._incidents.begin("grant", grant_id, state=state, reason=reason, fix=fix)

    def _narrow(self, sink: Ender, topic: str, schema_id: int) -> None:
        sink.narrow(topic, schema_id)
        self._narrowed[topic] = self._known[topic] = schema_id

    def _end(self, sink: Sink | AnsweringSink, ending: Ending, now: float) -> None:
        removed = self._apply(sink, ending, now)
        self._acknowledge(ending, removed)
        self._done.add(ending.topic)
        rows = "the subscriber's side confirms it" if removed is None else f"{removed} rows removed"
        logger.info("grant %s is over (%s): %s", ending.grant_id, ending.reason, rows)

    def _end_again(self, sink: Ender, ending: Ending) -> None:
        """Nothing is confirmed anew where nothing had come back, as in an empty database."""
        removed = sink.end(ending)
        if removed:
            self._acknowledge(ending, removed)
            text = "grant %s is over (%s): %d rows that had come back with a backup are removed again"
            logger.warning(text, ending.grant_id, ending.reason, removed)

    def _apply(self, sink: Sink | AnsweringSink, ending: Ending, now: float) -> int | None:
        if isinstance(sink, Ender):
            return sink.end(ending)
        if isinstance(sink, AnsweringSink):
            message = sink.message(ending.topic, ending_record(self._codec, ending, now))
            if message is not None and (error := sink.send([message])) is not None:
                raise error
            return None
        sink.write([Batch(topic=ending.topic, partition=OUTSIDE, records=[ending_record(self._codec, ending, now)])])
        return None


def ending_record(codec: Codec, ending: Ending, now: float) -> Record:
    """What tells a subscriber that a grant is over: an envelope of op `t` in the schema of its topic, with the reason GRANT_ENDED."""
    envelope = {
        "before": None,
        "after": None,
        "source": {
            "version": "",
            "connector": "pearlmesh",
            "name": ending.subscriber,
            "ts_ms": int(now * 1000),
            "snapshot": None,
            "db": "",
            "sequence": str(Position(0, 0, 0)),
            "schema": None,
            "table": ending.topic,
            "txId": None,
            "lsn": None,
            "file": None,
            "pos": None,
            "gtid": None,
        },
        "op": "t",
        "ts_ms": None,
        "transaction": None,
        "unchanged": None,
        "dq": None,
    }
    value = codec.encode(ending.value_schema_id, envelope)
    at_end = b"kept" if ending.at_end is AtEnd.KEEP else b"removed"
    headers = [
        ("grant_id", ending.grant_id.encode()),
        ("purpose", ending.purpose.encode()),
        ("reason", GRANT_ENDED.encode()),
        ("rows", at_end),
    ]
    return Record(0, b"", value, headers, 0)
