"""What is wrong with one contract, read alone: every problem with its line, its column and its fix."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ops.known_names import did_you_mean, few
from ops.lint.column import looks_personal, unmapped
from ops.lint.folder_form import FIELD_GOV, RECORD_GOV, misspelt
from ops.lint.located import Located, Path
from ops.lint.nested import inner_fields, troubles
from ops.lint.report import Problem, Severity
from schemas.agreement.agency import Agency
from schemas.contract import Contract, Field
from schemas.errors import Misconfigured
from schemas.expression.expression import parse as parse_expression
from schemas.expression.predicate import predicate
from schemas.wire.compatibility import describe
from schemas.wire.fault import faults
from schemas.wire.schema import kind_of
from sinks.row import RESERVED

CLASSES = ("UNCONDITIONAL", "CONDITIONAL", "NOT_SHARED")
OPENINGS = ("OPEN", "CONDITIONAL_OPEN", "NOT_OPEN")
TAGS = frozenset({"PII", "L1", "L2", "L3", "L4", "DIRECT_ID", "QUASI_ID", "SENSITIVE"})
UNDECIDED = "DRAFT"
"""A legal basis that starts so was put there by `mesh draft`: a person has yet to decide."""

_TABLE = re.compile(r"[^.]+\..+")


class ContractLint:
    """One contract's file under inspection. `problems` is in the order in which they were found."""

    def __init__(self, file: str, feed: str, located: Located) -> None:
        self._file = file
        self._feed = feed
        self._located = located
        self.problems: list[Problem] = []
        self.contract: Contract | None = None

    def run(self, agency: Agency) -> None:
        """Look at everything. Afterwards `contract` is the contract, unless it is too broken to be one."""
        record = self._located.value
        for path, line in self._located.twice:
            self._add(Severity.ERROR, path, "", f"{path[-1]} is given twice; the first is lost", "keep one", line)
        self._faults(record)
        if any(problem.severity is Severity.ERROR for problem in self.problems):
            return
        self._shape(record)
        if any(problem.severity is Severity.ERROR for problem in self.problems):
            return
        try:
            self.contract = Contract.parse(record, self._feed)
        except Misconfigured as error:
            self._add(Severity.ERROR, (), "", str(error.args[0]), error.fix)
            return
        self._record(self.contract, agency)
        is_derived = agency.has_flow(self.contract.source)
        for index, field in enumerate(self.contract.fields):
            self._field(self.contract, field, ("fields", index), is_derived=is_derived)
        self._duplicates(self.contract)
        self._docs(self.contract)
        self._rules(self.contract)

    # --- places -----------------------------------------------------------------------------------------------------

    def line_of(self, column: str) -> int:
        """The line of a column's name; 1 when there is no such column."""
        record = self._located.value
        fields = record.get("fields") if isinstance(record, Mapping) else None
        for index, field in enumerate(fields if isinstance(fields, list) else ()):
            if isinstance(field, Mapping) and field.get("name") == column:
                return self._located.line(("fields", index, "name"))
        return 1

    def _add(self, severity: Severity, path: Path, field: str, message: str, fix: str, line: int | None = None) -> None:
        if line is None:
            line = self._located.line(path)
        self.problems.append(
            Problem(severity=severity, file=self._file, line=line, field=field, message=message, fix=fix)
        )

    def _field_at(self, path: Path) -> str:
        if len(path) < 2 or path[0] != "fields":
            return ""
        try:
            return str(self._located.value["fields"][path[1]].get("name", ""))
        except (KeyError, IndexError, TypeError, AttributeError):
            return ""

    # --- what Avro says ---------------------------------------------------------------------------------------------

    def _faults(self, record: Any) -> None:
        if not isinstance(record, Mapping):
            self._add(Severity.ERROR, (), "", "is no Avro record", 'write {"type": "record", "name": …, "fields": […]}')
            return
        for fault in faults(record):
            self._add(Severity.ERROR, fault.path, self._field_at(fault.path), fault.message, fault.fix)

    def _shape(self, record: Mapping[str, Any]) -> None:
        if record.get("type") != "record" or not record.get("fields"):
            fix = 'write {"type": "record", "name": …, "fields": […]}'
            self._add(Severity.ERROR, ("type",), "", "is no Avro record with fields", fix)
            return
        gov = record.get("gov")
        if gov is not None and not isinstance(gov, Mapping):
            self._add(Severity.ERROR, ("gov",), "", "gov is no object", 'write "gov": {"key": […], "class": …}')
            return
        self._key(record, gov or {})
        for index, field in enumerate(record["fields"]):
            if field["type"] in ("null", ["null"]):
                fix = 'give it a type: ["null", "string"]'
                self._add(Severity.ERROR, ("fields", index, "type"), field["name"], "can only be null", fix)
            tags = field.get("confluent:tags", [])
            if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
                at = ("fields", index, "confluent:tags")
                self._add(
                    Severity.ERROR, at, field["name"], "confluent:tags is no list of texts", 'write ["PII", "L3"]'
                )
            if not isinstance(field.get("gov", {}), Mapping):
                at = ("fields", index, "gov")
                self._add(
                    Severity.ERROR, at, field["name"], "gov is no object", 'write "gov": {"class": …, "basis": …}'
                )
            if not isinstance(field.get("doc", ""), str):
                self._add(Severity.ERROR, ("fields", index, "doc"), field["name"], "doc is no text", "write a text")

    def _key(self, record: Mapping[str, Any], gov: Mapping[str, Any]) -> None:
        names = [field["name"] for field in record["fields"]]
        key = gov.get("key")
        if not isinstance(key, list) or not key:
            fix = 'add to the record: "gov": {"key": ["<column>", …]}, the columns that make a row unique'
            self._add(Severity.ERROR, ("gov",), "", "names no key: updates and deletes could not be told apart", fix)
            return
        for index, name in enumerate(key):
            if name not in names:
                fix = did_you_mean(str(name), names)
                self._add(Severity.ERROR, ("gov", "key", index), str(name), "is a key column but no field", fix)
        if len(set(map(str, key))) != len(key):
            self._add(Severity.ERROR, ("gov", "key"), "", "the key names a column twice", "name it once")

    # --- the record -------------------------------------------------------------------------------------------------

    def _record(self, contract: Contract, agency: Agency) -> None:
        gov, code, sources = contract.gov, agency.agency, [source.name for source in agency.sources]
        if contract.agency != code:
            fix = f'write "provider": "{code}", or move the file to the folder of {contract.agency}'
            self._add(Severity.ERROR, ("gov", "provider"), "", f"provider {contract.agency} is not {code}", fix)
        if sources and contract.source not in sources:
            fix = f'write "source": "{sources[0]}", or add the source to agency.yaml'
            self._add(Severity.ERROR, ("gov", "source"), "", f"agency.yaml has no source {contract.source}", fix)
        if not isinstance(contract.table, str) or not _TABLE.fullmatch(contract.table):
            at, fix = ("gov", "table"), 'write "table": "<schema>.<table>"'
            self._add(Severity.ERROR, at, "", "gov.table does not name schema and table", fix)
        if "class" not in gov:
            fix = f'add "class" to the record\'s gov: {", ".join(CLASSES)}'
            self._add(Severity.WARNING, ("gov",), "", "does not say how it is shared", fix)
        self._sharing(gov, gov, ("gov",), "")
        self._misspelt(gov, RECORD_GOV, ("gov",), "")

    def _sharing(self, own: Mapping[str, Any], inherited: Mapping[str, Any], at: Path, field: str) -> None:
        """Class, opening and legal basis of a record or field; `inherited` is what holds, `own` what is written there."""
        for name, allowed in (("class", CLASSES), ("open", OPENINGS)):
            if name in own and own[name] not in allowed:
                fix = f"use one of {', '.join(allowed)}"
                self._add(Severity.ERROR, (*at, name), field, f"gov.{name} is {own[name]!r}", fix)
        basis, holds = inherited.get("basis"), inherited.get("class")
        if holds in {"CONDITIONAL", "NOT_SHARED"} and "class" in own:
            if not isinstance(basis, str) or not basis.strip():
                fix = 'add "basis": "<law, article>" to its gov; without one it may not be withheld or restricted'
                self._add(Severity.ERROR, (*at, "class"), field, f"is {holds} without a legal basis", fix)
            elif basis.startswith(UNDECIDED) and ("basis" in own or not field):
                fix = "let the department decide class and legal basis, and write them there"
                self._add(Severity.WARNING, (*at, "basis"), field, f"is {holds} only by the draft's choice", fix)

    def _misspelt(self, own: Mapping[str, Any], known: frozenset[str], at: Path, field: str) -> None:
        for name, meant in misspelt(own, known).items():
            text = f"gov.{name} says nothing to the mesh, so that what it was to say does not hold"
            self._add(Severity.ERROR, (*at, name), field, text, f"did you mean {meant}?")

    # --- the columns ------------------------------------------------------------------------------------------------

    def _field(self, contract: Contract, field: Field, at: Path, *, is_derived: bool) -> None:
        self._type(field, (*at, "type"), is_derived=is_derived)
        if field.name.lower().startswith(RESERVED):
            fix = f"leave it out of the contract, or let the department rename it: {RESERVED} begins the mesh's own columns"
            self._add(Severity.ERROR, (*at, "name"), field.name, "has a name that sinks keep for the mesh", fix)
        if field.is_key:
            self._key_column(contract, field, at)
        own = contract.record["fields"][at[1]].get("gov") or {}
        self._sharing(own, field.gov, (*at, "gov"), field.name)
        self._misspelt(own, FIELD_GOV, (*at, "gov"), field.name)
        self._values(field, own, at)
        if unknown := sorted(field.tags - TAGS):
            fix = f"use {', '.join(sorted(TAGS))}"
            self._add(
                Severity.WARNING, (*at, "confluent:tags"), field.name, f"has unknown tags {', '.join(unknown)}", fix
            )
        if not field.tags and looks_personal(field):
            fix = 'add "confluent:tags": ["PII", "L3"]; or ["L1"] if it is not personal'
            self._add(Severity.WARNING, (*at, "name"), field.name, "looks personal and has no tags", fix)

    def _type(self, field: Field, at: Path, *, is_derived: bool) -> None:
        if len(field.branches) > 1 and not field.is_lossless:
            fix = (
                'use ["null", <type>], or ["null", <type>, "string"] where a text must carry what the type cannot hold'
            )
            shown = " or ".join(describe(branch) for branch in field.branches)
            self._add(Severity.ERROR, at, field.name, f"may be {shown}, which readers cannot tell apart", fix)
        if is_derived:
            self._nested(field, at)
            return
        for branch in field.branches:
            if trouble := unmapped(branch):
                self._add(Severity.ERROR, at, field.name, *trouble)

    def _nested(self, field: Field, at: Path) -> None:
        """A column that a flow writes, and what is inside it."""
        column = self._located.value["fields"][at[1]]["type"]
        for trouble in troubles(column, at):
            self._add(Severity.ERROR, trouble.path, field.name, trouble.message, trouble.fix)
        personal: list[str] = []
        for inner in inner_fields(column, at):
            if lost := sorted(inner.tags - field.tags):
                text = (
                    f"{inner.name} is tagged {', '.join(lost)}, the column is not: grants and displays go by the column"
                )
                fix = f'add to the column: "confluent:tags": {json.dumps(sorted(field.tags | inner.tags))}'
                self._add(Severity.ERROR, inner.path, field.name, text, fix)
            elif not field.tags and inner.is_personal:
                personal.append(inner.name)
        if personal:
            fix = 'add "confluent:tags": ["PII", "L3"] to the column; or ["L1"] if it is not personal'
            self._add(
                Severity.WARNING,
                at,
                field.name,
                f"{', '.join(personal)} looks personal, and the column has no tags",
                fix,
            )

    def _key_column(self, contract: Contract, field: Field, at: Path) -> None:
        if field.is_nullable:
            fix = f'write "type": {_bare(field)}; if the column can be null, choose another key'
            self._add(Severity.ERROR, (*at, "type"), field.name, "is a key column and may be null", fix)
        kind = kind_of(field.branches[0])
        if kind in {"float", "double", "array", "map", "record"}:
            fix = f"choose other key columns for {contract.feed}"
            self._add(Severity.ERROR, (*at, "type"), field.name, f"a {kind} cannot be a key", fix)

    def _values(self, field: Field, own: Mapping[str, Any], at: Path) -> None:
        values = own.get("values")
        if values is None:
            return
        if not isinstance(values, Mapping) or not all(isinstance(meaning, str) for meaning in values.values()):
            fix = 'write "values": {"<code>": "<meaning>", …}'
            self._add(Severity.ERROR, (*at, "gov", "values"), field.name, "gov.values is no list of codes", fix)
        elif field.branches[0] != "string":
            fix = 'write "type": "string": a closed vocabulary is text, so that a new code breaks nobody'
            self._add(
                Severity.WARNING, (*at, "type"), field.name, f"has gov.values but is {describe(field.branches[0])}", fix
            )

    def _duplicates(self, contract: Contract) -> None:
        seen: dict[str, str] = {}
        for index, field in enumerate(contract.fields):
            if (other := seen.setdefault(field.column, field.name)) != field.name:
                at, fix = ("fields", index, "column"), "remove one of the two fields"
                self._add(Severity.ERROR, at, field.name, f"reads column {field.column}, as {other} does", fix)

    def _docs(self, contract: Contract) -> None:
        if not contract.doc:
            fix = 'add "doc": "<中文名>" to the record'
            self._add(Severity.WARNING, (), "", "has no Chinese name", fix)
        if bare := [field.name for field in contract.fields if not field.doc.strip()]:
            fix = 'add "doc": "<中文名>" to each, from the department\'s data dictionary'
            line = self.line_of(bare[0])
            self._add(Severity.WARNING, (), bare[0], f"no doc on {few(bare)}", fix, line)

    # --- the rules --------------------------------------------------------------------------------------------------

    def _rules(self, contract: Contract) -> None:
        rules = contract.gov.get("rules", [])
        if not isinstance(rules, list):
            fix = 'write "rules": [{"name": …, "expr": …, "onFailure": "DLQ" or "WARN"}]'
            self._add(Severity.ERROR, ("gov", "rules"), "", "gov.rules is no list", fix)
            return
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            at = ("gov", "rules", index)
            if not isinstance(rule, Mapping) or not all(isinstance(rule.get(part), str) for part in ("name", "expr")):
                self._add(Severity.ERROR, at, "", "a rule has no name or no expr", 'write {"name": …, "expr": …}')
                continue
            if rule["name"] in seen:
                self._add(Severity.ERROR, (*at, "name"), "", f"rule {rule['name']} is there twice", "rename one")
            seen.add(rule["name"])
            if rule.get("onFailure", "WARN") not in {"DLQ", "WARN"}:
                fix = "use DLQ (the row goes to the dead letters) or WARN (it is marked)"
                text = f"rule {rule['name']}: onFailure is {rule['onFailure']!r}"
                self._add(Severity.ERROR, (*at, "onFailure"), "", text, fix)
            try:
                predicate(parse_expression(rule["expr"]), contract)
            except Misconfigured as error:
                text = f"rule {rule['name']}: {error.args[0]}"
                self._add(Severity.ERROR, (*at, "expr"), "", text, error.fix)


def _bare(field: Field) -> str:
    return f'"{field.branches[0]}"' if isinstance(field.branches[0], str) else "the type without null"
