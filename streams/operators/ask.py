"""Ask: one case (业务), its required answerers, their answers, and what follows; pure functions, from which folds are made.

    case ── Part (whom, which columns) ── Round (when, until when) ──▶ requests, one per part and round
    answers (rows of the answerers, with their earlier versions) ────▶ Standing per part ──▶ verdict, escalations, wake

What the functions hold, for every case of the city (car quota, household check, registration push):

- a request shows its answerer the columns of its part and no others (invariant 6);
- an answer belongs to a part and a round by its own columns; one that nobody asked for is named, never counted;
- an answer that does not count is told to whom it came from, with the reason (`refusal`);
- a repeated answer changes nothing, a contradictory one supersedes and is kept beside it, by the answerer's own order;
- silence is never an answer: the verdict stays PENDING, and once the deadline and its grace are over there is an escalation;
- a later round asks only the parts that do not pass, or whose answer is too old; the others keep theirs;
- what counts is judged `until` a moment of event time. After a freeze, `late` names what came for the next one;
- an officer may say what a silent answerer is taken to have answered, or until when it may: only for as long as it is silent.

All moments are microseconds of event time. A part's id is unique in its case: the agency, or `item|agency`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.operators.flow import Fact, Outcome, Row, Subject, queue_item
from streams.operators.silence import DECIDED, OVERDUE, due_of, overdue_id, spoken_for

VALID, NOT_VALID, PENDING = "VALID", "NOT_VALID", "PENDING"
_DAY_MICROS = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """One question of a case: who answers it, and which columns of the case they may see."""

    id: str
    answerer: str
    columns: tuple[str, ...]


class Round(msgspec.Struct, frozen=True):
    """One time of asking (轮次). Round 1 asks every part; a later one only those that need it at `asked_at`."""

    number: int
    asked_at: int
    due_at: int


class Answer(msgspec.Struct, frozen=True):
    """One version of an answerer's row. `at` never runs backwards from version to version, whatever dates they carry."""

    part: str
    round: int
    outcome: str
    reason: str | None
    at: int
    fact: Fact

    @property
    def position(self) -> str:
        """The position of the change that brought it."""
        return self.fact.position


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """Where an answer's row keeps its parts; `part` columns are joined by a bar."""

    part: tuple[str, ...] = ("agency",)
    round: str | None = "review_round"
    outcome: str = "verdict"
    reason: str | None = "reason_code"

    def answers(self, facts: Iterable[Fact]) -> list[Answer]:
        """The answers in these facts and their earlier versions (Input.keeps_history), in each row's own order.

        A version that says what the one before it said is a repetition and left out. An answer that the source deleted is none.
        """
        found: list[Answer] = []
        for fact in facts:
            if fact.row is None:
                continue
            last: Answer | None = None
            for version in (*fact.earlier, fact):
                answer = self._answer(version, last.at if last else 0)
                if answer is None:
                    last = None  # deleted, then given again
                elif last is None or (answer.outcome, answer.reason) != (last.outcome, last.reason):
                    found.append(answer)
                    last = answer
        found.sort(key=lambda answer: (answer.part, answer.round, answer.at, answer.position))
        return found

    def _answer(self, version: Fact, not_before: int) -> Answer | None:
        row = version.row
        if row is None:
            return None
        part = "|".join(str(row[column]) for column in self.part)
        reason = row.get(self.reason) if self.reason else None
        number = row[self.round] if self.round else 1
        return Answer(part, number, row[self.outcome], reason, max(version.event_at, not_before), version)


@dataclass(frozen=True, slots=True)
class AnswerTerms:
    """How answers count. `valid_micros` is how long an answer holds (None: for ever)."""

    passing: frozenset[str] = frozenset({"PASS"})
    failing: frozenset[str] = frozenset({"FAIL"})
    valid_micros: int | None = None
    grace_micros: int = 0

    def holds(self, answer: Answer, moment: int) -> bool:
        """Whether an answer is not too old at a moment."""
        return self.valid_micros is None or moment < answer.at + self.valid_micros


