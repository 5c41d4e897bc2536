"""Timeline (大事记): a person's life in the departments' own rows, one line each, as `base.person_event`.

A line's id comes from the person and the row it speaks of, so a replay writes the same line again. The lines with `effect`
STOP and RESTORE are what life-dependent services subscribe to; a restore names the stop that it corrects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from schemas.dated.configuration import day_of
from streams.flows.person.ladder import SCORES, Judged
from streams.flows.person.life import Span
from streams.operators.flow import Fact, Row
from streams.operators.merge import deterministic_id

_EPOCH = date(1970, 1, 1)


def day(moment: int) -> int:
    """The day in Asia/Shanghai of a moment in microseconds, as an Avro date."""
    return (day_of(moment) - _EPOCH).days


@dataclass(frozen=True, slots=True)
class _Line:
    """How a feed's rows become lines: the kind (None for no line) and the day."""

    kind: Callable[[Row], str | None]
    day: Callable[[Row, Fact], int]


def _first_heard(_: Row, first: Fact) -> int:
    return day(first.event_at)


_MARRIAGES = ("MARRIAGE", "DIVORCE", "ANNULMENT")
_LINES: Mapping[str, _Line] = {
    "police.residence_permit": _Line(lambda _: "RESIDENCE_PERMIT", lambda row, _: row["valid_from"]),
    "civil.marriage": _Line(
        lambda row: row["kind"] if row["kind"] in _MARRIAGES else None, lambda row, _: row["registered_date"]
    ),
    "edu.student": _Line(lambda _: "SCHOOL", _first_heard),
    "disabled.card": _Line(lambda _: "DISABILITY", lambda row, _: row["issue_date"]),
    "hrss.unemployment": _Line(lambda _: "UNEMPLOYMENT", lambda row, _: row["registered_date"]),
    "police.id_change": _Line(lambda _: "ID_CHANGED", lambda row, _: row["effective_date"]),
}


class Timeline(msgspec.Struct, frozen=True):
    """Writes the lines of one person. `version` is the archive's version of the identity that rows were matched against."""

    id_type: str
    id_no: str
    version: int

    def lines(self, judged: Judged, deaths: Sequence[Span], births: Iterable[Row]) -> list[Row]:
        """All lines. `births` are birth certificates that the name index found to be this person's."""
        found = [self._birth(row) for row in births]
        residents = [fact for fact in judged.accepted if fact.feed == "police.resident"]
        if residents:
            found += self._hukou(judged, residents)
        for fact in judged.accepted:
            line, row = _LINES.get(fact.feed), fact.row
            kind = line.kind(row) if line and row is not None else None
            if line is not None and kind is not None and row is not None:
                first = _first(fact)
                found.append(self._line(kind, fact.row_id, line.day(row, first), first, judged.method_of(fact)))
        for number, span in enumerate(deaths, start=1):
            found += self._death(number, span)
        return found

    def _birth(self, row: Row) -> Row:
        fact = Fact(row["feed"], row["row_id"], None, row["position"], 0, row["committed_at_ms"])
        return self._line("BIRTH", fact.row_id, row["day"], fact, row["method"])

    def _hukou(self, judged: Judged, residents: Sequence[Fact]) -> list[Row]:
        """One registration, however many rows and numbers it went through; and how it stands if not registered."""
        first = min((_first(fact) for fact in residents), key=lambda fact: (fact.committed_at_ms, fact.row_id))
        found = [self._line("HUKOU", "", day(first.event_at), first, judged.method_of(first))]
        for fact in residents:
            status = (fact.row or {})["status"]
            if status in {"MOVED_OUT", "CANCELLED"}:
                since = _since(fact, status)
                found.append(self._line(status, fact.row_id, day(since.event_at), since, judged.method_of(fact)))
        return found

    def _death(self, number: int, span: Span) -> list[Row]:
        stop = self._id("DEATH", str(number))
        died_on = span.death.died_on
        if died_on is None:
            died_on = day(span.began.committed_at_ms * 1000)
        method = max((span.death.methods[claim.feed, claim.row_id] for claim in span.death.claims), default="P0")
        found = [self._line("DEATH", str(number), died_on, span.began, method, effect="STOP")]
        if span.ended is not None:
            ended_on = day(span.ended.committed_at_ms * 1000)
            found.append(
                self._line("RESTORED", str(number), ended_on, span.ended, method, effect="RESTORE", corrects=stop)
            )
        return found

    def _id(self, kind: str, what: str) -> str:
        return deterministic_id(self.id_type, self.id_no, kind, what)

    def _line(
        self,
        kind: str,
        what: str,
        occurred_on: int,
        source: Fact,
        method: str,
        *,
        effect: str = "NONE",
        corrects: str | None = None,
    ) -> Row:
        return {
            "event_id": self._id(kind, what),
            "id_type": self.id_type,
            "id_no": self.id_no,
            "kind": kind,
            "occurred_on": occurred_on,
            "recorded_at": source.committed_at_ms * 1000,
            "effect": effect,
            "corrects": corrects,
            "feed": source.feed,
            "position": source.position,
            "match_method": method,
            "match_score": SCORES[method],
            "base_version": self.version,
        }


def _first(fact: Fact) -> Fact:
    """The first version of a row since it last came into being."""
    first = fact
    for version in reversed(fact.earlier):
        if version.row is None:
            break
        first = version
    return first


def _since(fact: Fact, status: str) -> Fact:
    """The version with which the present status began."""
    since = fact
    for version in reversed(fact.earlier):
        if version.row is None or version.row["status"] != status:
            break
        since = version
    return since
