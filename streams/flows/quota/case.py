"""Case (业务): one application, the departments' answers, its verdict in each period, and what needs a person.

The verdict of a period rests on what is dated before the period's freeze. What a case said when it closed stays said: the
published row is the frozen one. An answer after that counts in the next period (E3), and only then does the case speak of it.
A case that does not know yet whose the applicant's one place is (E5) has said nothing that could stay.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from schemas.dated.configuration import DAY_MICROS
from streams.flows.quota.application import APPLICATION, REVIEW, Application
from streams.flows.quota.cycle import (
    LOTTERY,
    MINUTE_MICROS,
    Period,
    asked_columns,
    days_micros,
    period_of,
    periods_from,
)
from streams.flows.quota.refusal import QUEUE, contradictions, own_answers, refuse
from streams.flows.quota.winner import watch_winner
from streams.operators.ask import (
    NOT_VALID,
    PENDING,
    VALID,
    Answer,
    AnswerTerms,
    Case,
    Round,
    Standing,
    escalation,
    late,
    request,
    unasked,
)
from streams.operators.flow import Outcome, Row, Subject, Tell, queue_item

REQUEST, VERDICT = "quota.review_request", "quota.verdict"
COLUMNS = asked_columns()

SUBMITTED_LATE, DUPLICATE, WITHDRAWN = "SUBMITTED_LATE", "DUPLICATE_APPLICATION", "APPLICATION_WITHDRAWN"


def fold_case(subject: Subject) -> Outcome:
    """The fold of `case:<app_code>`."""
    outcome = Outcome(memory={"seen": subject.memory.get("seen", subject.now)})
    answers = own_answers(subject, outcome)
    for fact in subject.of(APPLICATION):
        if fact.row is not None:
            _Judging(subject, Application.of(fact, fact.row), answers, outcome).judge()
            return outcome
    outcome.reasons[REQUEST] = "SOURCE_DELETED"
    if waits := subject.memory.get("waits"):  # the application may come again
        outcome.memory["waits"] = waits
    for row in subject.published.get(VERDICT, {}).values():
        if subject.now >= _closes_at(subject, period_of(row["period"])):
            outcome.publish(VERDICT, row)  # the source may forget an application; a frozen verdict stays
            _take_part(outcome, row)
    if not outcome.rows.get(
        VERDICT
    ):  # otherwise the departments may keep their answers for longer than transport its files
        _without_application(subject, answers, outcome)
    return outcome


def _closes_at(subject: Subject, period: Period) -> int:
    """When a period's verdict is final: what was on its way at the freeze has arrived, also for a case first heard of late."""
    return max(period.freeze_at, subject.memory.get("seen", subject.now)) + period.grace


def _take_part(outcome: Outcome, verdict: Row) -> None:
    if verdict["verdict"] == VALID and verdict["method"] == LOTTERY:
        draw = f"draw:{verdict['period']}|{verdict['quota_kind']}"
        outcome.tells.append(Tell(draw, "code", {"app_code": verdict["app_code"]}))


def _without_application(subject: Subject, answers: Sequence[Answer], outcome: Outcome) -> None:
    """Answers come before their application when feeds run at different speeds; a day later that is no excuse."""
    for answer in answers:
        due = answer.at + DAY_MICROS
        if subject.now >= due:
            refuse(subject, outcome, "ANSWER_WITHOUT_APPLICATION", answer)
        else:
            outcome.wake(due)


