"""Identifier: one number, who claims it, whose it is, and who asks (subjects `id:<type>|<number>`).

    organisation ──claim──▶ id ──standing──▶ organisation          may it call the number its own?
    tax, ORG_CODE ──ask───▶ id ──answer────▶ tax, ORG_CODE         whose is it, on a day? (ladder O0 to O2)
    qts row ─────fact─────▶ id:ORG_CODE ──link──▶ organisation     the code certificate belongs to it

Claims and asks follow from rows alone, never from what came back, so the exchange settles, and settles on the same in any
order of arrival. Between live claimants the one that was first by the days of its registry stands, and nothing changes for it;
the other waits in the queue: neither is overwritten. Where nobody was first, nobody has the number until a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.expression.identifiers import validate_org_code
from streams.flows.organisation.number import org_code_of, valid_number
from streams.flows.organisation.rules import CONFLICT, IDENTIFIER, ORG_CODE, REGISTRATION_NO, USCC, Rules, rules_at
from streams.operators.flow import Fact, Outcome, RejectedRow, Row, Subject, Tell
from streams.operators.merge import conflict, origin

CODES = "qts.organisation_code"
CODE_COLUMNS = ("registration_no", "issued_date", "valid_to", "status", "status_date")
_TIERS = {USCC: "O0", ORG_CODE: "O1", REGISTRATION_NO: "O2"}
_ALWAYS = -(1 << 31)
_DAY_AFTER = 1  # a certificate's last day is within its validity, our ends are not


@dataclass(frozen=True, slots=True)
class Holding:
    """An organisation's claim to the number for a time. `is_stated`: the registry wrote it down, not only its USCC."""

    org: str
    valid_from: int | None
    valid_to: int | None
    is_stated: bool
    fact: Fact
    uscc: str | None

    @property
    def rank(self) -> tuple[Any, ...]:
        """What decides who was first: the day, then the commit, then the place in one and the same feed."""
        return (_day(self.valid_from), self.fact.committed_at_ms, self.fact.feed, self.fact.position)

    def covers(self, day: int) -> bool:
        """Whether the number was the organisation's on a day."""
        return _day(self.valid_from) <= day and (self.valid_to is None or day < self.valid_to)


def _day(day: int | None) -> int:
    return _ALWAYS if day is None else day


def subject_of(id_type: str, number: str) -> str:
    """The key of a number's subject."""
    return f"id:{id_type}|{number}"


def code_subjects(row: Row) -> Iterable[str]:
    """The subject of an organisation code's certificate."""
    number = valid_number(ORG_CODE, row["org_code"])
    if number is None:
        raise RejectedRow("ORG_CODE_INVALID", f"step {validate_org_code(row['org_code']).code or 'PLACEHOLDER'}")
    return [subject_of(ORG_CODE, number)]


def claim_row(org: str, feed: str, row_id: str, uscc: str | None, held: Iterable[Sequence[Any]]) -> Row:
    """What an organisation tells a number: `held` are (from, to, is stated, position, committed ms)."""
    return {"org": org, "feed": feed, "row_id": row_id, "uscc": uscc, "held": [list(entry) for entry in held]}


def fold(subject: Subject) -> Outcome:
    """Whose the number is, what its claimants and askers are told, and what of it waits for a person."""
    rules = rules_at(subject.now)
    id_type, _, number = subject.id.partition("|")
    outcome = Outcome()
    holdings = sorted(_holdings(subject), key=lambda holding: (holding.rank, holding.org))
    owner = _owner(holdings)
    _dispute(subject, id_type, holdings, rules, outcome)
    _standings(id_type, number, holdings, owner, outcome)
    certificate = _certificate(subject, number, holdings, rules, outcome) if id_type == ORG_CODE else None
    _answer(subject, id_type, number, holdings, certificate, outcome)
    _map(id_type, number, holdings, owner, certificate, outcome)
    return outcome


def _holdings(subject: Subject) -> Iterable[Holding]:
    for claim in subject.told("claim"):
        for begins, ends, is_stated, position, committed_at_ms in claim["held"]:
            fact = Fact(claim["feed"], claim["row_id"], {"org": claim["org"]}, position, 0, committed_at_ms)
            yield Holding(claim["org"], begins, ends, is_stated, fact, claim["uscc"])


