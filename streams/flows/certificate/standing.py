"""The standing of a certificate at a moment: what every counter must see, from all that is known (HANDBOOK §4 J).

| status    | cause                                                                                              |
|-----------|----------------------------------------------------------------------------------------------------|
| REJECTED  | COUNTERFEIT_NUMBER, FORGED_SIGNATURE: never was a good certificate                                  |
| (source)  | SOURCE: suspended, expired, revoked or cancelled by the issuer                                      |
| CANCELLED | RENEWED: a successor names it as its predecessor                                                    |
| SUSPENDED | NOT_YET before its term; HOLDER_DEAD, lifted when the death is retracted (C5); CARD_NOT_VALID       |
| EXPIRED   | TERM: after the last day of its term                                                                |
| VALID     | NONE                                                                                               |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.dated.configuration import midnight
from streams.operators.flow import Fact, Row


@dataclass(frozen=True, slots=True)
class Known:
    """What others say of a certificate. `versions` are its own rows, oldest first; `successors` rows that renew it.

    `life` and `card` are None where they do not apply; `forged_versions` failed the check of their signature.
    """

    versions: Sequence[Fact]
    successors: Sequence[Fact] = ()
    life: Row | None = None
    card: Row | None = None
    number_fault: str | None = None
    forged_versions: frozenset[int] = frozenset()

    def at(self, moment: int) -> Fact:
        """The version in force at a moment; before the first one we heard of, the first one."""
        return next((fact for fact in reversed(self.versions) if fact.event_at <= moment), self.versions[0])


@dataclass(frozen=True, slots=True)
class Standing:
    """`since` is when the cause took effect, microseconds, as far as it is known."""

    status: str
    cause: str = "NONE"
    since: int | None = None


def standing(known: Known, moment: int) -> Standing:
    """The standing at an event time. Pure: a use long ago is judged as of then, with what is known now."""
    for rule in (_never_good, _by_issuer, _by_successor, _by_term, _by_evidence):
        if (found := rule(known, known.at(moment), moment)) is not None:
            return found
    return Standing("VALID")


def _never_good(known: Known, fact: Fact, _: int) -> Standing | None:
    if known.number_fault or (known.card is not None and known.card["fault"]):
        return Standing("REJECTED", "COUNTERFEIT_NUMBER")
    if _row(fact)["version"] in known.forged_versions:
        return Standing("REJECTED", "FORGED_SIGNATURE")
    return None


def _by_issuer(_: Known, fact: Fact, moment: int) -> Standing | None:
    status = _row(fact)["status"]
    return None if status == "VALID" or _is_before(fact, moment) else Standing(status, "SOURCE", fact.event_at)


def _by_successor(known: Known, _: Fact, moment: int) -> Standing | None:
    begins = min((midnight(_row(fact)["valid_from"]) for fact in known.successors), default=None)
    return None if begins is None or begins > moment else Standing("CANCELLED", "RENEWED", begins)


def _by_term(_: Known, fact: Fact, moment: int) -> Standing | None:
    row = _row(fact)
    if moment < midnight(row["valid_from"]):
        return Standing("SUSPENDED", "NOT_YET")
    ends = None if row["valid_to"] is None else midnight(row["valid_to"] + 1)
    return None if ends is None or moment < ends else Standing("EXPIRED", "TERM", ends)


def _by_evidence(known: Known, _: Fact, moment: int) -> Standing | None:
    if known.life is not None and known.life["life_status"] == "DECEASED":
        died = None if known.life["death_date"] is None else midnight(known.life["death_date"])
        if died is None or died <= moment:
            return Standing("SUSPENDED", "HOLDER_DEAD", died)
    if known.card is not None and known.card["status"] != "VALID":
        return Standing("SUSPENDED", "CARD_NOT_VALID")
    return None


def _row(fact: Fact) -> Row:
    assert fact.row is not None  # only versions that exist are known
    return fact.row


def _is_before(fact: Fact, moment: int) -> bool:
    """Whether a moment lies before the only version we know, and before the day on which its status began."""
    began = _row(fact)["status_date"]
    return moment < fact.event_at and began is not None and moment < midnight(began)


def next_boundary(known: Known, moment: int) -> int | None:
    """When the standing may change by time alone."""
    row = _row(known.at(moment))
    bounds = [midnight(row["valid_from"])]
    if row["valid_to"] is not None:
        bounds.append(midnight(row["valid_to"] + 1))
    bounds += [midnight(_row(fact)["valid_from"]) for fact in known.successors]
    return min((bound for bound in bounds if bound > moment), default=None)
