"""Rejected row: what becomes of a row that nobody can use, and of a subject whose fold fails: an item on the flow's queue."""

from __future__ import annotations

from collections.abc import Mapping

from streams.engine.entry import Live
from streams.engine.inbox.intake import REJECTED
from streams.operators.flow import Flow, Fold, Outcome, Row, Subject, Tell, queue_item


def unfolded(live: Live, error: Exception) -> tuple[Outcome, Mapping[str, Mapping[str, Row]]]:
    """What a subject says whose fold failed: what it said before, and one item on the queue."""
    flow, subject = live.flow, live.subject
    tells = [Tell(to, tag, row, identity) for (to, tag, identity), row in live.tells.items()]
    item = queue_item(
        f"{subject.key}|FOLD_FAILED",
        "FOLD_FAILED",
        [subject.key],
        [],
        opened_at=subject.now,
        detail=type(error).__name__,
    )
    wanted = {feed: dict(rows) for feed, rows in subject.published.items()}
    wanted.setdefault(flow.queue, {})[item["conflict_id"]] = item
    wake_at = live.wake_at if live.wake_at is not None and live.wake_at > subject.now else None
    outcome = Outcome(tells=tells, counts=dict(live.contributions), memory=subject.memory, wake_at=wake_at)
    return outcome, wanted


def _rejected(flow: Flow) -> Fold:
    def fold(subject: Subject) -> Outcome:
        outcome = Outcome()
        for rows in subject.facts.values():
            for fact in rows.values():
                if fact.row is not None:
                    kind, detail = fact.row["kind"], fact.row["detail"]
                    item = queue_item(subject.key, kind, [], [fact], opened_at=fact.event_at, detail=detail)
                    outcome.publish(flow.queue, item)
        return outcome

    return Fold(fold)


def fold_of(flow: Flow, subject: str) -> Fold:
    """How a subject is folded, by its kind; the pseudo-subject of a rejected row too."""
    kind = subject.partition(":")[0]
    return _rejected(flow) if kind == REJECTED else flow.folds[kind]