def _live(holdings: Sequence[Holding]) -> list[Holding]:
    """The first present claim of each organisation, in order of rank."""
    found: dict[str, Holding] = {}
    for holding in holdings:
        if holding.valid_to is None:
            found.setdefault(holding.org, holding)
    return list(found.values())


def _first(holdings: Sequence[Holding]) -> Holding | None:
    """The one that was first, if one was."""
    if len(holdings) > 1 and holdings[0].rank == holdings[1].rank:
        return None
    return holdings[0] if holdings else None


def _owner(holdings: Sequence[Holding]) -> Holding | None:
    """Whose the number is now: the live claimant's, or else the last one's."""
    if live := _live(holdings):
        return _first(live)
    ended: dict[str, Holding] = {}
    for holding in sorted(holdings, key=lambda holding: holding.valid_to or 0, reverse=True):
        ended.setdefault(holding.org, holding)
    last = list(ended.values())
    if len(last) > 1 and last[0].valid_to == last[1].valid_to:
        return None
    return last[0] if last else None


def _dispute(subject: Subject, id_type: str, holdings: Sequence[Holding], rules: Rules, outcome: Outcome) -> None:
    live = _live(holdings)
    if len(live) < 2 or (id_type == ORG_CODE and live[0].uscc and len({holding.uscc for holding in live}) == 1):
        return  # a code within one USCC that two claim: the USCC says so already
    item = conflict(
        f"{id_type}_CLAIMED_TWICE",
        [subject.key],
        [holding.fact for holding in live[: rules.claims_shown_max]],
        detail=f"{len(live)} live organisations claim it; the first keeps it, the others do not get it",
        values=lambda fact: (fact.row or {})["org"],
    )
    outcome.publish(CONFLICT, item)


def _standings(id_type: str, number: str, holdings: Sequence[Holding], owner: Holding | None, outcome: Outcome) -> None:
    live = {holding.org for holding in holdings if holding.valid_to is None}
    for org in dict.fromkeys(holding.org for holding in holdings):
        is_held = org not in live or (owner is not None and owner.org == org)
        row = {"id_type": id_type, "id_no": number, "is_held": is_held}
        outcome.tells.append(Tell(f"org:{org}", "standing", row, id=f"{id_type}|{number}"))


def resolve(holdings: Sequence[Holding], day: int) -> tuple[str | None, int]:
    """Whose the number was on a day, and how many come into question; None where that cannot be told.

    On a day on which nobody had it, the next one after it counts (registers write late), then the last one before.
    """
    covering = list(dict.fromkeys(holding.org for holding in holdings if holding.covers(day)))
    if covering:
        return (covering[0], 1) if len(covering) == 1 else (None, len(covering))
    after = [holding for holding in holdings if _day(holding.valid_from) > day]
    if after:
        first = after[0].valid_from
        near = {holding.org for holding in after if holding.valid_from == first}
    else:
        ends = max((holding.valid_to or 0 for holding in holdings), default=0)
        near = {holding.org for holding in holdings if holding.valid_to == ends}
    return (near.pop(), 1) if len(near) == 1 else (None, len(near))


@dataclass(frozen=True, slots=True)
class _Certificate:
    """An organisation code's certificate (组织机构代码证) and the organisation it was matched to."""

    org: str | None
    candidates: int
    tier: str
    valid_from: int | None
    valid_to: int | None


def _certificate(
    subject: Subject, number: str, holdings: Sequence[Holding], rules: Rules, outcome: Outcome
) -> _Certificate | None:
    facts = subject.of(CODES)
    if not facts:
        return None
    fact = brought(facts[-1])
    row = fact.row or {}
    issued = row["issued_date"]
    registration_no = valid_number(REGISTRATION_NO, row["registration_no"])
    if registration_no:
        ask = {"asker": subject.key, "ask": ORG_CODE, "day": _day(issued)}
        outcome.tells.append(Tell(subject_of(REGISTRATION_NO, registration_no), "ask", ask))
    if holdings:
        (org, candidates), tier = resolve(holdings, _day(issued)), "O1"
    else:
        org, candidates, tier = _through_registration(subject, fact, number, outcome)
    certificate = _Certificate(org, candidates, tier, issued, _ends(row))
    if org is None:
        unmatched(subject, [fact], candidates, rules, outcome)
    else:
        link = {
            "id_type": ORG_CODE,
            "id_no": number,
            "valid_from": certificate.valid_from,
            "valid_to": certificate.valid_to,
            "source": CODES,
            "match_method": tier,
            "committed_at_ms": fact.committed_at_ms,
        }
        outcome.tells.append(Tell(f"org:{org}", "link", link, id=subject.id))
    return certificate


