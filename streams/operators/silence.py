"""Silence: the item of an answer that is overdue, and what an officer may decide about it: an answer, or more time."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.decision import ANSWER, EXTEND
from streams.operators.flow import Fact, Subject

OVERDUE = "ANSWER_OVERDUE"
DECIDED = "DECIDED"
"""The reason of an answer that an officer gave for who was silent."""


def overdue_id(subject: str, part: str, number: int) -> str:
    """The id of the item of a part of a case that is silent in a round."""
    return f"{_start(subject)}{part}|{number}"


def is_silence(subject: str, item: str) -> bool:
    """Whether an item of a subject's is, by its id, that of an overdue answer."""
    return item.startswith(_start(subject))


def spoken_for(subject: Subject) -> Iterator[tuple[str, int, str, Fact]]:
    """What officers answered for who is silent: part, round, verdict, and the decision."""
    start = _start(subject.key)
    for item, fact in sorted(subject.decided.items()):
        part, _, number = item.removeprefix(start).rpartition("|")
        if fact.row is not None and fact.row["outcome"] == ANSWER:
            yield part, int(number), fact.row["verdict"], fact


def due_of(subject: Subject | None, part: str, number: int, due_at: int) -> int:
    """Until when a silent part may answer: `due_at`, or as long as an officer lets it. Event time, microseconds."""
    if subject is None or not subject.decided:
        return due_at
    fact = subject.decided.get(overdue_id(subject.key, part, number))
    if fact is None or fact.row is None or fact.row["outcome"] != EXTEND:
        return due_at
    return max(due_at, fact.row["until"])


def _start(subject: str) -> str:
    return f"{subject}|{OVERDUE}|"
