"""Cell (核对结果): what one source says of one member. Each ends as RECORDS, NO_RECORD, TIMEOUT, ERROR or AMBIGUOUS.

No record is an answer; no answer is none. So an agency's silence past the deadline is TIMEOUT and never zero. A shared register
has said NO_RECORD only once the person and the name were both heard and the event clock is past the time to settle; one that is
not onboarded is silent like any other, and it ends as ERROR while its agency says, by the same `<agency>.check_answer`, that it
cannot be relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from schemas.dated.calendar import deadline
from streams.flows.inquiry.evidence import EVIDENCE, questions
from streams.flows.inquiry.identity import CERTAIN, Member
from streams.flows.inquiry.sources import ANSWER, FEED, Source, Sources, cents
from streams.operators.ask import Answer, AnswerForm, Case, Part, Round, audit_item, escalation, refusal
from streams.operators.flow import Fact, Outcome, Row, Subject
from streams.operators.name import comparable

RECORDS, NO_RECORD, TIMEOUT, ERROR, AMBIGUOUS = "RECORDS", "NO_RECORD", "TIMEOUT", "ERROR", "AMBIGUOUS"
UNASKED = "ANSWER_UNASKED"
REQUEST_COLUMNS = ("case_no", "citizen_id", "name", "source", "kind", "asked_at", "due_at")
_Told = tuple[Fact, Row]
_FORM = AnswerForm(part=("citizen_id", "source"), round=None, outcome="outcome", reason=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One source's word on one member; `outcome` is None while it is awaited.

    `count` are certain records, `uncertain` those that only a person can judge, `tier` the weakest match of those that decide.
    `items` are {reference, value, amount in cents, day}; `at` is the event time at which it was said, `fact` what said it.
    """

    citizen_id: str
    source: Source
    due_at: int
    outcome: str | None
    at: int
    count: int = 0
    uncertain: int = 0
    tier: str | None = None
    items: Sequence[Row] = ()
    fact: Fact | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a case asks: of which sources, about whom, since when, and when shared registers have said all.

    `answers` are those of agencies that answer themselves, or report that their register failed.
    """

    subject: Subject
    household: Sequence[Member]
    sources: Sequence[Source]
    asked_at: int
    settled_at: int
    answers: Sequence[Answer] = ()

    def due_at(self, source: Source) -> int:
        """Until when the source has to answer."""
        return deadline(self.asked_at, source.deadline_days)


@dataclass(slots=True)
class Cells:
    """All cells of a case, what must be looked at, what its sender is told, and when the next is due."""

    cells: list[Cell] = field(default_factory=list[Cell])
    queue: list[Row] = field(default_factory=list[Row])
    refused: list[Row] = field(default_factory=list[Row])
    wakes: list[int] = field(default_factory=list[int])

    @property
    def is_settled(self) -> bool:
        """Whether nothing is awaited."""
        return all(cell.outcome is not None for cell in self.cells)

    def refuse(self, subject: str, reason: str, answer: Answer, detail: str) -> None:
        """Name an answer that does not count: for a person, and for the agency that sent it."""
        self.queue.append(audit_item(subject, reason, answer, detail))
        self.refused.append(refusal_of(subject, reason, answer))


def refusal_of(subject: str, reason: str, answer: Answer) -> Row:
    """What the agency is told of an answer about one member that does not count (`ask.refusal`)."""
    row = answer.fact.row or {}
    asked = {name: row.get(name) for name in ("case_no", "citizen_id", "source")}
    return {**asked, "outcome": answer.outcome, **refusal(subject, reason, answer)}


def answers_of(subject: Subject, sources: Sources) -> list[Answer]:
    """The agencies' answers of a case."""
    return _FORM.answers(subject.of(*sources.answer_feeds()))


def cells_of(inquiry: Inquiry) -> Cells:
    """How every source of an inquiry stands for every member."""
    found = Cells()
    answers = inquiry.answers
    by_part = {answer.part: answer for answer in answers}
    asked = {f"{member.citizen_id}|{source.code}": source for member in inquiry.household for source in inquiry.sources}
    for answer in answers:
        source = asked.get(answer.part)
        if source is None or (source.feed != answer.fact.feed and not _tells_failure(source, answer)):
            found.refuse(inquiry.subject.key, UNASKED, answer, "nobody asked this")
    evidence = _evidence(inquiry)
    for source in inquiry.sources:
        if source.channel == ANSWER:
            _answered(inquiry, source, answers, found)
            continue
        for member in inquiry.household:
            answer = by_part.get(f"{member.citizen_id}|{source.code}")
            failed = answer if answer is not None and _tells_failure(source, answer) else None
            found.cells.append(_shared(inquiry, source, member, evidence[member.citizen_id], failed, found))
    return found


def inquire(inquiry: Inquiry, outcome: Outcome, queue: str) -> Cells:
    """Ask the shared registers for the subject `case:<number>`, and see what all sources have said by now.

    The outcome gets the questions, the items for the flow's queue and the timers. Who must answer by itself is asked by the flow,
    which also tells agencies what was refused.
    """
    shared = [source.code for source in inquiry.sources if source.channel == FEED]
    outcome.tells += questions(inquiry.subject.id, inquiry.household, shared)
    found = cells_of(inquiry)
    outcome.publish(queue, *found.queue)
    for moment in found.wakes:
        outcome.wake(moment)
    return found


def _tells_failure(source: Source, answer: Answer) -> bool:
    """Whether the agency of a shared register says that the register failed: then its rows prove nothing."""
    is_own = answer.fact.feed == f"{source.agency}.check_answer"
    return source.channel == FEED and is_own and answer.outcome == ERROR


# ── agencies that answer ─────────────────────────────────────────────────────────────────────────────────────────────


