"""Case (申购): an application, what the registers say of its household, and whether it may apply.

Every condition is a question of `ask` that a register's rows answer; silence is PENDING and escalates, an uncertain match is
MANUAL_REVIEW and never a refusal. What the office decided by stays; a withdrawn application is asked about no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.dated.calendar import day_at
from schemas.dated.configuration import dated
from streams.flows.inquiry.cell import NO_RECORD, RECORDS, Cell, Inquiry, inquire
from streams.flows.inquiry.condition import NEED_INFO, PASS, conditions
from streams.flows.inquiry.identity import canonical, household_of
from streams.flows.inquiry.sources import Sources
from streams.operators.ask import NOT_VALID, VALID, Answer, Case, Part, Round, audit_item, chase, without_case
from streams.operators.flow import Fact, Outcome, Row, Subject

APPLICATION, MEMBER = "construction.housing_application", "construction.housing_member"
VERDICT, QUEUE = "housing.verdict", "housing.queue"
HERE = Path(__file__).parent
SOURCES = Sources.read(HERE / "sources.csv")
PACKS = dated(HERE / "conditions.yaml")
HOUSEHOLD = Part("HOUSEHOLD_INCOMPLETE", "civil", ())
_MINUTE = 60_000_000


def fold_case(subject: Subject) -> Outcome:
    """The fold of `case:<app_no>`."""
    outcome = Outcome(memory=dict(subject.memory), reasons={VERDICT: "SOURCE_DELETED"})
    applications = subject.of(APPLICATION)
    if not applications:
        without_case(subject, outcome, QUEUE)
        return outcome
    row = applications[0].row or {}
    if row["status"] == "SUBMITTED":
        _judge(subject, applications[0], row, outcome)
    elif row["status"] != "WITHDRAWN":
        outcome.publish(VERDICT, *subject.published.get(VERDICT, {}).values())
    outcome.reasons[VERDICT] = "APPLICATION_WITHDRAWN"
    return outcome


def _judge(subject: Subject, application: Fact, row: Row, outcome: Outcome) -> None:
    submitted_at, applicant = row["submitted_at"], canonical(row["applicant_id"]) or ""
    pack, sources = PACKS.at(submitted_at), SOURCES.at(submitted_at)
    asked_at = outcome.memory.setdefault("asked_at", max(submitted_at, subject.now))
    members = [fact.row for fact in subject.of(MEMBER) if fact.row is not None]
    named = [*((member["citizen_id"], member["name"]) for member in members), (row["applicant_id"], row["name"])]
    household, unidentified = household_of(named)
    inquiry = Inquiry(subject, household, sources, asked_at, asked_at + pack["settle_minutes"] * _MINUTE)
    cells = inquire(inquiry, outcome, QUEUE).cells

    rules = conditions(pack["conditions"], sources)
    answers = [answer for rule in rules if (answer := rule.judge(cells, applicant, application)) is not None]
    if (is_complete := _is_complete(cells, applicant, unidentified)) is not None:
        said = PASS if is_complete else NEED_INFO
        answers.append(Answer(HOUSEHOLD.id, 1, said, None, application.event_at, application))
    due_at = max(inquiry.due_at(source) for source in sources)
    case = Case([*(rule.part for rule in rules), HOUSEHOLD], [Round(1, asked_at, due_at)], subject=subject)
    standings = case.standings(answers, case.end(answers, subject.now))
    verdict = case.verdict(standings)
    chase(subject, outcome, case, standings, QUEUE)
    uncertain = [answer for answer in answers if answer.outcome == NEED_INFO]
    outcome.publish(QUEUE, *(audit_item(subject.key, "CONDITION_UNCERTAIN", answer) for answer in uncertain))
    undecided = "PENDING" if any(one.is_silent for one in standings) else "MANUAL_REVIEW"
    outcome.publish(
        VERDICT,
        {
            "app_no": row["app_no"],
            "applicant_id": row["applicant_id"],
            "region": row["region"],
            "region_as_of": day_at(submitted_at),
            "verdict": {VALID: "ELIGIBLE", NOT_VALID: "NOT_ELIGIBLE"}.get(verdict.outcome, undecided),
            "reasons": [one.part.id for one in verdict.because],
            "rule_pack": pack["version"],
            "decided_at": max([asked_at, *(answer.at for answer in answers)]),
        },
    )


def _is_complete(cells: Sequence[Cell], applicant: str, unidentified: int) -> bool | None:
    """Whether everybody is identified, and a married applicant names the spouse; None while the register is awaited."""
    marriages = [cell for cell in cells if cell.source.code == "MARRIAGE"]
    own = next((cell for cell in marriages if cell.citizen_id == applicant), None)
    if unidentified or own is None or own.uncertain:
        return False
    if own.outcome not in {RECORDS, NO_RECORD}:
        return None
    newest = max(own.items, key=lambda item: (item["day"], item["reference"]), default=None)
    others = [item["reference"] for cell in marriages if cell is not own for item in cell.items]
    return newest is None or newest["value"] in {"DIVORCE", "ANNULMENT"} or newest["reference"] in others
