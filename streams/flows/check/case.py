"""Case (核对业务): from authorised questions to a report, and on through the time in which its evidence is watched.

    all adults have signed ──▶ questions (check.request) ──▶ answers ──▶ all settled or timed out ──▶ report 1
                                                        the evidence changes within the watch ──▶ report n + 1, evidence_changed

While not every adult's authorisation is in force nothing is asked, and what was asked is withdrawn with what was answered.
Reports are what was said at a time: they stay as they were issued, whatever comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.dated.calendar import deadline
from schemas.dated.configuration import dated
from streams.flows.check.access import publish_accesses
from streams.flows.check.authorisation import MEMBERS, Signed, members, signed
from streams.flows.check.figures import contribute, contribute_quality
from streams.flows.check.report import Matter, content, digests, watch_until
from streams.flows.check.sources import HERE, SOURCES
from streams.flows.inquiry.cell import UNASKED, Cell, Cells, Inquiry, answers_of, inquire, refusal_of
from streams.flows.inquiry.identity import Member, canonical
from streams.flows.inquiry.sources import Source
from streams.operators.ask import audit_item, without_case
from streams.operators.flow import Fact, Outcome, Row, Subject, queue_item

REQUEST, ANSWER, REPORT = "check.request", "check.answer", "check.report"
EVIDENCE_CHANGED, REFUSAL, QUEUE = "check.evidence_changed", "check.refusal", "check.queue"
CASE, OBJECTION, DECISION = "civil.check_case", "civil.check_objection", "civil.check_decision"
RULES = dated(HERE / "rules.yaml")
_MINUTE = 60_000_000
_ASKING = frozenset({"ACCEPTED", "CHECKING", "REPORTED"})
_UNDECIDED = frozenset({"OPEN", "PROVIDER_CHECKING", "UPHELD"})


@dataclass(slots=True)
class _State:
    """One fold of one case."""

    subject: Subject
    case: Row
    rules: Mapping[str, Any]
    household: Sequence[Member]
    signed: Signed
    reports: dict[int, Row]
    outcome: Outcome

    @property
    def newest(self) -> Row | None:
        """The newest report."""
        return self.reports[max(self.reports)] if self.reports else None

    def item(self, kind: str, opened_at: int, detail: str = "", claims: Iterable[Fact] = (), part: str = "") -> None:
        """Put something before a person."""
        identity = "|".join(filter(None, (self.subject.key, kind, part)))
        row = queue_item(identity, kind, [self.subject.key], claims, opened_at=opened_at, detail=detail)
        self.outcome.publish(QUEUE, row)


def fold_case(subject: Subject) -> Outcome:
    """Everything that a case says."""
    outcome = Outcome(memory=dict(subject.memory))
    reports = {row["version"]: row for row in subject.published.get(REPORT, {}).values()}
    for row in subject.published.get(EVIDENCE_CHANGED, {}).values():
        outcome.publish(EVIDENCE_CHANGED, row)
    household, unidentified = members(subject)
    cases = subject.of(CASE)
    if not cases:
        outcome.memory.pop("asked_at", None)
        if not subject.published.get(REPORT):
            without_case(subject, outcome, QUEUE)
    else:
        case = cases[0].row or {}
        rules = RULES.at(case["accepted_at"])
        standing = signed(subject, household, rules["adult_age"])
        state = _State(subject, case, rules, household, standing, reports, outcome)
        _inquire(state, unidentified)
        decisions = [fact.row for fact in sorted(subject.of(DECISION), key=_round) if fact.row is not None]
        _judge_decisions(state, decisions)
        if case["status"] in {"CLOSED", "WITHDRAWN"} and case["status_date"] is None:
            state.item("ENDED_WITHOUT_DATE", case["accepted_at"], case["status"], cases)
        contribute(outcome, case, len(household) + unidentified, decisions)
        contribute_quality(outcome, state.newest, _objections(state))
    outcome.publish(REPORT, *reports.values())
    publish_accesses(subject, outcome, QUEUE, reports, [member.citizen_id for member in household])
    return outcome


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _inquire(state: _State, unidentified: int) -> None:
    """Ask, if the case may ask now, and see what came of it."""
    outcome, newest = state.outcome, state.newest
    if state.signed.next_change is not None:
        outcome.wake(state.signed.next_change)
    is_watched = newest is not None and state.subject.now < newest["watch_until"]
    is_open = is_watched if newest else state.case["status"] in _ASKING
    if state.case["status"] == "WITHDRAWN" or not is_open:
        _stop(state, "CASE_ENDED")
        return
    if is_watched and newest is not None:
        outcome.wake(newest["watch_until"])
    if unidentified:
        state.item("MEMBER_UNIDENTIFIED", state.case["accepted_at"], f"{unidentified} members have no valid number")
    if state.signed.missing or unidentified:
        _stop(state, "AUTHORISATION_ENDED")
        _say_missing(state)
        return
    asked_at = outcome.memory.setdefault(
        "asked_at", max(state.case["accepted_at"], state.signed.since, _heard_at(state))
    )
    _ask(state, asked_at)


def _heard_at(state: _State) -> int:
    """When the last of the household's papers was committed.

    Not when it is folded: of a past that is loaded, whatever was asked then is due by now.
    """
    papers = state.subject.of(CASE, MEMBERS)
    return max(fact.committed_at_ms for fact in papers) * 1000


def _stop(state: _State, reason: str) -> None:
    """Ask no more: what was asked, and what was answered, is withdrawn."""
    if state.outcome.memory.pop("asked_at", None) is not None:
        state.outcome.memory["was_asked"] = True
    state.outcome.reasons.update({REQUEST: reason, ANSWER: reason})
    if not state.outcome.memory.get("was_asked"):
        for answer in answers_of(state.subject, SOURCES):
            state.outcome.publish(QUEUE, audit_item(state.subject.key, UNASKED, answer, "nothing was asked yet"))
            state.outcome.publish(REFUSAL, refusal_of(state.subject.key, UNASKED, answer))


def _say_missing(state: _State) -> None:
    """Somebody has to sign, or will not: at once when it was in force before, otherwise after a while."""
    if not state.signed.missing:
        return
    accepted_at = state.case["accepted_at"]
    detail = f"{len(state.signed.missing)} adult members without an authorisation in force"
    if state.outcome.memory.get("was_asked"):
        state.item("AUTHORISATION_ENDED", accepted_at, detail)
        return
    due = deadline(accepted_at, state.rules["authorisation_wait_working_days"])
    if state.subject.now >= due:
        state.item("AUTHORISATION_MISSING", due, detail)
    else:
        state.outcome.wake(due)


def _ask(state: _State, asked_at: int) -> None:
    everything = SOURCES.at(asked_at)
    not_asked = {source.code: why for source in everything if (why := _why_not(state, source))}
    sources = [source for source in everything if source.code not in not_asked]
    settled_at = asked_at + state.rules["settle_minutes"] * _MINUTE
    answers = answers_of(state.subject, SOURCES)
    inquiry = Inquiry(state.subject, state.household, sources, asked_at, settled_at, answers)
    _send(state, inquiry)
    found = inquire(inquiry, state.outcome, QUEUE)
    state.outcome.publish(REFUSAL, *found.refused)
    _publish_answers(state, found)
    if found.is_settled:
        matter = Matter(
            subject=state.subject,
            case=state.case,
            sources=everything,
            not_asked=not_asked,
            cells=found.cells,
            member_count=len(state.household),
            income_days=state.rules["income_days"],
        )
        _report(state, matter, settled_at)


def _why_not(state: _State, source: Source) -> str | None:
    if state.case["kind"] not in source.kinds:
        return "NOT_OF_THIS_KIND"
    return None if state.signed.covers(source.scope) else "NOT_AUTHORISED"


def _send(state: _State, inquiry: Inquiry) -> None:
    """Requests to every source; of those that the mesh carries they say that the shared data answer."""
    case_no = state.case["case_no"]
    for member in state.household:
        for source in inquiry.sources:
            state.outcome.publish(
                REQUEST,
                {
                    "case_no": case_no,
                    "citizen_id": member.citizen_id,
                    "name": member.name,
                    "source": source.code,
                    "agency": source.agency,
                    "kind": state.case["kind"],
                    "channel": source.channel,
                    "asked_at": inquiry.asked_at,
                    "due_at": inquiry.due_at(source),
                    "authorisations": list(state.signed.papers),
                    "authorised_until": state.signed.until,
                },
            )


def _publish_answers(state: _State, found: Cells) -> None:
    disputed = {
        (canonical(row["citizen_id"]), row["source"])
        for fact in state.subject.of(OBJECTION)
        if (row := fact.row) is not None and row["status"] in _UNDECIDED
    }
    for cell in found.cells:
        if cell.outcome is None:
            continue
        state.outcome.publish(ANSWER, _answer_row(state.case["case_no"], cell, disputed))
        if cell.uncertain:
            part = f"{cell.citizen_id}|{cell.source.code}"
            kind = "MATCH_CONFLICT" if cell.tier == "P3" else "MATCH_UNCERTAIN"
            state.item(kind, cell.at, f"{cell.source.code}: {cell.uncertain} records", part=part)


def _answer_row(case_no: str, cell: Cell, disputed: set[tuple[str | None, str]]) -> dict[str, Any]:
    return {
        "case_no": case_no,
        "citizen_id": cell.citizen_id,
        "source": cell.source.code,
        "agency": cell.source.agency,
        "outcome": cell.outcome,
        "record_count": cell.count,
        "uncertain_count": cell.uncertain,
        "match_tier": cell.tier,
        "answered_at": cell.at,
        "due_at": cell.due_at,
        "is_disputed": (cell.citizen_id, cell.source.code) in disputed,
    }


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _report(state: _State, matter: Matter, settled_at: int) -> None:
    """Issue the first report, or a successor when the evidence is not what the newest one rests on."""
    evidence = digests(matter)
    former, newest = state.outcome.memory.get("evidence", {}), state.newest
    changed = sorted(code for code in {*evidence, *former} if evidence.get(code) != former.get(code))
    if newest is not None and not changed:
        return
    said_at = max([settled_at, *(cell.at for cell in matter.cells)])
    if newest is None:
        issued_at = said_at
        watched = watch_until(issued_at, state.rules["watch_days"])
    else:
        issued_at, watched = max(state.subject.now, newest["issued_at"]), newest["watch_until"]
    version = newest["version"] + 1 if newest else 1
    previous = newest["version"] if newest else None
    row = {**content(matter), "version": version, "previous_version": previous, "issued_at": issued_at}
    state.reports[version] = {**row, "watch_until": watched}
    state.outcome.memory["evidence"] = evidence
    state.outcome.wake(watched)
    if newest is not None:
        state.outcome.publish(
            EVIDENCE_CHANGED,
            {
                "case_no": state.case["case_no"],
                "version": version,
                "previous_version": newest["version"],
                "sources": changed,
                "previous_finding": newest["finding"],
                "finding": row["finding"],
                "changed_at": issued_at,
            },
        )


# ── what follows ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _round(fact: Fact) -> int:
    return (fact.row or {})["round"]


def _judge_decisions(state: _State, decisions: Sequence[Row]) -> None:
    """A decision rests on a report; when that was succeeded by one that finds otherwise, it has to be judged again."""
    if not decisions:
        return
    last, newest = decisions[-1], state.newest
    report = state.reports.get(last["report_version"])
    if report is None or newest is None:
        state.item("DECISION_WITHOUT_REPORT", last["decided_at"], part=str(last["round"]))
    elif newest["finding"] != report["finding"]:
        state.item("DECISION_OUTDATED", newest["issued_at"], f"report {newest['version']}", part=str(last["round"]))


def _objections(state: _State) -> list[tuple[Fact, str]]:
    agencies = {source.code: source.agency for source in SOURCES.every()}
    found: list[tuple[Fact, str]] = []
    for fact in state.subject.of(OBJECTION):
        row = fact.row or {}
        agency = agencies.get(row["source"])
        if agency is None or row["report_version"] not in state.reports:
            state.item("OBJECTION_TO_NOTHING", fact.event_at, "source, report_version", [fact], part=fact.row_id)
        else:
            found.append((fact, agency))
    return found
