"""Intake: from a committed change of a feed to messages for the subjects that it is evidence for.

Stateless: the row as it was tells which subjects it no longer speaks of. A message repeated after a crash carries the same
position and is refused by the fact it would replace, so at least once is enough here (invariant 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.change import Change, Op
from schemas.contract import Contract
from streams.operators.flow import Flow, Input, Row, Unfit, row_id
from streams.operators.message import FACT, GONE, message_key, pack

UNFIT = "!"
"""The kind of the pseudo-subject that stands for a row nobody can use; it publishes one item on the flow's queue."""

DAY_MICROS = 86_400_000_000
_BEIJING_MICROS = 8 * 3_600_000_000
_FALLBACK_MS = 1000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for the inbox. `key` without a subject goes to every partition."""

    key: bytes
    value: bytes


class Intake:
    """One flow's way in."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._inputs: dict[str, list[Input]] = {}
        for entry in flow.inputs:
            self._inputs.setdefault(entry.feed, []).append(entry)
        self.clock = 0
        """The newest event time seen so far, never later than the commit that told of it."""

    @property
    def feeds(self) -> frozenset[str]:
        """The feeds that this flow reads."""
        return frozenset(self._inputs)

    def messages(self, change: Change, contract: Contract) -> Iterator[Outgoing]:
        """What a change means to the flow's subjects."""
        for entry in self._inputs[change.feed]:
            if change.op is Op.TRUNCATE:
                yield Outgoing(message_key(self._flow.name, ""), pack([GONE, change.feed, str(change.position)]))
                continue
            yield from self._facts(change, contract, entry)

    def _facts(self, change: Change, contract: Contract, entry: Input) -> Iterator[Outgoing]:
        keep = {*contract.key, *(entry.columns or contract.by_name)}
        before, after = change.before, change.after
        identity = row_id(change.key, contract.key)
        event_at = event_time(after or before or {}, entry, contract, change.committed_at_ms)
        self.clock = max(self.clock, min(event_at, change.committed_at_ms * 1000))
        subjects = _targets(self._flow, entry, after, change.feed, identity) if after is not None else {}
        former = _targets(self._flow, entry, before, change.feed, identity) if before is not None else {}
        position = str(change.position)
        for subject, unfit in subjects.items():
            row = unfit if unfit is not None else {name: value for name, value in (after or {}).items() if name in keep}
            value = [FACT, change.feed, identity, position, event_at, change.committed_at_ms, row, entry.keeps_history]
            yield Outgoing(message_key(self._flow.name, subject), pack(value))
        for subject in former.keys() - subjects.keys():
            value = [FACT, change.feed, identity, position, event_at, change.committed_at_ms, None, entry.keeps_history]
            yield Outgoing(message_key(self._flow.name, subject), pack(value))


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


def event_time(row: Row, entry: Input, contract: Contract, committed_at_ms: int) -> int:
    """A row's event time in microseconds: its business date (from midnight in Asia/Shanghai) or time, else the commit."""
    value: Any = row.get(entry.event_time) if entry.event_time else None
    if not isinstance(value, int):
        return committed_at_ms * _FALLBACK_MS
    field = contract.by_name[entry.event_time or ""]
    match field.logical_type:
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
