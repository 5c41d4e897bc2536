"""Authorisation (授权书): who of a household must have signed, whether all have, what for and until when. Default deny.

A member signs from the adult age on; supporters (赡养人) are members like the others. What one adult did not authorise is asked
about nobody: a household's picture with one member left out is no picture. A date of revocation counts as soon as it is known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from schemas.dated.configuration import midnight
from streams.flows.inquiry.identity import Member, birthday, canonical, household_of
from streams.operators.flow import Row, Subject

MEMBERS, AUTHORISATIONS = "civil.check_member", "civil.check_authorisation"


@dataclass(frozen=True, slots=True)
class Signed:
    """How the household's authorisations stand at a moment.

    `missing` are adults without one in force; `scopes` is what all of them cover; `papers` are those in force; `since` is when
    the last that was needed came, `until` when the first ends; `next_change` is when to look again.
    """

    missing: tuple[str, ...]
    scopes: frozenset[str]
    papers: tuple[str, ...]
    since: int
    until: int
    next_change: int | None

    def covers(self, scope: str) -> bool:
        """Whether every adult lets this be asked; the empty scope needs any authorisation, but one of everybody."""
        return not self.missing and (not scope or scope in self.scopes)


def members(subject: Subject) -> tuple[list[Member], int]:
    """The members with a certain identity number, by number, and how many have none."""
    return household_of(
        (fact.row["citizen_id"], fact.row["name"]) for fact in subject.of(MEMBERS) if fact.row is not None
    )


def signed(subject: Subject, household: Sequence[Member], adult_age: int) -> Signed:
    """Whether every adult of the household has an authorisation in force at `subject.now`."""
    now = subject.now
    changes = [midnight(birthday(member.citizen_id, adult_age)) for member in household]
    adults = [member.citizen_id for member, of_age in zip(household, changes, strict=True) if of_age <= now]
    papers = _papers(subject, adults)
    missing, scopes, since, until = [], None, 0, 0
    for adult in adults:
        valid = [paper for paper in papers.get(adult, ()) if paper.starts <= now < paper.ends]
        if not valid:
            missing.append(adult)
            continue
        covered = frozenset(scope for paper in valid for scope in paper.scope)
        scopes = covered if scopes is None else scopes & covered
        since = max(since, min(paper.known_since for paper in valid))
        until = min(until or valid[0].ends, *(paper.ends for paper in valid))
    every = [paper for one in papers.values() for paper in one]
    changes += [moment for paper in every for moment in (paper.starts, paper.ends)]
    return Signed(
        missing=tuple(missing) if adults else ("",),  # a household of children alone: nobody can consent
        scopes=scopes or frozenset(),
        papers=tuple(sorted(paper.number for paper in every if paper.starts <= now < paper.ends)),
        since=since,
        until=until,
        next_change=min((moment for moment in changes if moment > now), default=None),
    )


@dataclass(frozen=True, slots=True)
class _Paper:
    number: str
    scope: tuple[str, ...]
    starts: int
    ends: int
    known_since: int


def _papers(subject: Subject, adults: Collection[str]) -> Mapping[str, list[_Paper]]:
    found: dict[str, list[_Paper]] = {}
    for fact in subject.of(AUTHORISATIONS):
        row: Row = fact.row or {}
        signer = canonical(row["signer_id"])
        if signer is None or signer not in adults or row["revoked_at"] is not None:
            continue
        starts, ends = midnight(row["valid_from"]), midnight(row["valid_to"] + 1)
        scope = tuple(part for part in row["scope"] or () if part)
        known_since = max(starts, fact.committed_at_ms * 1000)
        found.setdefault(signer, []).append(_Paper(row["authorisation_id"], scope, starts, ends, known_since))
    return found