def _answered(inquiry: Inquiry, source: Source, answers: Sequence[Answer], found: Cells) -> None:
    due_at, now = inquiry.due_at(source), inquiry.subject.now
    parts = [Part(f"{one.citizen_id}|{source.code}", source.agency, REQUEST_COLUMNS) for one in inquiry.household]
    case = Case(parts, [Round(1, inquiry.asked_at, due_at)], subject=inquiry.subject)
    own = [answer for answer in answers if answer.fact.feed == source.feed]
    standings = case.standings(own, max([now, inquiry.asked_at, *(answer.at for answer in own)]) + 1)
    if (due := case.next_due(standings, now)) is not None:
        found.wakes.append(due)
    for member, standing in zip(inquiry.household, standings, strict=True):
        make = _maker(member, source, standing.round.due_at)
        if standing.answer is not None:
            found.cells.append(_of_answer(inquiry, standing.answer, make, found))
        elif standing.is_overdue(now, case.terms):
            found.cells.append(make(TIMEOUT, at=standing.round.due_at))
            found.queue.append(escalation(inquiry.subject.key, standing, kind=lambda _: "SOURCE_SILENT"))
        else:
            found.cells.append(make(None, at=inquiry.asked_at))


def _of_answer(inquiry: Inquiry, answer: Answer, make: Callable[..., Cell], found: Cells) -> Cell:
    row, make = answer.fact.row or {}, partial(make, fact=answer.fact)
    count = row.get("record_count") or 0  # an officer's word for an agency that is silent has none
    match answer.outcome:
        case "NO_RECORD" if count == 0:
            return make(NO_RECORD, at=answer.at)
        case "ERROR":
            return make(ERROR, at=answer.at)
        case "RECORDS" if count > 0 and row["match_tier"] in CERTAIN:
            return make(RECORDS, at=answer.at, count=count, tier=row["match_tier"], items=[_item(row)])
        case "RECORDS" | "AMBIGUOUS" if count >= 0:
            return make(AMBIGUOUS, at=answer.at, uncertain=max(count, 1), tier=row["match_tier"])
        case _:
            found.refuse(inquiry.subject.key, "ANSWER_NOT_UNDERSTOOD", answer, "outcome, record_count")
            return make(ERROR, at=answer.at)


def _item(row: Row) -> dict[str, Any]:
    amount = cents(row["amount"]) if row["amount"] is not None else None
    return {"reference": row["reference"], "value": row["value"], "amount": amount, "day": row["observed_date"]}


# ── registers that the mesh carries ──────────────────────────────────────────────────────────────────────────────────


def _evidence(inquiry: Inquiry) -> Mapping[str, Sequence[_Told]]:
    told: dict[str, list[_Told]] = {member.citizen_id: [] for member in inquiry.household}
    facts = [(fact, fact.row) for fact in inquiry.subject.of(f"~{EVIDENCE}") if fact.row is not None]
    for fact, row in sorted(facts, key=lambda one: (len(one[1]["visited"]), one[1]["visited"])):
        known = told.get(row["citizen_id"])
        # A number that was reached by two ways is heard once, by the shorter.
        if known is not None and row["by"] not in {other["by"] for _, other in known}:
            known.append((fact, row))
    return told


def _shared(
    inquiry: Inquiry, source: Source, member: Member, told: Sequence[_Told], failed: Answer | None, found: Cells
) -> Cell:
    due_at, now = inquiry.due_at(source), inquiry.subject.now
    make = _maker(member, source, due_at)
    if failed is not None:
        return make(ERROR, at=failed.at, fact=failed.fact)
    if inquiry.subject.feeds is not None and source.feed not in inquiry.subject.feeds:
        if now >= due_at:
            return make(TIMEOUT, at=due_at)
        found.wakes.append(due_at)
        return make(None, at=inquiry.asked_at)
    heard = [(fact, row) for fact, row in told if source.code in row["asked"]]
    awaited = {f"person:{member.citizen_id}", *(number for _, row in heard for number in row["forwarded"])}
    if name := comparable(member.name):
        awaited.add(f"name:{name}")
    if awaited - {row["by"] for _, row in heard} or now < inquiry.settled_at:
        # A person's own subject always answers; how long that takes says nothing of the register.
        if now < inquiry.settled_at:
            found.wakes.append(inquiry.settled_at)
        return make(None, at=inquiry.asked_at)
    speaking = [fact for fact, row in heard if source.code in row["found"]] or [fact for fact, _ in heard]
    newest = max(speaking, key=lambda fact: (fact.event_at, fact.row_id))
    parts = [row["found"][source.code] for _, row in heard if source.code in row["found"]]
    return _joined(partial(make, fact=newest), parts, inquiry.settled_at)


def _joined(make: Callable[..., Cell], parts: Iterable[Row], settled_at: int) -> Cell:
    parts = list(parts)
    certain = [part for part in parts if part["count"]]
    uncertain = sum(part["uncertain"] for part in parts)
    at = max([settled_at, *(part["at"] for part in parts)])
    if certain:
        return make(
            RECORDS,
            at=at,
            count=sum(part["count"] for part in certain),
            uncertain=uncertain,
            tier=max(part["tier"] for part in certain),
            items=[item for part in certain for item in part["items"]],
        )
    if uncertain:
        return make(AMBIGUOUS, at=at, uncertain=uncertain, tier=max(part["tier"] for part in parts))
    return make(NO_RECORD, at=at)


def _maker(member: Member, source: Source, due_at: int) -> Callable[..., Cell]:
    def make(outcome: str | None, *, at: int, **more: Any) -> Cell:
        return Cell(citizen_id=member.citizen_id, source=source, due_at=due_at, outcome=outcome, at=at, **more)

    return make
