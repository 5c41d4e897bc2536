"""Decided: what becomes of a subject of whose items on the queue an officer has decided some; one way for every flow.

A decision (schemas/decision.py) is a fact of the subject, under the pseudo-feed `@decision` and the item's id. The fold
stays as it is: it is asked first what it says without any decision, then with those that stand, until no further one does:

    facts ── fold ──▶ items ── decisions made upon just these ──▶ facts as decided ── fold ──▶ … ──▶ what is said, items marked

So a decision never outlives what it was about: where the item is gone its decision is not even looked at, and where the item stands
on other facts than it did, it is open again and says so. Whatever the order in which facts and decisions came, the end is the same.
A subject of which nothing is decided is folded once, as ever.

How an item is marked: RESOLVED or REJECTED once settled. Else OPEN, and `decision` has the outcome's words: alone where it is held,
behind LAPSED where other facts came, WITHOUT_EFFECT where it stands all the same, OVER where the extended time is, and NOT_APPLIED
where the fold fails with it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from schemas.decision import (
    ACCEPT,
    ANSWER,
    CORRECT,
    DISMISS,
    EXTEND,
    HOLD,
    LEAVE_OUT,
    NOTE,
    OF_ROWS,
    OF_SILENCE,
    OUTCOMES,
    PREFER,
)
from schemas.trace import described
from streams.operators.flow import DECISION, Fact, Flow, Outcome, Row, Subject
from streams.operators.silence import is_silence

OPEN, RESOLVED, REJECTED = "OPEN", "RESOLVED", "REJECTED"
LAPSED, WITHOUT_EFFECT, OVER, NOT_APPLIED = "LAPSED", "WITHOUT_EFFECT", "OVER", "NOT_APPLIED"
FAILED_FOLD = "FOLD_FAILED"
_HAVE_EFFECT = frozenset({*OF_ROWS, *OF_SILENCE})
_STATES = {NOTE: RESOLVED, DISMISS: REJECTED, HOLD: OPEN}

_Facts = Mapping[str, Mapping[str, Fact]]
_logger = logging.getLogger(__name__)


class _Effect(msgspec.Struct, frozen=True):
    """A decision that stands: its item as it was then, and which rows it is about."""

    item: Row
    targets: tuple[Fact, ...]


def fold_decided(fold: Callable[[Subject], Outcome], subject: Subject, queue: str) -> tuple[Outcome, Mapping[str, str]]:
    """Fold a subject that has decisions; with each item, by its id, what it stands on (`basis`). Raises what the fold raises."""
    recorded = {item: fact for item, fact in subject.facts[DECISION].items() if fact.row is not None}
    plain = replace(subject, facts={feed: rows for feed, rows in subject.facts.items() if feed != DECISION})
    present, outcome = plain, fold(plain)
    applied: dict[str, _Effect] = {}
    failed: set[str] = set()
    wakes = [outcome.wake_at]
    while standing := _standing(present, outcome.rows.get(queue, ()), recorded, {*applied, *failed}):
        tried = {**applied, **standing}
        changed = _as_decided(plain, tried, recorded)
        try:
            said = fold(changed)
        except Exception as error:  # noqa: BLE001 - what was decided does not stop what the facts say without it
            _logger.error("a fold of kind %s fails with what was decided: %s", subject.kind, described(error))  # noqa: TRY400
            failed |= standing.keys()
        else:
            applied, present, outcome = tried, changed, said
            wakes.append(outcome.wake_at)
    outcome.wake_at = min((moment for moment in wakes if moment is not None), default=None)
    bases = _mark(outcome, queue, present.facts, recorded, applied, failed)
    return outcome, bases


def basis(item: Row, facts: _Facts) -> str:
    """What an item stands on: its kind, what it says, and the rows that it cites, as far as they travel; not where they stood.

    So it is the same after everything is folded anew, also where the feed has lost versions that said nothing else.
    """
    digest = hashlib.blake2b(f"{item['kind']}\0{item['detail']}".encode(), digest_size=16)
    for claim in item["claims"]:
        fact = _cited(facts, claim)
        version = None if fact is None else _version(fact, claim["position"])
        digest.update(f"\0{claim['feed']}\0".encode())
        if version is None or version.row is None:
            digest.update(claim["position"].encode())
        else:
            said = {name: value for name, value in version.row.items() if value is not None}
            digest.update(msgspec.msgpack.encode(said, order="sorted"))
    return digest.hexdigest()


def may_be_decided(flow: Flow, subject: str, item: Row) -> tuple[str, ...]:
    """The outcomes that an item of this flow's queue may have."""
    if item["kind"] == FAILED_FOLD:
        return ()
    found = [NOTE, DISMISS, HOLD]
    if is_silence(subject, item["conflict_id"]):
        found += [ANSWER, EXTEND] if flow.verdicts else [EXTEND]
    if item["claims"]:
        found.append(LEAVE_OUT)
        if len(item["claims"]) > 1:
            found.append(PREFER)
        if item["kind"] in flow.acceptable:
            found.append(ACCEPT)
        if (
            subject.partition(":")[0] in flow.folds
        ):  # otherwise the row could not be read, and names nobody whom it is about
            found.append(CORRECT)
    return tuple(outcome for outcome in OUTCOMES if outcome in found)


