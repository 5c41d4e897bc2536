"""Contract: an agency's schema file for one table: an Avro record with owner, key, sharing class, tags and rules.

The text registers unchanged in any Confluent-compatible registry; what we add are attributes that Avro readers ignore:

| attribute            | where          | meaning                                                                  |
|----------------------|----------------|--------------------------------------------------------------------------|
| `doc`                | record, field  | Chinese name, optionally a vertical bar and a note                        |
| `confluent:tags`     | field          | PII, L1 to L4, DIRECT_ID, QUASI_ID, SENSITIVE                             |
| `gov.provider`, `gov.key`, `gov.resource` | record | agency code, key columns, resource title                     |
| `gov.table`, `gov.source` | record    | table in the source (default `public.<feed's last part>`), source's name (default `main`) |
| `gov.class`, `gov.open`, `gov.basis` | record, field | sharing class, opening, legal basis; a field inherits the record's  |
| `gov.element`, `gov.unit`, `gov.values` | field | data element, unit, closed vocabulary (code to meaning)          |
| `gov.rules`          | record         | `{name, expr, onFailure: DLQ or WARN}`                                   |
| `column`             | field          | the column's own name, where it is not a legal Avro name                 |
| `pg.type`, `pg.typmod`, `pg.notnull`, `mysql.type`, `mysql.notnull` | field | what `mesh draft` saw in the database |

The wire row differs from the contract in one thing: every non-key field is nullable with default null, whatever the
contract says of the column, because a delete may know only the key (SR-05).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schemas.errors import Misconfigured
from schemas.feed import check_feed

AvroType = Any  # a name, a mapping, or a list of branches, as JSON gives it


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of a contract. `branches` are its Avro types without "null", in order: one, or two when lossless."""

    name: str
    branches: tuple[AvroType, ...]
    is_nullable: bool
    is_key: bool
    doc: str
    tags: frozenset[str]
    gov: Mapping[str, Any]
    properties: Mapping[str, Any]

    @property
    def column(self) -> str:
        """The column's name in the source."""
        return self.properties.get("column", self.name)

    @property
    def is_lossless(self) -> bool:
        """Whether a `string` branch carries verbatim what the typed branch cannot hold."""
        return len(self.branches) == 2 and self.branches[1] == "string"

    @property
    def logical_type(self) -> str | None:
        """The logical type of the typed branch, such as `decimal` or `date`."""
        branch = self.branches[0]
        return branch.get("logicalType") if isinstance(branch, Mapping) else None

    def wire_type(self) -> AvroType:
        """The field's type in the wire row: key fields as they are, all others nullable."""
        if self.is_key and not self.is_nullable:
            return self.branches[0] if len(self.branches) == 1 else list(self.branches)
        return ["null", *self.branches]


@dataclass(frozen=True)
class Rule:
    """A data-quality rule: a row for which `expression` is false goes to the dead letters (DLQ) or is marked (WARN)."""

    name: str
    expression: str
    is_fatal: bool


@dataclass(frozen=True)
class Contract:
    """One version of an agency's agreement for one table. It never changes; it gets a successor (invariant 5).

    `record` is the parsed `.avsc`. Two contracts are equal if feed and record are.
    """

    feed: str
    record: Mapping[str, Any]

    @classmethod
    def parse(cls, record: Mapping[str, Any], feed: str) -> Contract:
        """Check what every hop relies on; `mesh check` (ops/lint/check.py) explains the rest. Raises Misconfigured."""
        check_feed(feed)
        if record.get("type") != "record" or not record.get("fields"):
            raise Misconfigured(
                f"contract {feed}", "is no Avro record with fields", fix='start it with "type": "record"'
            )
        gov = record.get("gov") or {}
        names = [field.get("name") for field in record["fields"]]
        key = gov.get("key") or []
        if not key or any(name not in names for name in key):
            raise Misconfigured(
                f"contract {feed}",
                "names no key among its fields",
                fix='add "gov": {"key": ["<column>", …]} to the record',
            )
        contract = cls(feed, record)
        for field in contract.fields:
            if not field.branches:
                raise Misconfigured(f"contract {feed}", f"field {field.name} has only null", fix="give it a type")
        return contract

    @cached_property
    def gov(self) -> Mapping[str, Any]:
        """The record's own attributes."""
        return self.record.get("gov") or {}

    @property
    def agency(self) -> str:
        """The code of the providing agency."""
        return self.gov.get("provider", self.feed.split(".", 1)[0])

    @property
    def source(self) -> str:
        """The name of the agency's source that holds the table."""
        return self.gov.get("source", "main")

    @property
    def source_name(self) -> str:
        """That source as others call it: `<agency>.<source>`."""
        return f"{self.agency}.{self.source}"

    @property
    def table(self) -> str:
        """The table in the source, `<schema>.<table>`."""
        return self.gov.get("table", f"public.{self.feed.rsplit('.', 1)[1]}")

    @property
    def key(self) -> tuple[str, ...]:
        """Key columns, in key order."""
        return tuple(self.gov["key"])

    @property
    def doc(self) -> str:
        """The Chinese name."""
        return self.record.get("doc", "").split("|", 1)[0]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns, in contract order."""
        return tuple(self._field(entry) for entry in self.record["fields"])

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """The columns by Avro name."""
        return {field.name: field for field in self.fields}

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The data-quality rules, in contract order."""
        return tuple(
            Rule(name=rule["name"], expression=rule["expr"], is_fatal=rule.get("onFailure", "WARN") == "DLQ")
            for rule in self.gov.get("rules", ())
        )

    def _field(self, entry: Mapping[str, Any]) -> Field:
        kind = entry["type"]
        branches = kind if isinstance(kind, list) else [kind]
        inherited = {name: self.gov[name] for name in ("class", "open", "basis") if name in self.gov}
        return Field(
            name=entry["name"],
            branches=tuple(branch for branch in branches if branch != "null"),
            is_nullable="null" in branches,
            is_key=entry["name"] in self.key,
            doc=entry.get("doc", ""),
            tags=frozenset(entry.get("confluent:tags", ())),
            gov={**inherited, **(entry.get("gov") or {})},
            properties={k: v for k, v in entry.items() if k not in {"name", "type", "doc", "default", "gov"}},
        )


def wire_fields(contract: Contract) -> list[dict[str, Any]]:
    """The fields of the wire row, in contract order."""
    fields: list[dict[str, Any]] = []
    for field in contract.fields:
        entry: dict[str, Any] = {"name": field.name, "type": field.wire_type()}
        if isinstance(entry["type"], list) and entry["type"][0] == "null":
            entry["default"] = None
        if field.doc:
            entry["doc"] = field.doc
        if field.tags:
            entry["confluent:tags"] = sorted(field.tags)
        fields.append(entry)
    return fields