class Standing(msgspec.Struct, frozen=True):
    """How one part stands: the rounds that asked it, and of the last of them the answer that counts.

    `superseded` are answers of that round that a later one contradicts; `expired` is one that would count, were it not too old.
    """

    part: Part
    asked: tuple[Round, ...]
    answer: Answer | None = None
    superseded: tuple[Answer, ...] = ()
    expired: Answer | None = None

    @property
    def round(self) -> Round:
        """The round in which the part was asked last."""
        return self.asked[-1]

    @property
    def is_silent(self) -> bool:
        """Whether the last round has no answer at all."""
        return self.answer is None and self.expired is None

    def is_overdue(self, now: int, terms: AnswerTerms) -> bool:
        """Whether the part is silent past its deadline and the grace."""
        return self.is_silent and now >= self.round.due_at + terms.grace_micros


class Verdict(msgspec.Struct, frozen=True):
    """The joint verdict (结论) and the parts that it rests on: the failing ones, or those still missing."""

    outcome: str
    because: tuple[Standing, ...] = ()


class Case(msgspec.Struct, frozen=True):
    """A case as far as asking goes: its parts and rounds; and the subject that it is, for what officers decided about it."""

    parts: Sequence[Part]
    rounds: Sequence[Round]
    terms: AnswerTerms = msgspec.field(default_factory=AnswerTerms)
    subject: Subject | None = None

    def standings(self, answers: Sequence[Answer], until: int) -> list[Standing]:
        """How every part stands by the answers before a moment. Independent of the order in which anything arrived."""
        by_part: dict[str, list[Answer]] = {}
        if self.subject is not None and self.subject.decided:
            answers = with_decided(self.subject, answers)
        for answer in answers:
            if answer.at < until:
                by_part.setdefault(answer.part, []).append(answer)
        rounds = sorted(
            (entry for entry in self.rounds if entry.asked_at < until), key=lambda entry: (entry.number, entry.asked_at)
        )
        return [self._standing(part, rounds, by_part.get(part.id, ()), until) for part in self.parts if rounds]

    def _standing(self, part: Part, rounds: Sequence[Round], answers: Sequence[Answer], until: int) -> Standing:
        asked = [rounds[0]]
        for entry in rounds[1:]:
            known = [answer for answer in answers if answer.round == asked[-1].number and answer.at < entry.asked_at]
            if known and not (known[-1].outcome in self.terms.passing and self.terms.holds(known[-1], entry.asked_at)):
                asked.append(entry)
        given = [answer for answer in answers if answer.round == asked[-1].number]
        if not given:
            last = asked.pop()
            due_at = due_of(self.subject, part.id, last.number, last.due_at)
            return Standing(part, (*asked, Round(last.number, last.asked_at, due_at)))
        superseded = tuple(answer for answer in given[:-1] if answer.outcome != given[-1].outcome)
        if self.terms.holds(given[-1], until):
            return Standing(part, tuple(asked), given[-1], superseded)
        return Standing(part, tuple(asked), None, superseded, expired=given[-1])

    def verdict(self, standings: Sequence[Standing]) -> Verdict:
        """Any failing answer: NOT_VALID. Otherwise, any part that does not pass: PENDING. Otherwise VALID."""
        failing = tuple(one for one in standings if one.answer and one.answer.outcome in self.terms.failing)
        if failing:
            return Verdict(NOT_VALID, failing)
        missing = tuple(one for one in standings if not (one.answer and one.answer.outcome in self.terms.passing))
        return Verdict(PENDING, missing) if missing or not standings else Verdict(VALID)

    def end(self, answers: Sequence[Answer], at_least: int) -> int:
        """A moment after everything that is known: what stands then is what stands by all of it."""
        dated = (*(answer.at for answer in answers), *(entry.asked_at for entry in self.rounds))
        return max((at_least, *(moment + 1 for moment in dated)))

    def next_due(self, standings: Iterable[Standing], now: int) -> int | None:
        """When to look again for silence: the first deadline with its grace that is still to come."""
        grace = self.terms.grace_micros
        coming = (one.round.due_at + grace for one in standings if one.is_silent)
        return min((due for due in coming if due > now), default=None)


def with_decided(subject: Subject, answers: Sequence[Answer]) -> list[Answer]:
    """The answers, and those that an officer gave for who was silent; where there is a real one it alone counts."""
    heard = {(answer.part, answer.round) for answer in answers}
    given = (
        Answer(part, number, said, DECIDED, fact.event_at, fact) for part, number, said, fact in spoken_for(subject)
    )
    return [*answers, *(answer for answer in given if (answer.part, answer.round) not in heard)]


