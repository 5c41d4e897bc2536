"""Draft: what a source says of its tables, from which `mesh draft` writes first contracts for a person to finish."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from producers.finding import Finding
from schemas.contract import Contract
from schemas.wire.name import avro_name


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A table, or one column of it, that is not in the draft."""

    table: str
    column: str
    reason: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedTable:
    """A table that can be a feed: `stem` is the last part of its feed's name, `key` and `fields` are as in a contract."""

    table: str
    stem: str
    doc: str
    key: Sequence[str]
    fields: Sequence[dict[str, Any]]

    def record(self, gov: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """The contract's record, its `gov` as given and with what is known of the table."""
        name = self.table.partition(".")[2] or self.table
        return {
            "type": "record",
            "name": re.sub(r"(^|_)([a-z0-9])", lambda match: match[2].upper(), avro_name(name)),
            **more,
            **({"doc": self.doc} if self.doc else {}),
            "gov": gov,
            "fields": list(self.fields),
        }

    def contract(self, agency: str) -> Contract:
        """As far as the source knows it."""
        gov = {"table": self.table, "key": list(self.key)}
        return Contract.parse(self.record(gov), f"{agency}.{self.stem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """Tables that can be feeds, what was left out, and what stands in the way of capturing the former.

    `address`: the source's, where it is no secret and may be shown; empty otherwise. `options`: what the source's say, in YAML.
    `sample`: a file of rows as they will be sent, where the draft was made of one.
    """

    tables: list[DraftedTable] = field(default_factory=list[DraftedTable])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    findings: list[Finding] = field(default_factory=list[Finding])
    address: str = ""
    sample: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])


class Drafting(Protocol):
    """How a kind of source is drafted."""

    @property
    def what(self) -> str:
        """What the kind is called among people."""
        ...

    @property
    def address(self) -> str:
        """What an address of it looks like."""
        ...

    def takes(self, address: str, /) -> bool:
        """Whether this may be an address of it."""
        ...

    def draft(
        self, address: str, names: Sequence[str], agency: str, options: Mapping[str, Any], /, *, is_lossless: bool
    ) -> Drafted:
        """Its tables of these names, all when there are none; `options` are the source's.

        `is_lossless` gives columns a text branch where their type cannot hold every value. Raises Misconfigured for a table that
        does not exist, Transient when nothing answers.
        """
        ...


def stems(tables: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each table, `<schema>.<table>`, with the last part of its feed's name; tables of one name in two schemas keep apart."""
    taken: set[str] = set()
    for table in tables:
        schema, _, name = table.partition(".")
        stem = _stem(name)
        if stem in taken:
            stem = f"{_stem(schema)}_{stem}"
        base, number = stem, 2
        while stem in taken:
            stem, number = f"{base}_{number}", number + 1
        taken.add(stem)
        yield table, stem


def _stem(name: str) -> str:
    text = "".join(
        c if c.isascii() and (c.isalnum() or c == "_") else "_" if c.isascii() else f"x{ord(c):x}" for c in name
    )
    text = text.lower()[:60]
    return text if text[:1].isalpha() else f"t{text}"