def _through_registration(subject: Subject, fact: Fact, number: str, outcome: Outcome) -> tuple[str | None, int, str]:
    """O2: the certificate's registration number leads to the organisation, unless its USCC holds another code."""
    for answer in subject.told("answer"):
        if answer["org"] is None:
            return None, answer["candidates"], "O2"
        inner = org_code_of(answer["uscc"])
        if inner is None or inner == number:
            return answer["org"], 1, "O2"
        detail = "the registration number's organisation has a USCC whose characters 9 to 17 are another code"
        outcome.publish(CONFLICT, conflict("ORG_CODE_MISMATCH", [subject.key, answer["org"]], [fact], detail=detail))
        return None, -1, "O2"
    return None, 0, "O2"


def _ends(row: Row) -> int | None:
    valid_to = None if row["valid_to"] is None else row["valid_to"] + _DAY_AFTER
    if row["status"] in {"CANCELLED", "EXPIRED"} and row["status_date"] is not None:
        ended = row["status_date"] + (_DAY_AFTER if row["status"] == "EXPIRED" else 0)
        return ended if valid_to is None else min(valid_to, ended)
    return valid_to


def brought(fact: Fact) -> Fact:
    """The version that brought what the row says here: updates of columns that do not travel change nothing."""
    return origin(fact, lambda row: row)


def unmatched(subject: Subject, facts: Sequence[Fact], candidates: int, rules: Rules, outcome: Outcome) -> None:
    """Queue rows that belong to nobody, once the others have had time to come; or at once if several may own them."""
    if candidates < 0:
        return  # said already, as what it is
    if candidates:
        detail = f"{candidates} organisations come into question"
        outcome.publish(CONFLICT, *(conflict("AMBIGUOUS", [subject.key], [fact], detail=detail) for fact in facts))
        return
    due = max(fact.committed_at_ms for fact in facts) * 1000 + rules.unmatched_after
    if subject.now < due:
        outcome.wake(due)
        return
    detail = "no organisation has a number of it"
    outcome.publish(CONFLICT, *(conflict("NO_MATCH", [subject.key], [fact], detail=detail) for fact in facts))


def _answer(
    subject: Subject,
    id_type: str,
    number: str,
    holdings: Sequence[Holding],
    certificate: _Certificate | None,
    outcome: Outcome,
) -> None:
    for ask in subject.told("ask"):
        tier = _TIERS[id_type]
        if holdings:
            org, candidates = resolve(holdings, ask["day"])
        elif certificate is not None:
            org, candidates, tier = certificate.org, max(certificate.candidates, 0), certificate.tier
        else:
            org, candidates = None, 0
        uscc = next((holding.uscc for holding in holdings if holding.org == org), None)
        row = {
            "ask": ask["ask"],
            "id_type": id_type,
            "org": org,
            "candidates": candidates,
            "uscc": uscc,
            "match_method": tier,
        }
        outcome.tells.append(Tell(ask["asker"], "answer", row, id=f"{id_type}|{number}|{ask['ask']}"))


def _map(
    id_type: str,
    number: str,
    holdings: Sequence[Holding],
    owner: Holding | None,
    certificate: _Certificate | None,
    outcome: Outcome,
) -> None:
    org = owner.org if owner else None
    if not holdings and certificate is not None:
        org = certificate.org
    if org is None:
        return
    if certificate is not None and certificate.org == org:
        outcome.publish(IDENTIFIER, mapping(id_type, number, org, certificate.valid_from, certificate.valid_to, CODES))
    elif owner is not None and owner.is_stated:
        row = mapping(id_type, number, org, owner.valid_from, owner.valid_to, owner.fact.feed)
        outcome.publish(IDENTIFIER, row)


def mapping(id_type: str, number: str, org: str, valid_from: int | None, valid_to: int | None, source: str) -> Row:
    """A row of the identifier mapping (标识映射)."""
    return {
        "id_type": id_type,
        "id_no": number,
        "subject_kind": "ORGANISATION",
        "subject_key": org,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "source": source,
    }