def unasked(standings: Iterable[Standing], answers: Iterable[Answer]) -> list[Answer]:
    """Answers to nobody's question, by the standings at `Case.end`: of a part that it has not, or a round that did not ask it."""
    asked = {(one.part.id, entry.number) for one in standings for entry in one.asked}
    return [answer for answer in answers if (answer.part, answer.round) not in asked]


def late(answers: Iterable[Answer], until: int, counted: Collection[str] | None = None) -> list[Answer]:
    """Answers that came too late for what was judged until a moment.

    `counted`, once that is frozen, are the positions of the answers in it: then also what claims an earlier date but was not
    known at the freeze is late, unless a counted answer of the same part and round is the later word anyway.
    """
    answers = list(answers)
    last = {
        (answer.part, answer.round): (answer.at, answer.position)
        for answer in answers
        if counted and answer.position in counted
    }
    return [
        answer
        for answer in answers
        if answer.at >= until
        or (
            counted is not None
            and answer.position not in counted
            and (answer.at, answer.position) > last.get((answer.part, answer.round), (0, ""))
        )
    ]


def request(part: Part, row: Row, columns: Iterable[str]) -> dict[str, Any]:
    """What the answerer of a part sees of a case's row: its own columns, and null in all the others."""
    return {column: row[column] if column in part.columns else None for column in columns}


def escalation(subject: str, standing: Standing, kind: Callable[[Standing], str] = lambda _: OVERDUE) -> Row:
    """The queue item of a part that is silent past its deadline: the same after any replay, gone once an answer comes."""
    part, asked = standing.part, standing.round
    return queue_item(
        overdue_id(subject, part.id, asked.number),
        kind(standing),
        [subject],
        [],
        opened_at=asked.due_at,
        detail=f"{part.answerer} has not answered round {asked.number}",
    )


def audit_item(subject: str, kind: str, answer: Answer, detail: str = "") -> Row:
    """The queue item of an answer that a person should look at; it shows the outcome, which is no value of a person."""
    return queue_item(
        f"{subject}|{kind}|{answer.part}|{answer.round}|{answer.position}",
        kind,
        [subject],
        [answer.fact],
        opened_at=answer.at,
        detail=detail or f"{answer.part}, round {answer.round}",
        values=lambda _: answer.outcome,
    )


def refusal(subject: str, reason: str, answer: Answer) -> Row:
    """What the one who sent an answer is told when it does not count (退回): why not, under the id of its audit item if it has one.

    It goes to the agency whose feed brought the answer, whomever the row names. What was answered, the flow says in its own words.
    """
    return {
        "refusal_id": f"{subject}|{reason}|{answer.part}|{answer.round}|{answer.position}",
        "agency": answer.fact.feed.partition(".")[0],
        "answered_at": answer.at,
        "reason": reason,
    }


def chase(subject: Subject, outcome: Outcome, case: Case, standings: Sequence[Standing], queue: str) -> None:
    """Escalate every silent part past its deadline on the flow's queue, and look again at the next deadline."""
    overdue = (one for one in standings if one.is_overdue(subject.now, case.terms))
    outcome.publish(queue, *(escalation(subject.key, one) for one in overdue))
    if (due := case.next_due(standings, subject.now)) is not None:
        outcome.wake(due)


def without_case(subject: Subject, outcome: Outcome, queue: str) -> None:
    """Papers of a case whose own row is not there: a day is enough for it to come, then they wait for a person."""
    facts = [fact for feed in subject.facts for fact in subject.of(feed)]
    if not facts:
        return
    known_at = max(fact.committed_at_ms for fact in facts) * 1000
    if subject.now < known_at + _DAY_MICROS:
        outcome.wake(known_at + _DAY_MICROS)
        return
    claims = sorted(facts, key=lambda fact: (fact.feed, fact.row_id))
    item = queue_item(f"{subject.key}|CASE_UNKNOWN", "CASE_UNKNOWN", [subject.key], claims, opened_at=known_at)
    outcome.publish(queue, item)


def by_answerer(parts: Mapping[str, Sequence[str]]) -> tuple[Part, ...]:
    """Parts of a case with one question per agency: agency to its columns."""
    return tuple(Part(agency, agency, tuple(columns)) for agency, columns in parts.items())
