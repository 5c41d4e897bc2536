"""Intake: from a committed change of a feed to messages for the subjects that it is evidence for.

Stateless: the row as it was tells which subjects it no longer speaks of. A message repeated after a crash carries the same
position and is refused by the fact it would replace, so at least once is enough here (invariant 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from schemas.change import Change, Op
from schemas.contract import Contract
from streams.engine.inbox.message import FACT, GONE, message_key, pack
from streams.operators.flow import Flow, Input, RejectedRow, Row, row_id

REJECTED = "!"
"""The kind of the pseudo-subject that stands for a row nobody can use; it publishes one item on the flow's queue."""

DAY_MICROS = 86_400_000_000
_BEIJING_MICROS = 8 * 3_600_000_000


class Outgoing(msgspec.Struct, frozen=True):
    """A message for the inbox. `key` without a subject goes to every partition."""

    key: bytes
    value: bytes


class Intake:
    """One flow's way in."""

    def __init__(self, flow: Flow, *, is_replay: bool = False) -> None:
        """`is_replay`: the rows' calendar is not that of their commits. The clock then goes by what rows say alone."""
        self._flow = flow
        self._is_replay = is_replay
        self._inputs: dict[str, list[Input]] = {}
        for entry in flow.inputs:
            self._inputs.setdefault(entry.feed, []).append(entry)
        self._readings: dict[int, InputReading] = {}  # by identity: the inputs live as long as the flow
        self.clock = 0
        """The newest event time seen so far, never later than the commit that told of it."""
        self.moved_ms = 0
        """The source's own commit that told of it, milliseconds."""
        self.reached: int | None = None
        """Where a past is replayed: how far on its calendar the last row came; None if such rows say nothing of time, 0 if none
        says when it was written, so that an earlier one may follow."""

    @property
    def name(self) -> str:
        """The flow's."""
        return self._flow.name

    @property
    def feeds(self) -> frozenset[str]:
        """The feeds that this flow reads."""
        return frozenset(self._inputs)

    def messages(self, change: Change, contract: Contract) -> Iterator[Outgoing]:
        """What a change means to the flow's subjects."""
        if change.op is Op.TRUNCATE:
            yield self.gone(change.feed, str(change.position))
            return
        yield from self.facts(
            contract, lambda: change.before, change.after, str(change.position), change.committed_at_ms
        )

    def gone(self, feed: str, position: str) -> Outgoing:
        """What a truncate means: every row of the feed up to this position is gone."""
        return Outgoing(message_key(self._flow.name, ""), pack([GONE, feed, position]))

    def facts(
        self,
        contract: Contract,
        before: Callable[[], Row | None],
        after: Row | None,
        position: str,
        committed_at_ms: int,
    ) -> list[Outgoing]:
        """What a row's change means. `before` is asked only where the row may have been evidence for others."""
        found: list[Outgoing] = []
        former: Row | None = None
        is_former_known = False
        for entry in self._inputs[contract.feed]:
            if not is_former_known and (after is None or not entry.stays):
                former, is_former_known = before(), True
            row = after if after is not None else former
            if row is not None:
                self._fact(found, self._reading(entry, contract), row, former, after, position, committed_at_ms)
        return found

    def _fact(
        self,
        found: list[Outgoing],
        reading: InputReading,
        row: Row,
        before: Row | None,
        after: Row | None,
        position: str,
        committed_at_ms: int,
    ) -> None:
        entry, feed = reading.entry, reading.contract.feed
        name = self._flow.name
        identity = row_id(row, reading.contract.key)
        dated = reading.dated(row)
        by_clock = committed_at_ms
        if self._is_replay:
            by_clock = self._replayed(row, reading, dated, committed_at_ms, is_gone=after is None)
        event_at = by_clock * 1000 if dated is None else dated
        if (reached := min(event_at, by_clock * 1000)) > self.clock:
            self.clock, self.moved_ms = reached, committed_at_ms
        apart = [] if by_clock == committed_at_ms else [by_clock]
        subjects: dict[str, Row | None] = {}
        if after is not None:
            subjects = _targets(self._flow, entry, after, feed, identity)
            kept = reading.kept(after)
            for subject, rejected in subjects.items():
                sent = rejected if rejected is not None else kept
                value = [FACT, feed, identity, position, event_at, committed_at_ms, sent, entry.keeps_history, *apart]
                found.append(Outgoing(message_key(name, subject), pack(value)))
        if before is None:
            return
        for subject in _targets(self._flow, entry, before, feed, identity).keys() - subjects.keys():
            value = [FACT, feed, identity, position, event_at, committed_at_ms, None, entry.keeps_history, *apart]
            found.append(Outgoing(message_key(name, subject), pack(value)))

    def _reading(self, entry: Input, contract: Contract) -> InputReading:
        reading = self._readings.get(id(entry))
        if reading is None or reading.contract is not contract:
            reading = self._readings[id(entry)] = InputReading(entry, contract)
        return reading

    def _replayed(
        self, row: Row, reading: InputReading, dated: int | None, committed_at_ms: int, *, is_gone: bool
    ) -> int:
        """The commit on the calendar of a past that is replayed, milliseconds: when the row was written, as it says itself.

        A row that goes says when it was written last: it went later. One that does not say it was written by now at the latest.
        """
        written = reading.written(row)
        if written is None:
            self.reached = 0 if reading.entry.event_time else None
            return max(self.clock, min(dated or 0, committed_at_ms * 1000)) // 1000
        self.reached = written = min(written, committed_at_ms * 1000)
        return max(written // 1000 + 1, self.clock // 1000) if is_gone else written // 1000


class InputReading:
    """How an input reads rows of one contract; worked out once. Moments are microseconds, None where a row has none."""

    def __init__(self, entry: Input, contract: Contract) -> None:
        self.entry = entry
        self.contract = contract
        kept = {*contract.key, *entry.columns}
        self._columns = tuple(name for name in contract.by_name if name in kept) if entry.columns else ()
        self._dated = entry.event_time
        self._date_scale = _scale_of(entry.event_time, contract)
        self._written = entry.written if entry.written in contract.by_name else None
        scale = _scale_of(self._written, contract)
        is_plain = self._written is not None and not contract.by_name[self._written].logical_type
        self._writing_scale = (1000, 0) if is_plain else scale  # a plain long is milliseconds

    def kept(self, row: Row) -> Row:
        """What of a row travels to its subjects."""
        if not self._columns:
            return row
        try:
            return {name: row[name] for name in self._columns}
        except KeyError:  # a record of before the contract had that column
            return {name: row[name] for name in self._columns if name in row}

    def dated(self, row: Row) -> int | None:
        """The row's business date or time."""
        return _scaled(row, self._dated, self._date_scale)

    def written(self, row: Row) -> int | None:
        """When its department says that it wrote the row."""
        return _scaled(row, self._written, self._writing_scale)


def _scaled(row: Row, column: str | None, scale: tuple[int, int]) -> int | None:
    value: Any = row.get(column) if column else None
    return value * scale[0] + scale[1] if isinstance(value, int) else None


def _scale_of(column: str | None, contract: Contract) -> tuple[int, int]:
    """By what a column's value is multiplied, and what is added, to be microseconds; a date is its midnight in Asia/Shanghai."""
    field = contract.by_name.get(column or "")
    match field and field.logical_type:
        case "date":
            return DAY_MICROS, -_BEIJING_MICROS
        case "timestamp-millis":
            return 1000, 0
        case "local-timestamp-micros":
            return 1, -_BEIJING_MICROS
        case _:
            return 1, 0


def _targets(flow: Flow, entry: Input, row: Row, feed: str, identity: str) -> dict[str, Row | None]:
    """The subjects of a row; a rejected row has the one pseudo-subject, whose fact says why instead of the row."""
    try:
        return dict.fromkeys(check_subject(flow, subject) for subject in entry.subjects(row))
    except RejectedRow as rejected:
        why = {"kind": rejected.kind, "detail": rejected.detail}
    except Exception as error:  # noqa: BLE001 - a row nobody foresaw waits in the queue; the others flow on
        why = {"kind": "NOT_UNDERSTOOD", "detail": type(error).__name__}
    return {f"{REJECTED}:{feed}|{identity}": why}


def check_subject(flow: Flow, subject: str) -> str:
    """The subject's key, if the flow can fold it. Raises ValueError otherwise."""
    kind, colon, identity = subject.partition(":")
    if kind not in flow.folds or not colon or not identity or "\0" in subject:
        raise ValueError(f"flow {flow.name} has no subjects of kind {kind!r}, or the key has no id")
    return subject


def feeds_of(flows: Sequence[Flow]) -> Mapping[str, tuple[Flow, ...]]:
    """Which flows read a feed."""
    found: dict[str, tuple[Flow, ...]] = {}
    for flow in flows:
        for feed in dict.fromkeys(entry.feed for entry in flow.inputs):
            found[feed] = (*found.get(feed, ()), flow)
    return found
