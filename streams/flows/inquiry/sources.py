"""Sources (来源): the registers that a case asks, as its sources.csv has them, and the inputs that follow from them.

| column         | says                                                                                                  |
|----------------|-------------------------------------------------------------------------------------------------------|
| channel        | FEED: the mesh carries the register, its rows answer; ANSWER: the agency answers by `<agency>.check_answer` |
| persons        | columns that hold a person: `column:name column`, without a name column, or `column@tax` (a tax number) |
| birth          | column with the person's date of birth, for rows without an identity number                            |
| where          | `column=V1;V2&other=V`: rows that count; nothing after the sign means null                              |
| reference, …   | what a report shows of a row; `amount@ten_thousand` is 万元, `date@utc` and `date@local` are timestamps   |
| use            | DECLARED: the household must have declared it; INCOME: monthly income; ASSET: summed; CIRCUMSTANCE      |
| scope          | what an authorisation must name; empty: any authorisation will do                                      |
| deadline_days  | working days to answer; kinds: of case that it is asked for                                            |

The columns before `channel`, `feed` and `persons` must be there; of the others a table may leave out what it does not use. Only
the feeds' columns named here travel to a person's subject, and only rows that count do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.dated.calendar import day_at
from schemas.dated.configuration import Dated, dated
from schemas.errors import Misconfigured
from streams.flows.inquiry.identity import Holder, subjects_of
from streams.operators.flow import Input, Row

FEED, ANSWER = "FEED", "ANSWER"
DECLARED, INCOME, ASSET, CIRCUMSTANCE = "DECLARED", "INCOME", "ASSET", "CIRCUMSTANCE"
_USES = frozenset({DECLARED, INCOME, ASSET, CIRCUMSTANCE})
_UNITS = {"": 1, "ten_thousand": 10_000}
_ALSO_NEEDED = {"police.resident": frozenset({"former_name"})}
"""Columns that identify rather than tell: other registers may still have the name of before."""
_BEIJING_MICROS = 8 * 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One line of sources.csv."""

    code: str
    name: str
    agency: str
    channel: str
    feed: str
    holders: tuple[Holder, ...]
    birth: str
    where: Mapping[str, frozenset[str]]
    reference: tuple[str, ...]
    value: str
    amount: tuple[str, int] | None
    date: tuple[str, str] | None
    use: str
    scope: str
    deadline_days: int
    kinds: frozenset[str]

    @property
    def columns(self) -> frozenset[str]:
        """What of the feed's row is needed."""
        named = {self.birth, self.value, *self.where, *self.reference}
        named |= {column for holder in self.holders for column in (holder.column, holder.name)}
        named |= {part[0] for part in (self.amount, self.date) if part}
        return frozenset(named - {""})

    def counts(self, row: Row) -> bool:
        """Whether a row is a record of this source at all: a scrapped car is none."""
        return all(_text(row[column]) in wanted for column, wanted in self.where.items())

    def item(self, row: Row) -> dict[str, Any]:
        """What a report may show of a row: reference, value, amount in cents, day."""
        reference = next((row[column] for column in self.reference if row[column]), None)
        amount = self._cents(row)
        value = _text(row[self.value]) if self.value else ""
        return {
            "reference": reference,
            "value": value or (yuan(amount) if amount is not None else None),
            "amount": amount,
            "day": self._day(row),
        }

    def _cents(self, row: Row) -> int | None:
        if self.amount is None or row[self.amount[0]] is None:
            return None
        return cents(row[self.amount[0]]) * self.amount[1]

    def _day(self, row: Row) -> int | None:
        if self.date is None or row[self.date[0]] is None:
            return None
        moment, form = row[self.date[0]], self.date[1]
        return moment if not form else day_at(moment if form == "utc" else moment - _BEIJING_MICROS)


def cents(amount: bytes) -> int:
    """A decimal(…,2) as Avro carries it, as a whole number of cents."""
    return int.from_bytes(amount, "big", signed=True)


def decimal_bytes(amount: int) -> bytes:
    """Cents as Avro carries a decimal(…,2)."""
    return amount.to_bytes((amount.bit_length() + 8) // 8, "big", signed=True)


def yuan(amount: int) -> str:
    """Cents as text in yuan."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100}.{abs(amount) % 100:02}"


def cents_of(text: str) -> int:
    """Yuan written with two decimals, as configuration has them, in cents."""
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int(part.ljust(2, "0")[:2])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(text: str) -> tuple[str, str]:
    column, _, form = text.partition("@")
    return column, form


_LEFT_OUT = dict.fromkeys(("birth", "where", "reference", "value", "amount", "date", "scope", "kinds"), "")


def _source(line: Mapping[str, Any]) -> Source:
    line = {**_LEFT_OUT, "use": CIRCUMSTANCE, **line}
    code = line["source"]
    if line["channel"] not in {FEED, ANSWER} or line["use"] not in _USES:
        raise Misconfigured(f"sources.csv, {code}", "has an unknown channel or use", fix="see sources.py for both")
    where = (part.partition("=") for part in line["where"].split("&") if part)
    amount, date = _at(line["amount"]), _at(line["date"])
    return Source(
        code=code,
        name=line["name"],
        agency=line["agency"],
        channel=line["channel"],
        feed=line["feed"],
        holders=tuple(Holder.read(text) for text in line["persons"].split(";")),
        birth=line["birth"],
        where={column: frozenset(values.split(";")) for column, _, values in where},
        reference=tuple(column for column in line["reference"].split(";") if column),
        value=line["value"],
        amount=(amount[0], _UNITS[amount[1]]) if amount[0] else None,
        date=date if date[0] else None,
        use=line["use"],
        scope=line["scope"],
        deadline_days=int(line["deadline_days"]),
        kinds=frozenset(line["kinds"].split(";")),
    )


class Sources:
    """A table of sources."""

    def __init__(self, lines: Dated) -> None:
        self._lines = lines
        self._parsed = {id(entry.values): _source(entry.values) for entry in lines.entries}

    @classmethod
    def read(cls, path: Path) -> Sources:
        """A table from a CSV of the columns above. Raises Misconfigured."""
        return cls(dated(path, key=["source"]))

    def at(self, moment: int) -> list[Source]:
        """The sources in force at a moment, in the order of their codes."""
        found = (self._parsed[id(values)] for values in self._lines.all_at(moment))
        return sorted(found, key=lambda source: source.code)

    def every(self) -> Sequence[Source]:
        """Every source that ever was."""
        return tuple(self._parsed.values())

    def feeds(self) -> Mapping[str, Sequence[Source]]:
        """Captured feed to the sources that its rows answer."""
        found: dict[str, list[Source]] = {}
        for source in self.every():
            if source.channel == FEED:
                found.setdefault(source.feed, []).append(source)
        return found

    def answer_feeds(self) -> Sequence[str]:
        """The feeds by which agencies may answer; any agency of the table may thus report that its register failed."""
        return sorted({f"{source.agency}.check_answer" for source in self.every()})

    def inputs(self) -> list[Input]:
        """Rows of the shared registers, to the persons whom they are about."""
        inputs: list[Input] = []
        for feed, sources in self.feeds().items():
            columns = _ALSO_NEEDED.get(feed, frozenset[str]()).union(*(source.columns for source in sources))
            inputs.append(Input(feed=feed, subjects=_subjects(sources), columns=sorted(columns)))
        return inputs


def _subjects(sources: Sequence[Source]) -> Callable[[Row], Iterable[str]]:
    def subjects(row: Row) -> Iterable[str]:
        return subjects_of(row, sources[0].holders) if any(source.counts(row) for source in sources) else ()

    return subjects
