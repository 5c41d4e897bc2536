"""Refusal (不采纳): answers that do not count or contradict one another, named for a person and for their department."""

from __future__ import annotations

from collections.abc import Sequence

from streams.flows.quota.application import Application
from streams.flows.quota.cycle import agencies
from streams.flows.quota.winner import ALERT
from streams.operators.ask import Answer, AnswerForm, audit_item, refusal, with_decided
from streams.operators.flow import DECISION, Fact, Outcome, Subject

QUEUE, REFUSAL = "quota.queue", "quota.refusal"
RESULTS = tuple(f"{agency}.quota_result" for agency in agencies())
FORM = AnswerForm()


def own_answers(subject: Subject, outcome: Outcome) -> list[Answer]:
    """What departments say, each for itself, or an officer for a silent one; what one says for another counts for nobody."""
    own: list[Fact] = []
    for fact in subject.of(*RESULTS):
        if fact.row is not None and fact.row["agency"] != fact.feed.partition(".")[0]:
            for answer in FORM.answers([fact]):
                refuse(subject, outcome, "ANSWER_OF_ANOTHER_AGENCY", answer)
        else:
            own.append(fact)
    return with_decided(subject, FORM.answers(own))


def refuse(subject: Subject, outcome: Outcome, reason: str, answer: Answer, detail: str = "") -> None:
    """Name an answer that does not count: for a person on the queue, and for the department that sent it."""
    outcome.publish(QUEUE, audit_item(subject.key, reason, answer, detail))
    _tell(subject, outcome, reason, answer)


def _tell(subject: Subject, outcome: Outcome, reason: str, answer: Answer) -> None:
    if answer.fact.feed == DECISION:
        return  # an officer's word for a department that is silent: none of its own is refused
    said = {"app_code": subject.id, "review_round": answer.round, "verdict": answer.outcome}
    outcome.publish(REFUSAL, {**said, **refusal(subject.key, reason, answer)})


def contradictions(subject: Subject, application: Application, answers: Sequence[Answer], outcome: Outcome) -> None:
    """A second, contradictory answer is recorded (E3), whether or not it counts."""
    by_question: dict[tuple[str, int], list[Answer]] = {}
    for answer in answers:
        by_question.setdefault((answer.part, answer.round), []).append(answer)
    for (part, number), given in by_question.items():
        if len({answer.outcome for answer in given}) < 2:
            continue
        for superseded in given[:-1]:
            _tell(subject, outcome, "ANSWER_SUPERSEDED", superseded)
        outcome.publish(
            ALERT,
            {
                "alert_id": f"{subject.id}|ANSWER_CONTRADICTED|{part}|{number}",
                "kind": "ANSWER_CONTRADICTED",
                "app_code": subject.id,
                "period": application.period.name,
                "quota_kind": application.row["quota_kind"],
                "agency": part,
                "evidence": [{"feed": one.fact.feed, "position": one.position} for one in given],
                "happened_at": given[-1].at,
                "decided_at": None,
                "awarded_at": None,
                "is_known_before_award": True,
                "state": "NOTED",
                "decision": None,
                "decision_at": None,
            },
        )
