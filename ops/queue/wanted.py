"""Wanted: the outcome that an officer gives, in words, and what it comes to for one item.

note | dismiss | hold                                 prefer | leave-out | accept <feed>, or a number of `mesh queue show`
correct <feed> <column>=<value>                        answer <verdict>        extend <last day>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from ops.command.terminal import SHANGHAI
from ops.grants.explaining.row_key import value_given
from ops.known_names import did_you_mean, few
from ops.queue.items import Item
from schemas.agreement.directory import Directory
from schemas.contract import Contract
from schemas.decision import (
    ANSWER,
    CORRECT,
    EXTEND,
    OF_ROWS,
    OUTCOMES,
    PREFER,
    Decision,
)
from schemas.errors import Misconfigured
from streams.operators.flow import Flow

FORMS = {
    **{outcome: f"{outcome} <feed>" for outcome in OF_ROWS},
    CORRECT: "correct <feed> <column>=<value>",
    ANSWER: "answer <verdict>",
    EXTEND: "extend <last day, such as 2026-12-31>",
}
_BY_AN_EARLIER_VERSION = "was written by an earlier version of the flows, and does not say whose it is"


class Unfit(Exception):
    """Of an item such a thing cannot be decided: `why`, and what to do."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(why)
        self.why = why
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An outcome with its arguments, not yet looked at beside an item."""

    outcome: str
    row: str = ""
    column: str = ""
    value: str = ""
    verdict: str = ""
    until: int = 0

    @classmethod
    def of(cls, words: Sequence[str]) -> Wanted:
        """Read the words. Raises Misconfigured, naming no value."""
        outcome, *rest = words
        if outcome not in OUTCOMES:
            raise Misconfigured(f"outcome {outcome}", "does not exist", fix=did_you_mean(outcome, OUTCOMES))
        form = FORMS.get(outcome, outcome)
        if len(rest) != len(form.split(" <")) - 1:
            raise Misconfigured(f"outcome {outcome}", "has another number of words behind it", fix=f"write: {form}")
        if outcome == CORRECT:
            column, equals, value = rest[1].partition("=")
            if not equals:
                raise Misconfigured(f"outcome {outcome}", "says no value", fix=f"write: {form}")
            return cls(outcome=outcome, row=rest[0], column=column, value=value)
        if outcome in OF_ROWS:
            return cls(outcome=outcome, row=rest[0])
        if outcome == ANSWER:
            return cls(outcome=outcome, verdict=rest[0].upper())
        if outcome == EXTEND:
            return cls(outcome=outcome, until=_end_of(rest[0]))
        return cls(outcome=outcome)

    def decision(self, item: Item, directory: Directory, *, by: str, reason: str, at: int) -> Decision:
        """What it comes to for this item. Raises Unfit."""
        if not item.subject:
            raise Unfit(
                _BY_AN_EARLIER_VERSION, "correct at its source what it is about: then it is written anew, or goes"
            )
        if self.outcome not in item.outcomes:
            raise Unfit(*_why_not(self.outcome, item))
        claims, column, value = (), "", None
        if self.outcome in OF_ROWS:
            claims = self._claims(item)
        if self.outcome == CORRECT:
            column, value = self.column, self._corrected(item, claims, directory)
        if self.outcome == ANSWER and self.verdict not in item.flow.verdicts:
            raise Unfit(f"{self.verdict} is no answer in {item.flow.name}", f"answer {few(item.flow.verdicts)}")
        if self.outcome == EXTEND and self.until <= item.row["opened_at"]:
            raise Unfit("the day is over by the time from which the item is there", "extend it to a later day")
        return Decision(
            flow=item.flow.name,
            subject=item.subject,
            item=item.row["conflict_id"],
            outcome=self.outcome,
            says=self._says(item, claims),
            by=by,
            at=at,
            opened_at=item.row["opened_at"],
            basis=item.basis,
            claims=claims,
            column=column,
            value=value,
            verdict=self.verdict,
            until=self.until,
            reason=reason,
        )

    def _claims(self, item: Item) -> tuple[int, ...]:
        """The places of the rows that are meant; of those that are not, where one is preferred."""
        rows = item.row["claims"]
        named = [place for place, claim in enumerate(rows) if self.row in {claim["feed"], str(place + 1)}]
        if not named:
            raise Unfit(
                f"it cites no row of {self.row}", f"name one of {few(item.feeds)}, or a number of `mesh queue show`"
            )
        if self.outcome == CORRECT and len(named) > 1:
            raise Unfit(f"it cites several rows of {self.row}", "name one by its number in `mesh queue show`")
        if self.outcome != PREFER:
            return tuple(named)
        if len(named) == len(rows):
            raise Unfit(f"all its rows are of {self.row}", "name one by its number in `mesh queue show`")
        return tuple(place for place in range(len(rows)) if place not in named)

    def _corrected(self, item: Item, claims: tuple[int, ...], directory: Directory) -> Any:
        """The other value, raw Avro, of a column that the flow reads."""
        feed = item.row["claims"][claims[0]]["feed"]
        entry = directory.feeds.get(feed)
        if entry is None:
            raise Unfit(
                "the row is what another subject of the flow says",
                "decide about that one's item, or `leave-out` the row",
            )
        contract = entry.contract
        columns = correctable(item.flow, contract)
        if self.column not in columns:
            raise Unfit(
                f"{item.flow.name} reads no column {self.column} of {feed} that may be corrected",
                did_you_mean(self.column, columns),
            )
        try:
            return value_given(contract.by_name[self.column], self.value, f"{feed}, {self.column}")
        except Misconfigured as error:
            raise Unfit(error.problem, error.fix) from error

    def _says(self, item: Item, claims: tuple[int, ...]) -> str:
        if self.outcome == CORRECT:
            return f"{CORRECT} {item.row['claims'][claims[0]]['feed']} {self.column}"
        if self.outcome in OF_ROWS:
            feed = self.row if not self.row.isdigit() else item.row["claims"][int(self.row) - 1]["feed"]
            return f"{self.outcome} {feed}"
        if self.outcome == EXTEND:
            last = datetime.fromtimestamp(self.until // 1_000_000, SHANGHAI) - timedelta(days=1)
            return f"{EXTEND} {last.date()}"
        return f"{self.outcome} {self.verdict}".strip()


def correctable(flow: Flow, contract: Contract) -> list[str]:
    """The columns of a feed that a flow reads, but for the key: those that may be corrected."""
    read = {name for one in flow.inputs if one.feed == contract.feed for name in one.columns or contract.by_name}
    return sorted((read & contract.by_name.keys()) - set(contract.key))


def _end_of(text: str) -> int:
    """The end of a day in Shanghai, microseconds."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Misconfigured("extend", "names no day", fix="write it as 2026-12-31") from None
    midnight = datetime(day.year, day.month, day.day, tzinfo=SHANGHAI) + timedelta(days=1)
    return int(midnight.timestamp()) * 1_000_000


def _why_not(outcome: str, item: Item) -> tuple[str, str]:
    if not item.outcomes:
        return "a fold failed: no decision mends that", "see the log of the flows, and report it"
    may = few(item.outcomes)
    if outcome in OF_ROWS and not item.row["claims"]:
        return f"{item.cause} cites no row that could be decided about", f"it may be: {may}"
    return f"{item.cause} cannot be decided by {outcome}", f"it may be: {may}"