class _Judging:
    """One fold of one case."""

    def __init__(self, subject: Subject, application: Application, answers: Sequence[Answer], outcome: Outcome) -> None:
        self.subject = subject
        self.application = application
        self.answers = answers
        self.outcome = outcome
        self.code = subject.id
        self.row = application.row
        self.items: dict[str, Row] = {}
        self._known: dict[int, list[Standing]] = {}
        self.first = application.period
        pack = self.first.pack
        terms = AnswerTerms(valid_micros=days_micros(pack["answer_valid_days"]), grace_micros=self.first.grace)
        self.case = Case(self.first.parts(self.row["applicant_kind"]), list(self._rounds()), terms, subject)
        self.claims = {told["period"]: told["accepted"] for told in subject.told("claim")}

    def _rounds(self) -> Iterator[Round]:
        yield Round(1, self.row["submitted_at"], self.first.due_at)
        for fact in self.subject.of(REVIEW):
            if fact.row is not None:
                due = fact.row["requested_at"] + days_micros(self.first.pack["review_days"])
                yield Round(fact.row["review_round"], fact.row["requested_at"], due)

    def judge(self) -> None:
        """Fill the outcome: verdicts of all periods that the case speaks of, then what follows from them."""
        period: Period | None = self.first
        last = self.first
        waits: list[str] = []
        while period is not None:
            last = period
            self._claim(period)
            verdict, counted = self._verdict(period)
            if counted is None and not self._is_claim_known(period):
                waits.append(period.name)
            self.outcome.publish(VERDICT, verdict)
            _take_part(self.outcome, verdict)
            period = self._next(period, counted)
        if waits:
            self.outcome.memory["waits"] = waits
        refusal = self._refusal(self.first)
        if self.application.withdrawn_at is not None:
            refusal = WITHDRAWN
        if refusal is not None and refusal != WITHDRAWN:
            item = queue_item(
                f"{self.subject.key}|{refusal}",
                refusal,
                [self.subject.key],
                [self.application.fact],
                opened_at=self.application.fact.event_at,
            )
            self._queue(item)
        self._requests(last, refusal)
        for answer in unasked(self._standings(self.case.end(self.answers, last.freeze_at)), self.answers):
            refuse(self.subject, self.outcome, "ANSWER_NOT_ASKED", answer)
        contradictions(self.subject, self.application, self.answers, self.outcome)
        watch_winner(self.subject, self.application, self.outcome.rows[VERDICT], self.outcome)
        self.outcome.publish(QUEUE, *self.items.values())

    def _standings(self, until: int) -> list[Standing]:
        if until not in self._known:
            self._known[until] = self.case.standings(self.answers, until)
        return self._known[until]

    def _queue(self, item: Row) -> None:
        self.items[item["conflict_id"]] = item

    # ── one period ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _claim(self, period: Period) -> None:
        """Ask for the applicant's one place in the period (E5)."""
        person = self.application.person
        if person is None or not period.has_unique(self.row["applicant_kind"]):
            return
        if self._is_late() or not self.application.stands_at(period.freeze_at):
            return
        row = {
            "app_code": self.code,
            "submitted_at": self.row["submitted_at"],
            "is_carried": period is not self.first,
            "period": period.name,
        }
        self.outcome.tells.append(Tell(f"claim:{person}|{period.name}", "apply", row))

    def _is_late(self) -> bool:
        return self.row["submitted_at"] >= self.first.cutoff_at

    def _refusal(self, period: Period) -> str | None:
        """Why the application does not count in a period whatever the departments say."""
        if not self.application.stands_at(period.freeze_at):
            return WITHDRAWN
        if self._is_late():
            return SUBMITTED_LATE
        accepted = self.claims.get(period.name)
        return DUPLICATE if accepted is not None and accepted != self.code else None

    def _is_claim_known(self, period: Period) -> bool:
        """Whether nothing is still to be heard of the applicant's one place in the period."""
        is_unique = period.has_unique(self.row["applicant_kind"])
        return self._refusal(period) is not None or not is_unique or period.name in self.claims

    def _is_accepted(self, period: Period) -> bool:
        return self._refusal(period) is None and self._is_claim_known(period)

    def _verdict(self, period: Period) -> tuple[Row, list[str] | None]:
        """The verdict in a period; once that is closed, also the positions of the answers in it."""
        frozen = self.subject.published.get(VERDICT, {}).get(f"{self.code}|{period.name}")
        has_waited = period.name in self.subject.memory.get("waits", ())
        if frozen is not None and not has_waited and self.subject.now >= _closes_at(self.subject, period):
            return frozen, [answer["position"] for answer in frozen["answers"]]
        standings = self._standings(period.freeze_at)
        verdict = self.case.verdict(standings)
        refusal = self._refusal(period)
        outcome, agency, reason = verdict.outcome, None, None
        if refusal is not None:
            outcome, reason = NOT_VALID, refusal
        elif not self._is_accepted(period):
            outcome = PENDING
        elif verdict.outcome == NOT_VALID and (failing := verdict.because[0].answer) is not None:
            agency, reason = failing.part, failing.reason
        given = [one.answer for one in standings if one.answer is not None]
        row = {
            "app_code": self.code,
            "period": period.name,
            "applicant_kind": self.row["applicant_kind"],
            "quota_kind": self.row["quota_kind"],
            "method": self.row["method"],
            "verdict": outcome,
            "review_round": max((one.round.number for one in standings), default=1),
            "reason_agency": agency,
            "reason_code": reason,
            "answers": [_counted(answer) for answer in given],
            "missing": [one.part.answerer for one in standings if one.answer is None],
            "is_overdue": refusal is None
            and any(one.is_overdue(self.subject.now, self.case.terms) for one in standings),
            "rule_pack": period.pack["rule_pack"],
            "decided_at": max([self.row["submitted_at"], *(answer.at for answer in given)]),
        }
        return row, None

    def _next(self, period: Period, counted: list[str] | None) -> Period | None:
        """The period in which the case speaks next: that of its first answer or re-review after this one's freeze."""
        until = period.freeze_at
        after = late(self.answers, until, counted)
        asked = {entry.number: entry.asked_at for entry in self.case.rounds}
        given = {(answer.part, answer.round) for answer in self.answers if answer not in after}
        for answer in after:
            if (
                asked.get(answer.round, until) < until
            ):  # a round asked after the freeze is answered after it, as it should be
                is_second = (answer.part, answer.round) in given
                kind = "ANSWER_CONTRADICTED_AFTER_FREEZE" if is_second else "ANSWER_AFTER_FREEZE"
                refuse(self.subject, self.outcome, kind, answer, f"{answer.part} answered for the next period")
        if self._refusal(period) in {WITHDRAWN, SUBMITTED_LATE}:
            return None
        news = [answer.at for answer in after] + [moment for moment in asked.values() if moment >= until]
        if not news:
            return None
        return next((found for found in periods_from(period) if found.freeze_at > min(news)), None)

    # ── what follows ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _requests(self, last: Period, refusal: str | None) -> None:
        """One request per department and round, until some weeks after the freeze; silence past the deadline escalates."""
        now, outcome = self.subject.now, self.outcome
        outcome.reasons[REQUEST] = refusal or "REVIEW_CLOSED"
        if refusal is not None or not self._is_accepted(self.first):
            return
        standings = self._standings(self.case.end(self.answers, last.freeze_at))
        closes_at = max(last.freeze_at, *(one.round.due_at for one in standings))
        closes_at += days_micros(self.first.pack["request_kept_days"]) + _spread(self.code)
        if now >= closes_at:
            return
        outcome.wake(closes_at)
        for one in standings:
            for entry in one.asked:
                header = {
                    "app_code": self.code,
                    "review_round": entry.number,
                    "agency": one.part.answerer,
                    "period": self.first.name,
                    "asked_at": entry.asked_at,
                    "due_at": entry.due_at,
                }
                outcome.publish(REQUEST, {**header, **request(one.part, self.row, COLUMNS)})
            if one.is_overdue(now, self.case.terms):
                self._queue(
                    escalation(self.subject.key, one, lambda late: f"ANSWER_OVERDUE_{late.part.answerer.upper()}")
                )
        due = self.case.next_due(standings, now)
        if due is not None:
            outcome.wake(due)


def _counted(answer: Answer) -> Row:
    return {
        "agency": answer.part,
        "review_round": answer.round,
        "verdict": answer.outcome,
        "reason_code": answer.reason,
        "answered_at": answer.at,
        "position": answer.position,
    }


def _spread(code: str) -> int:
    """Up to a day, by the code: a hundred thousand cases of one period do not all close in the same tick."""
    return zlib.crc32(code.encode()) % (24 * 60) * MINUTE_MICROS
