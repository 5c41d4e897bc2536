"""Columns: what is wrong with each column of a contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ops.lint.contract.column import looks_personal, unmapped
from ops.lint.contract.gov import look_at_sharing, look_for_misspelt
from ops.lint.contract.nested import inner_fields, troubles
from ops.lint.folder_form import FIELD_GOV
from ops.lint.inspected import Inspected
from ops.lint.located import Path
from schemas.contract import Contract, Field
from schemas.wire.compatibility import describe
from schemas.wire.schema import kind_of
from sinks.row import RESERVED

TAGS = frozenset({"PII", "L1", "L2", "L3", "L4", "DIRECT_ID", "QUASI_ID", "SENSITIVE"})


class ColumnsLint:
    """The columns of one contract; `is_derived`: a flow writes them, and may nest."""

    def __init__(self, file: Inspected, contract: Contract, *, is_derived: bool) -> None:
        self._file = file
        self._contract = contract
        self._is_derived = is_derived

    def run(self) -> None:
        """Look at every column."""
        for index, field in enumerate(self._contract.fields):
            self._field(field, ("fields", index))

    def _field(self, field: Field, at: Path) -> None:
        self._type(field, (*at, "type"))
        if field.name.lower().startswith(RESERVED):
            fix = f"leave it out of the contract, or let the department rename it: {RESERVED} begins the mesh's own columns"
            self._file.error((*at, "name"), field.name, "has a name that sinks keep for the mesh", fix)
        if field.is_key:
            self._key_column(field, at)
        own = self._contract.record["fields"][at[1]].get("gov") or {}
        look_at_sharing(self._file, own, field.gov, (*at, "gov"), field.name)
        look_for_misspelt(self._file, own, FIELD_GOV, (*at, "gov"), field.name)
        self._values(field, own, at)
        if unknown := sorted(field.tags - TAGS):
            fix = f"use {', '.join(sorted(TAGS))}"
            self._file.warn((*at, "confluent:tags"), field.name, f"has unknown tags {', '.join(unknown)}", fix)
        if not field.tags and looks_personal(field):
            fix = 'add "confluent:tags": ["PII", "L3"]; or ["L1"] if it is not personal'
            self._file.warn((*at, "name"), field.name, "looks personal and has no tags", fix)

    def _type(self, field: Field, at: Path) -> None:
        if len(field.branches) > 1 and not field.is_lossless:
            fix = (
                'use ["null", <type>], or ["null", <type>, "string"] where a text must carry what the type cannot hold'
            )
            shown = " or ".join(describe(branch) for branch in field.branches)
            self._file.error(at, field.name, f"may be {shown}, which readers cannot tell apart", fix)
        if self._is_derived:
            self._nested(field, at)
            return
        for branch in field.branches:
            if trouble := unmapped(branch):
                self._file.error(at, field.name, *trouble)

    def _nested(self, field: Field, at: Path) -> None:
        """A column that a flow writes, and what is inside it."""
        column = self._file.located.value["fields"][at[1]]["type"]
        for trouble in troubles(column, at):
            self._file.error(trouble.path, field.name, trouble.message, trouble.fix)
        personal: list[str] = []
        for inner in inner_fields(column, at):
            if lost := sorted(inner.tags - field.tags):
                text = (
                    f"{inner.name} is tagged {', '.join(lost)}, the column is not: grants and displays go by the column"
                )
                fix = f'add to the column: "confluent:tags": {json.dumps(sorted(field.tags | inner.tags))}'
                self._file.error(inner.path, field.name, text, fix)
            elif not field.tags and inner.is_personal:
                personal.append(inner.name)
        if personal:
            fix = 'add "confluent:tags": ["PII", "L3"] to the column; or ["L1"] if it is not personal'
            self._file.warn(
                at,
                field.name,
                f"{', '.join(personal)} looks personal, and the column has no tags",
                fix,
            )

    def _key_column(self, field: Field, at: Path) -> None:
        if field.is_nullable:
            fix = f'write "type": {_bare(field)}; if the column can be null, choose another key'
            self._file.error((*at, "type"), field.name, "is a key column and may be null", fix)
        kind = kind_of(field.branches[0])
        if kind in {"float", "double", "array", "map", "record"}:
            fix = f"choose other key columns for {self._contract.feed}"
            self._file.error((*at, "type"), field.name, f"a {kind} cannot be a key", fix)

    def _values(self, field: Field, own: Mapping[str, Any], at: Path) -> None:
        values = own.get("values")
        if values is None:
            return
        if not isinstance(values, Mapping) or not all(isinstance(meaning, str) for meaning in values.values()):
            fix = 'write "values": {"<code>": "<meaning>", …}'
            self._file.error((*at, "gov", "values"), field.name, "gov.values is no list of codes", fix)
        elif field.branches[0] != "string":
            fix = 'write "type": "string": a closed vocabulary is text, so that a new code breaks nobody'
            self._file.warn((*at, "type"), field.name, f"has gov.values but is {describe(field.branches[0])}", fix)


def _bare(field: Field) -> str:
    return f'"{field.branches[0]}"' if isinstance(field.branches[0], str) else "the type without null"
