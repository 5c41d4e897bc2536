"""Arrival: the steps of an explanation behind the grant's cut: topic, acknowledgement, dead letters, what stands in the way."""

from __future__ import annotations

from collections.abc import Iterator

from ops.command.terminal import moment
from ops.grants.explaining.explanation import Look as Step
from ops.grants.explaining.explanation import Standing
from ops.grants.explaining.look import Found, Look, Place
from ops.kinds.sinks import SINKS
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Status
from schemas.change import Change
from schemas.errors import Rejected
from schemas.wire.codec import Codec
from sinks.kind import is_confirmed, is_read_itself


class Arrival:
    """What became of one row once it was cut, by one grant."""

    def __init__(self, directory: Directory, entry: GrantEntry, look: Look, codec: Codec) -> None:
        self._directory = directory
        self._entry = entry
        self._grant = entry.grant
        self._look = look
        self._codec = codec

    def steps(self, place: Place, change: Change, key: bytes, out_key: bytes, *, is_wanted: bool) -> Iterator[Step]:
        """`place` and `change` are the row's last in the feed; `is_wanted`: the grant lets it through."""
        delivered = self._look.in_topic(self._entry.topic, out_key, [place.partition])
        taken, acknowledged = self._look.confirmed(self._entry, place.partition)
        yield self._in_topic(place, change, delivered, taken, is_wanted=is_wanted)
        if delivered.last is not None:
            yield self._acknowledged(delivered.last, acknowledged)
        for letter in self._look.letters(self._entry, key, out_key):
            told, fix = letter.headers.get("mesh.errors.reason", ""), f"`mesh dlq show {letter.name}` says more"
            yield Step(name="dead letters 死信", standing="no", told=f"dead letter {letter.name}: {told}", fix=fix)
        yield from self._in_the_way(delivered.last, acknowledged)

    def _in_topic(self, place: Place, change: Change, delivered: Found, taken: int, *, is_wanted: bool) -> Step:
        name, topic = f"topic {self._entry.topic}", self._entry.topic
        behind = taken <= place.record.offset
        its = self._of_topic(delivered.change)
        if (
            is_wanted
            and its is not None
            and its.position >= change.position
            and not (delivered.last or place).is_removal
        ):
            assert delivered.change is not None
            at = f"{place.partition}@{delivered.change.record.offset}"
            return Step(name=name, standing="yes", told=f"has it as of that change, at {at}")
        if not is_wanted:
            if delivered.last is None or delivered.last.is_removal:
                reason = f", reason {its.headers['reason']}" if its is not None and "reason" in its.headers else ""
                told = f"removed from it{reason}" if delivered.last is not None else "never was in it"
                return Step(name=name, standing="yes", told=told)
            told = f"{topic} still has the row as it was before, and its removal is not there yet"
            return Step(name=name, standing="open", told=told)
        waits = "streams have not taken the change yet" if behind else self._waiting(place)
        has_earlier = delivered.change is not None and not (delivered.last or place).is_removal
        had = "an earlier state of the row" if has_earlier else "nothing of the row"
        return Step(
            name=name, standing="no", told=f"{topic} has {had}: {waits}", fix="`mesh status` shows the lag of streams"
        )

    def _waiting(self, place: Place) -> str:
        record = self._look.liveness(self._grant.grant_id, place.partition)
        if record is None or record["definition"] is None:
            return "its past is being delivered"
        if record["stopped_at"] is not None and record["stopped_at"] <= place.record.offset:
            is_suspended = self._entry.grant.status is Status.SUSPENDED
            since = "waits until it is resumed" if is_suspended else "is being delivered"
            return f"the grant was stopped at offset {record['stopped_at']}, and what came since {since}"
        return "it is on its way, or was compacted away; `mesh replay` or `mesh verify` tell"

    def _of_topic(self, place: Place | None) -> Change | None:
        try:
            return None if place is None else self._codec.change(self._grant.feed, place.record)
        except Rejected:
            return None

    def _acknowledged(self, last: Place, acknowledged: int) -> Step:
        name = "acknowledgement 确认"
        subscriber = self._directory.subscribers.get(self._grant.subscriber)
        sink = subscriber.sink(self._grant.sink) if subscriber else None
        if not is_confirmed(sink, SINKS):
            return Step(
                name=name, standing="open", told="the subscriber reads the topic itself and acknowledges nothing here"
            )
        is_over: Standing = "yes" if acknowledged > last.record.offset else "no"
        who = "its subscriber's group" if is_read_itself(sink, SINKS) else f"the sink {self._grant.sink}"
        told = f"{who} has acknowledged up to offset {acknowledged}, and the row is at {last.record.offset}"
        return Step(name=name, standing=is_over, told=told)

    def _in_the_way(self, last: Place | None, acknowledged: int) -> Iterator[Step]:
        """Incidents speak against a row only where it is not acknowledged."""
        is_over = last is not None and acknowledged > last.record.offset
        incidents = self._look.incidents(self._entry)
        for each in incidents:
            standing: Standing = "no" if each.is_standstill and not is_over else "yes"
            told = f"{each.kind} {each.name} is {each.state} since {moment(each.since)}: {each.reason}"
            yield Step(name="lane 通道", standing=standing, told=told, fix=each.fix)
        if not incidents:
            yield Step(name="lane 通道", standing="yes", told="nothing stands in its way")
