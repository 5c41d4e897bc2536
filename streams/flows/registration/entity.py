"""Entity: one registered entity (商事主体): what is pushed to whom, how far its items are, and its public page.

Everything follows from the registration as it stands. A withdrawn one (撤销登记, an update of its status) takes back pushes and
page, and leaves the claims as RETRACTED: their history. One that ended otherwise keeps its page, and asks nobody any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.dated.calendar import day_at
from schemas.expression.identifiers import validate_org_code, validate_registration_no, validate_uscc
from streams.flows.regions import city_regions
from streams.flows.registration.item import SCOPE, items_of, region_trouble, seats_of, since_when
from streams.flows.registration.page import CHANGE, DISCLOSURE, LISTING, disclose
from streams.flows.registration.pushing import CLAIM, PUSH, Progress, push_item
from streams.flows.registration.route import COORDINATOR, Act, act_key, acts_of
from streams.flows.registration.tally import IN_FLIGHT, PUBLISHED, REJECTED, Tally
from streams.operators.flow import Fact, Outcome, Row, Subject, Tell, queue_item

ENTERPRISE, QUEUE, REFUSAL = "aic.enterprise", "registration.queue", "registration.refusal"
CLAIMS = (
    "aic.registration_claim",
    "fda.registration_claim",
    "health.registration_claim",
    "work_safety.registration_claim",
)
ACTIVE, WITHDRAWN = "ACTIVE", "WITHDRAWN"


def entity(subject: Subject) -> Outcome:
    """Fold of one entity."""
    outcome, tally = Outcome(), Tally(subject)
    present = next(iter(subject.of(ENTERPRISE)), None)
    if present is not None and present.row is not None:
        _register(subject, present, present.row, outcome, tally)
    tally.count_into(outcome)
    return outcome


def _register(subject: Subject, fact: Fact, row: Row, outcome: Outcome, tally: Tally) -> None:
    is_withdrawn = row["status"] == WITHDRAWN
    for feed in (ENTERPRISE, SCOPE, CHANGE, LISTING):
        for other in subject.of(feed):
            tally.place(other, REJECTED if is_withdrawn else PUBLISHED)
    told = {"ent_id": subject.id, "uscc": row["uscc"], "status": row["status"]}
    outcome.tells += [Tell(to, "entity", told) for to in sorted(set(numbers_of(row)))]
    seats = seats_of(fact, city_regions())
    if trouble := region_trouble(row, fact.event_at, city_regions()):
        outcome.publish(QUEUE, _trouble(subject, trouble, fact))
    progress = Progress(row, _ended_at(fact, row), is_withdrawn, subject.now)
    claims = subject.of(*CLAIMS)
    acts = acts_of(subject.facts[feed][name] for feed in CLAIMS for name in subject.facts.get(feed, {}))
    theirs = [act for act in acts if act.actor in {act.about, COORDINATOR}]
    for item in items_of(subject):
        push_item(item, seats, [act for act in theirs if _item_of(act) == item.code], progress, outcome)
        has_place = bool(seats) or not item.is_pushed
        if not is_withdrawn and (item.code in progress.open_items or not has_place):
            tally.place(item.fact, IN_FLIGHT)
    outcome.publish(CLAIM, *progress.claims.values())
    outcome.publish(PUSH, *progress.pushes.values())
    _judge(subject, claims, progress, outcome, tally)
    if is_withdrawn:
        outcome.reasons[DISCLOSURE] = "RETRACTED"
    else:
        here = seats[-1] if seats and seats[-1].until is None else None
        disclose(subject, row, here.district if here else None, day_at(fact.event_at) if here else None, outcome)
    outcome.reasons[PUSH] = "RETRACTED"


def numbers_of(row: Row) -> Iterator[str]:
    """The subjects under whose numbers other departments know the entity: only numbers that are well formed."""
    uscc, org_code, registration_no = row["uscc"], row["org_code"], row["registration_no"]
    if uscc and (code := validate_uscc(uscc).normalised):
        yield f"org:{code[8:17]}"
    if org_code and (code := validate_org_code(org_code).normalised):
        yield f"org:{code}"
    if registration_no and (number := validate_registration_no(registration_no).normalised):
        yield f"reg:{number}"


def _ended_at(fact: Fact, row: Row) -> int | None:
    """When an entity ceased to be active, as far as it has."""
    if row["status"] == ACTIVE:
        return None
    return since_when(
        [*fact.earlier, fact], lambda version: version.row is not None and version.row["status"] != ACTIVE
    )


def _item_of(act: Act) -> str:
    return (act.fact.row or {})["item_code"]


def _judge(subject: Subject, claims: list[Fact], progress: Progress, outcome: Outcome, tally: Tally) -> None:
    """Each claim either had its effect or is named, to a person and to whoever made it: no act is passed over in silence."""
    for claim in claims:
        row, key = claim.row or {}, act_key(claim)
        kind = None
        if row["action"] not in {"CLAIM", "REFUSE", "REROUTE"}:
            kind = "ACTION_UNKNOWN"
        elif claim.feed != f"{COORDINATOR}.registration_claim" and not claim.feed.startswith(f"{row['agency']}."):
            kind = "CLAIM_OF_ANOTHER"
        elif key in progress.not_theirs:
            kind = "ONLY_COORDINATOR_DECIDES"
        elif key not in progress.used:
            kind = "CLAIM_WITHOUT_PUSH"
        if kind is None or progress.is_withdrawn:
            tally.place(claim, REJECTED if progress.is_withdrawn else PUBLISHED)
            continue
        tally.place(claim, REJECTED)
        outcome.publish(QUEUE, _trouble(subject, kind, claim))
        outcome.publish(REFUSAL, _refusal(subject, kind, claim))


def _refusal(subject: Subject, kind: str, claim: Fact) -> Row:
    row = claim.row or {}
    return {
        "refusal_id": f"{subject.key}|{kind}|{claim.feed}|{claim.row_id}",
        "agency": claim.feed.partition(".")[0],
        "ent_id": subject.id,
        "item_code": row["item_code"],
        "claimed_for": row["agency"],
        "action": row["action"],
        "acted_at": claim.event_at,
        "reason": kind,
    }


def _trouble(subject: Subject, kind: str, fact: Fact) -> Row:
    return queue_item(
        f"{subject.key}|{kind}|{fact.feed}|{fact.row_id}", kind, [subject.key], [fact], opened_at=fact.event_at
    )
