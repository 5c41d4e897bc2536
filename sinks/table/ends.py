"""Ends of grants in a subscriber's database (schemas/agreement/ending.py): rows go, and nothing of the topic is taken any more.

The mark is a row of `_mesh_offsets` with partition ENDED; its `next_offset` counts the rows that went, null while they are kept.
Mark, raised epochs and removal are one transaction, so a process that still writes the topic is fenced: what it wrote before
is removed, and nothing comes after. A new edition of a grant (schemas/feed.py) takes the table over empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from schemas.agreement.ending import Ending
from schemas.agreement.grant import AtEnd
from schemas.errors import Fenced
from schemas.feed import edition_of, first_edition, later_edition

ENDED = -1


class EndMarks(Protocol):
    """The marks in one database."""

    def of(self, topics: Collection[str]) -> Mapping[str, int | None]:
        """What those of the topics that have ended are marked with: the rows that went, None while they are kept."""
        ...

    def mark(self, topic: str, *, is_removed: bool) -> None:
        """End a topic, whoever still writes it, and remove its rows if that is wanted and was not done."""
        ...


class TopicEnds:
    """The ends of topics in one database."""

    def __init__(self, marks: EndMarks, subscriber: str) -> None:
        self._marks = marks
        self._subscriber = subscriber

    def apply(self, ending: Ending) -> int | None:
        """End a topic as its grant says; how many rows went, by this call or an earlier one, None if they are kept."""
        return self._end(ending.topic, is_removed=ending.at_end is AtEnd.REMOVE)

    def _end(self, topic: str, *, is_removed: bool) -> int | None:
        marks = self._marks.of([topic])
        if topic in marks and (marks[topic] is not None or not is_removed):
            return marks[topic]
        self._marks.mark(topic, is_removed=is_removed)
        return self._marks.of([topic]).get(topic)

    def take_over(self, topics: Collection[str]) -> None:
        """Before partitions of these topics are taken: earlier editions have ended, and their rows are gone."""
        for topic in topics:
            for edition in range(1, edition_of(topic)):
                self._end(later_edition(first_edition(topic), edition), is_removed=True)

    def refuse_ended(self, topics: Collection[str]) -> None:
        """After partitions were taken: nothing is written to a topic that has ended. Raises Fenced."""
        if ended := self._marks.of(topics):
            raise Fenced(
                f"{self._subscriber}: {', '.join(sorted(ended))} has ended, and nothing of it is taken any more"
            )

    def lost(self, topics: Collection[str]) -> Collection[str]:
        """Those of ended topics of which this database does not know it: a backup from before the end."""
        return set(topics) - self._marks.of(topics).keys()
