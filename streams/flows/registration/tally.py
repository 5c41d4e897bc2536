"""Tally: each source row in exactly one place of its data topic (对账): published, rejected or in flight (HANDBOOK H6).

Rows count at the subject that decides about them, topics sum the counts, and the board shows every configured topic, also
those that no feed fills yet: configured against connected.
"""

from __future__ import annotations

from streams.flows.registration.rules import TOPICS, topic_of
from streams.operators.flow import Fact, Outcome, Subject

PUBLISHED, REJECTED, IN_FLIGHT = "published", "rejected", "in_flight"
_SOURCE = "source"
_MEASURES = (_SOURCE, PUBLISHED, REJECTED, IN_FLIGHT)
BOARD = "board:all"


class Tally:
    """Counts the rows of one subject into an outcome; a row that nobody placed is in flight."""

    def __init__(self, subject: Subject) -> None:
        self._places: dict[tuple[str, str], tuple[Fact, str]] = {}
        for feed, facts in subject.facts.items():
            if not feed.startswith("~"):
                for fact in facts.values():
                    if fact.row is not None:
                        self._places[feed, fact.row_id] = (fact, IN_FLIGHT)

    def place(self, fact: Fact, place: str) -> None:
        """Say where a row is: one of PUBLISHED, REJECTED, IN_FLIGHT; the last word counts."""
        if (fact.feed, fact.row_id) in self._places:
            self._places[fact.feed, fact.row_id] = (fact, place)

    def place_all(self, place: str) -> None:
        """Put every row of the subject in one place."""
        self._places = {key: (fact, place) for key, (fact, _) in self._places.items()}

    def leave_out(self, feed: str) -> None:
        """Do not count a feed's rows here: another subject does."""
        self._places = {key: found for key, found in self._places.items() if key[0] != feed}

    def count_into(self, outcome: Outcome) -> None:
        """Contribute to the topics of the rows."""
        for fact, place in self._places.values():
            topic = f"topic:{topic_of(fact.feed, fact.row or {})}"
            for measure in (_SOURCE, place):
                outcome.counts[topic, measure] = outcome.counts.get((topic, measure), 0) + 1


def topic(subject: Subject) -> Outcome:
    """Fold of one topic: pass its sums on to the board."""
    outcome = Outcome()
    for measure, count in subject.counts.items():
        outcome.counts[BOARD, f"{subject.id}|{measure}"] = count
    return outcome


def board(subject: Subject) -> Outcome:
    """Fold of the board: one row for each configured topic."""
    outcome = Outcome()
    for entry in TOPICS:
        counts = {measure: subject.counts.get(f"{entry.code}|{measure}", 0) for measure in _MEASURES}
        outcome.publish(
            "registration.topic",
            {
                "topic_code": entry.code,
                "name": entry.name,
                "agency": entry.agency,
                "feed": entry.feed or None,
                "is_connected": counts[_SOURCE] > 0,
                **counts,
                "is_balanced": counts[_SOURCE] == sum(counts[measure] for measure in _MEASURES[1:]),
            },
        )
    return outcome