def _standing(present: Subject, items: Any, recorded: Mapping[str, Fact], settled: set[str]) -> dict[str, _Effect]:
    """The decisions with an effect that were made upon just what these items stand on."""
    found: dict[str, _Effect] = {}
    for item in items:
        fact = recorded.get(item["conflict_id"])
        if fact is None or fact.row is None or fact.row_id in settled or fact.row["outcome"] not in _HAVE_EFFECT:
            continue
        if basis(item, present.facts) == fact.row["basis"]:
            cited = [_cited(present.facts, item["claims"][place]) for place in fact.row["claims"]]
            found[fact.row_id] = _Effect(item, tuple(one for one in cited if one is not None))
    return found


def _as_decided(plain: Subject, effects: Mapping[str, _Effect], recorded: Mapping[str, Fact]) -> Subject:
    """The subject as a fold is to see it."""
    facts = dict(plain.facts)
    accepted: set[tuple[str, str]] = set()
    decided: dict[str, Fact] = {}
    for item, effect in sorted(effects.items()):
        said = recorded[item].row or {}
        outcome = said["outcome"]
        if outcome in {PREFER, LEAVE_OUT}:
            for fact in effect.targets:
                facts[fact.feed] = {name: one for name, one in facts[fact.feed].items() if name != fact.row_id}
        elif outcome == CORRECT:
            for fact in effect.targets:
                if (known := facts[fact.feed].get(fact.row_id)) is not None and known.row is not None:
                    row = {**known.row, said["column"]: said["value"]}
                    facts[fact.feed] = {**facts[fact.feed], fact.row_id: replace(known, row=row)}
        elif outcome == ACCEPT:
            claims = effect.item["claims"]
            accepted |= {(claims[place]["feed"], claims[place]["position"]) for place in said["claims"]}
        else:
            decided[item] = recorded[item]
    return replace(plain, facts=facts, accepted=frozenset(accepted), decided=decided)


def _mark(
    outcome: Outcome,
    queue: str,
    facts: _Facts,
    recorded: Mapping[str, Fact],
    applied: Mapping[str, _Effect],
    failed: set[str],
) -> dict[str, str]:
    """Say on the items what was decided of them; what each stands on."""
    rows: list[Row] = []
    bases: dict[str, str] = {}
    for item in outcome.rows.get(queue, ()):
        name = item["conflict_id"]
        said = recorded[name].row if name in recorded else None
        # One that was applied was first met as the decision has it; a later decision has to meet it there too.
        bases[name] = said["basis"] if said is not None and name in applied else basis(item, facts)
        if said is None:
            rows.append(item)
        elif name in applied:
            rows.append(_marked(item, said, OPEN, OVER if said["outcome"] == EXTEND else WITHOUT_EFFECT))
        elif name in failed:
            rows.append(_marked(item, said, OPEN, NOT_APPLIED))
        elif said["outcome"] not in _STATES or bases[name] != said["basis"]:
            rows.append(_marked(item, said, OPEN, LAPSED))
        else:
            rows.append(_marked(item, said, _STATES[said["outcome"]]))
    for name, effect in applied.items():
        if name not in bases and (said := recorded[name].row) is not None:
            bases[name] = said["basis"]
            rows.append(_marked(effect.item, said, RESOLVED))
    if rows:
        outcome.rows[queue] = rows
    return bases


def _marked(item: Row, said: Row, state: str, mark: str = "") -> Row:
    decision = f"{mark} {said['says']}" if mark else said["says"]
    return {**item, "state": state, "decided_by": said["by"], "decision": decision}


def _cited(facts: _Facts, claim: Row) -> Fact | None:
    """The row that a claim cites, of which it may mean an earlier version."""
    rows = facts.get(claim["feed"], {})
    return next((fact for fact in rows.values() if _version(fact, claim["position"]) is not None), None)


def _version(fact: Fact, position: str) -> Fact | None:
    if fact.position == position:
        return fact
    return next((version for version in fact.earlier if version.position == position), None)
