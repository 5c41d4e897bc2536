"""Watch: what should have come by a date and has not: a warning (预警), once, withdrawn when the evidence is there after all.

Pure functions that folds are made of (tax warnings, HANDBOOK §4 F; unclaimed permits, H; whatever runs out, E and I):

    cause at ──────── window ────────▶ deadline ── grace ──▶ due            evidence in time: dated before the deadline
      a row says                         event time, never a wall clock      grace: how long rows may be under way
      something follows                                                      after `due` its absence is a finding

    found = watch(subject, outcome, causes, evidence)      the owner of the cause: which warnings were fired, which still stand
    state, wake_at = state_of(found[0], Answer(…), now=…)  OPEN → DISPATCHED → CONFIRMED | FALSE_POSITIVE → CLOSED, or RETRACTED

A warning fires when the event clock *advances* (a tick) to its moment, never on a row's arrival: rows that come between two
ticks, in any order, are all heard before it is judged. What has fired is remembered, so that it fires once per (rule, entity,
cause event) and nothing of what its readers were told changes later, except whether it still stands; and that follows from
the rows as they are now, not from the way they came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streams.operators.flow import Fact, Outcome, Row, Subject

OPEN, DISPATCHED, CONFIRMED, FALSE_POSITIVE, CLOSED, RETRACTED = (
    "OPEN",
    "DISPATCHED",
    "CONFIRMED",
    "FALSE_POSITIVE",
    "CLOSED",
    "RETRACTED",
)

EVIDENCE = "EVIDENCE"
CAUSE_WITHDRAWN = "CAUSE_WITHDRAWN"
CAUSE_MOVED = "CAUSE_MOVED"

_ID_DIGITS = 24
_RETRY_MICROS = 3_600_000_000
_MEMORY = "watch"


def cite(fact: Fact) -> Row:
    """A fact as a warning cites it: its feed, row id and position."""
    return {"feed": fact.feed, "row_id": fact.row_id, "position": fact.position}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A cause event: from it something must follow. All times are event times, microseconds.

    `event` tells the cause events of one entity and rule apart; it must come from the rows alone and survive their
    corrections. Evidence is in time if dated before `deadline`; absence is judged at `due`. `takes_late`: evidence dated
    later retracts as well; otherwise it only settles what was rightly said. `sources` are cited rows (`cite`); `details` are
    the owner's, kept as they were when the warning fired, and must be what MessagePack can hold.
    """

    rule: str
    entity: str
    event: str
    at: int
    deadline: int
    due: int
    takes_late: bool = True
    sources: Sequence[Row] = ()
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def id(self) -> str:
        """The warning's id: the same after any replay, and without a value of any row."""
        text = "\0".join((self.rule, self.entity, self.event))
        return f"{self.rule}-{hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was to come, and when (its own date, microseconds)."""

    at: int
    source: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """A warning that has fired, and how it stands now.

    `cause` is as it was at firing. `opened_at` is the event time from which absence was a finding; `fired_at` the clock that
    showed it. `retracted` is None while it stands, else EVIDENCE, CAUSE_WITHDRAWN (the source took the cause back) or
    CAUSE_MOVED (corrected to a later date, not yet due). `evidence` is what retracts it, or settles it where late.
    """

    cause: Cause
    opened_at: int
    fired_at: int
    retracted: str | None = None
    evidence: Evidence | None = None

    @property
    def is_settled(self) -> bool:
        """Whether what was missing came, but too late to retract what was said."""
        return self.retracted is None and self.evidence is not None


def watch(
    subject: Subject,
    outcome: Outcome,
    causes: Iterable[Cause],
    evidence: Callable[[Cause], Iterable[Evidence]],
    *,
    settle: int = 1,
    can_judge: Callable[[Cause], bool] = lambda _: True,
) -> list[Warned]:
    """The warnings of a subject that have fired, ordered by id; sets the outcome's memory and timer for the others.

    `causes` are all that the subject's rows give now. `evidence` gives what speaks against a cause, also for one that fired
    and is no longer given. `settle` (microseconds): a cause that is told late, already due, waits this much of event time
    for its evidence, which may be just as late. `can_judge` says whether evidence could have come at all: where its register
    is not connected (`Subject.feeds`), silence is no absence, and the cause is looked at again each hour of event time.
    """
    remembered = subject.memory.get(_MEMORY, {})
    pending: Mapping[str, Sequence[int]] = remembered.get("pending", {})
    past: dict[str, Any] = dict(remembered.get("fired", {}))
    known = {cause.id: cause for cause in causes}
    waiting: dict[str, list[int]] = {}
    for identity, cause in sorted(known.items()):
        if identity in past or _answer(cause, evidence(cause))[0]:
            continue
        due, opens_at = pending.get(identity, (None, 0))
        if due != cause.due:  # new, or corrected; the moment lies after this one: only a tick gets there
            opens_at = max(cause.due, subject.now + max(settle, 1))
        if subject.now >= opens_at and not can_judge(cause):
            opens_at = subject.now + _RETRY_MICROS
        if subject.now >= opens_at:
            past[identity] = [_packed(cause), opens_at, subject.now]
        else:
            waiting[identity] = [cause.due, opens_at]
            outcome.wake(opens_at)
    if waiting or past:
        outcome.memory[_MEMORY] = {"pending": waiting, "fired": past}
    return [
        _standing(_cause(packed), opened_at, fired_at, known.get(identity), evidence, subject.now, outcome)
        for identity, (packed, opened_at, fired_at) in sorted(past.items())
    ]


