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
from streams.operators.flow import Flow, Input, Row, Unfit, row_id

UNFIT = "!"
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
        self._keeping: dict[int, frozenset[str]] = {}  # by identity: the inputs live as long as the flow
        self.clock = 0
        """The newest event time seen so far, never later than the commit that told of it."""
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
    ) -> Iterator[Outgoing]:
        """What a row's change means. `before` is asked only where the row may have been evidence for others."""
        former: Row | None = None
        is_former_known = False
        for entry in self._inputs[contract.feed]:
            if not is_former_known and (after is None or not entry.stays):
                former, is_former_known = before(), True
            yield from self._facts(contract, entry, former, after, position, committed_at_ms)

    def _facts(
        self,
        contract: Contract,
        entry: Input,
        before: Row | None,
        after: Row | None,
        position: str,
        committed_at_ms: int,
    ) -> Iterator[Outgoing]:
        row = after if after is not None else before
        if row is None:
            return
        name, feed = self._flow.name, contract.feed
        identity = row_id(row, contract.key)
        dated = moment_of(row, entry.event_time, contract)
        by_clock = committed_at_ms
        if self._is_replay:
            by_clock = self._replayed(row, entry, contract, dated, committed_at_ms, is_gone=after is None)
        event_at = by_clock * 1000 if dated is None else dated
        self.clock = max(self.clock, min(event_at, by_clock * 1000))
        apart = [] if by_clock == committed_at_ms else [by_clock]
        subjects = _targets(self._flow, entry, after, feed, identity) if after is not None else {}
        if after is not None:
            if entry.columns:
                keep = self._kept(entry, contract)
                after = {column: value for column, value in after.items() if column in keep}
            for subject, unfit in subjects.items():
                sent = unfit if unfit is not None else after
                value = [FACT, feed, identity, position, event_at, committed_at_ms, sent, entry.keeps_history, *apart]
                yield Outgoing(message_key(name, subject), pack(value))
        if before is None:
            return
        for subject in _targets(self._flow, entry, before, feed, identity).keys() - subjects.keys():
            value = [FACT, feed, identity, position, event_at, committed_at_ms, None, entry.keeps_history, *apart]
            yield Outgoing(message_key(name, subject), pack(value))

    def _replayed(
        self, row: Row, entry: Input, contract: Contract, dated: int | None, committed_at_ms: int, *, is_gone: bool
    ) -> int:
        """The commit on the calendar of a past that is replayed, milliseconds: when the row was written, as it says itself.

        A row that goes says when it was written last: it went later. One that does not say it was written by now at the latest.
        """
        written = moment_of(row, entry.written, contract)
        if written is None:
            self.reached = 0 if entry.event_time else None
            return max(self.clock, min(dated or 0, committed_at_ms * 1000)) // 1000
        if not contract.by_name[entry.written].logical_type:
            written *= 1000  # a plain long is milliseconds
        self.reached = written = min(written, committed_at_ms * 1000)
        return max(written // 1000 + 1, self.clock // 1000) if is_gone else written // 1000

    def _kept(self, entry: Input, contract: Contract) -> frozenset[str]:
        kept = self._keeping.get(id(entry))
        if kept is None:
            kept = self._keeping[id(entry)] = frozenset({*contract.key, *entry.columns})
        return kept


def _targets(flow: Flow, entry: Input, row: Row, feed: str, identity: str) -> dict[str, Row | None]:
    """The subjects of a row; an unfit row has the one pseudo-subject, whose fact says why instead of the row."""
    try:
        return dict.fromkeys(check_subject(flow, subject) for subject in entry.subjects(row))
    except Unfit as unfit:
        why = {"kind": unfit.kind, "detail": unfit.detail}
    except Exception as error:  # noqa: BLE001 - a row nobody foresaw waits in the queue; the others flow on
        why = {"kind": "NOT_UNDERSTOOD", "detail": type(error).__name__}
    return {f"{UNFIT}:{feed}|{identity}": why}


def check_subject(flow: Flow, subject: str) -> str:
    """The subject's key, if the flow can fold it. Raises ValueError otherwise."""
    kind, colon, identity = subject.partition(":")
    if kind not in flow.folds or not colon or not identity or "\0" in subject:
        raise ValueError(f"flow {flow.name} has no subjects of kind {kind!r}, or the key has no id")
    return subject


def moment_of(row: Row, column: str | None, contract: Contract) -> int | None:
    """The date (from midnight in Asia/Shanghai) or time in a column, microseconds; None where the row has none."""
    value: Any = row.get(column) if column else None
    if not isinstance(value, int):
        return None
    match contract.by_name[column or ""].logical_type:
        case "date":
            return value * DAY_MICROS - _BEIJING_MICROS
        case "timestamp-millis":
            return value * 1000
        case "local-timestamp-micros":
            return value - _BEIJING_MICROS
        case _:
            return value


def feeds_of(flows: Sequence[Flow]) -> Mapping[str, tuple[Flow, ...]]:
    """Which flows read a feed."""
    found: dict[str, tuple[Flow, ...]] = {}
    for flow in flows:
        for feed in dict.fromkeys(entry.feed for entry in flow.inputs):
            found[feed] = (*found.get(feed, ()), flow)
    return found