def fired(subject: Subject, rule: str) -> list[Cause]:
    """A rule's causes of this subject that have fired, as they were then: for an owner that must not judge them anew."""
    found = subject.memory.get(_MEMORY, {}).get("fired", {})
    return [cause for packed, _, _ in found.values() if (cause := _cause(packed)).rule == rule]


def as_row(warned: Warned) -> Row:
    """A warning as a row for a tell, to the subject that keeps its answers and publishes it."""
    first = warned.evidence
    return {
        "cause": _packed(warned.cause),
        "opened_at": warned.opened_at,
        "fired_at": warned.fired_at,
        "retracted": warned.retracted,
        "evidence": None if first is None else [first.at, dict(first.source)],
    }


def of_row(row: Row) -> Warned:
    """The warning in a row of `as_row`."""
    first = row["evidence"]
    return Warned(
        cause=_cause(row["cause"]),
        opened_at=row["opened_at"],
        fired_at=row["fired_at"],
        retracted=row["retracted"],
        evidence=None if first is None else Evidence(at=first[0], source=first[1]),
    )


def _answer(cause: Cause, found: Iterable[Evidence]) -> tuple[bool, Evidence | None]:
    """Whether the evidence speaks against the cause, and the earliest of it."""
    first = min(found, key=lambda each: (each.at, each.source["feed"], each.source["row_id"]), default=None)
    return first is not None and (cause.takes_late or first.at < cause.deadline), first


def _standing(
    cause: Cause,
    opened_at: int,
    fired_at: int,
    present: Cause | None,
    evidence: Callable[[Cause], Iterable[Evidence]],
    now: int,
    outcome: Outcome,
) -> Warned:
    is_answered, first = _answer(present or cause, evidence(present or cause))
    retracted = None
    if is_answered:
        retracted = EVIDENCE
    elif present is None:
        retracted, first = CAUSE_WITHDRAWN, None
    elif present.due > now:
        retracted = CAUSE_MOVED
        outcome.wake(present.due)
    return Warned(cause=cause, opened_at=opened_at, fired_at=fired_at, retracted=retracted, evidence=first)


def _packed(cause: Cause) -> list[Any]:
    rows = [dict(source) for source in cause.sources]
    times = [cause.at, cause.deadline, cause.due]
    return [cause.rule, cause.entity, cause.event, *times, cause.takes_late, rows, dict(cause.details)]


def _cause(packed: Sequence[Any]) -> Cause:
    rule, entity, event, at, deadline, due, takes_late, sources, details = packed
    return Cause(
        rule=rule,
        entity=entity,
        event=event,
        at=at,
        deadline=deadline,
        due=due,
        takes_late=takes_late,
        sources=sources,
        details=details,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficeAnswer:
    """What the office in charge answered: CONFIRMED or FALSE_POSITIVE, and when, microseconds."""

    outcome: str
    answered_at: int


def state_of(
    warned: Warned, answer: OfficeAnswer | None, *, now: int, has_office: bool = True, closes_after: int = 0
) -> tuple[str, int | None]:
    """A warning's state at an event time, and when to look again.

    One that was fired is DISPATCHED at the next advance of the clock, if an office is in charge. An answer is open to
    objection for `closes_after` microseconds, unless what was missing has come meanwhile; then the warning is CLOSED.
    Retraction goes over everything: what was said was wrong from the start.
    """
    if warned.retracted is not None:
        return RETRACTED, None
    if answer is not None:
        closes_at = answer.answered_at + closes_after
        if warned.is_settled or now >= closes_at:
            return CLOSED, None
        return answer.outcome, closes_at
    if not has_office:
        return OPEN, None
    return (DISPATCHED, None) if now > warned.fired_at else (OPEN, warned.fired_at + 1)
