"""`mesh draft`: a first contract for each table of a live database, for a person to finish.

What only a person can decide is filled with what shares least and is marked as undecided (`mesh check` warns of it):

- the table is CONDITIONAL 有条件共享; it can be onboarded at once, and still nothing flows before a grant names its columns;
- a column whose name looks personal is NOT_SHARED 不予共享 and tagged PII: no grant can name it until somebody decides;
- the Chinese name (`doc`) is the comment in the database; where there is none, it is missing.

A table without a key is left out with the reason, a column that no type carries likewise. Nothing is overwritten unasked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ops.kinds.sources import SOURCES
from ops.lint.contract.column import seems_personal
from ops.lint.contract.gov import UNDECIDED
from ops.lint.folder import AGENCY_FILE, CODE, VARIABLE, resolved
from producers.draft import DraftedTable, Drafting, LeftOut
from producers.finding import Finding
from schemas.errors import Misconfigured

PERSONAL_BASIS = f"{UNDECIDED}: 名称似为个人信息，由数源部门确定 (it looks personal; the department decides)"
RECORD_BASIS = f"{UNDECIDED}: 由数源部门确定 (the department decides)"


@dataclass(slots=True, kw_only=True)
class Draft:
    """What was written, what stayed as it was, what was left out, and what the database still needs."""

    into: Path
    written: list[Path] = field(default_factory=list[Path])
    kept: list[Path] = field(default_factory=list[Path])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    findings: list[Finding] = field(default_factory=list[Finding])
    first: str = ""
    """What is to be done first, where the address may be shown."""
    sending: list[str] = field(default_factory=list[str])
    """How rows are sent once all is onboarded, a command for each feed, where a department sends them itself."""

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON."""
        return {
            "into": str(self.into),
            "written": [str(path) for path in self.written],
            "kept": [str(path) for path in self.kept],
            "left_out": [asdict(item) for item in self.left_out],
            "findings": [asdict(finding) for finding in self.findings],
            "first": self.first,
            "sending": list(self.sending),
        }

    def render(self, console: Console | None = None) -> None:
        """Print the outcome for people."""
        console = console or Console()
        for path in self.written:
            console.print(Text(f"wrote  {path}", style="green"), soft_wrap=True)
        for path in self.kept:
            console.print(Text(f"kept   {path} (exists; --force overwrites)", style="dim"), soft_wrap=True)
        for item in self.left_out:
            name = f"{item.table}, column {item.column}" if item.column else item.table
            console.print(Text(f"left out  {name}: {item.reason}", style="yellow"), soft_wrap=True)
            console.print(Text(f"    fix: {item.fix}", style="green"), soft_wrap=True)
        for finding in self.findings:
            style = "bold red" if finding.severity == "error" else "yellow"
            console.print(
                Text(f"{finding.severity}  {finding.subject}: {finding.message}", style=style), soft_wrap=True
            )
            console.print(Text(f"    fix: {finding.fix}", style="green"), soft_wrap=True)
        if self.first:
            console.print(f"next: {self.first}", soft_wrap=True, highlight=False, markup=False)
        console.print(f"next: mesh check {self.into}", soft_wrap=True, highlight=False)
        for command in self.sending:
            console.print(f"then: {command}", soft_wrap=True, highlight=False, markup=False)


def draft(
    dsn: str,
    tables: Sequence[str],
    into: Path,
    agency: str,
    lossless: bool = False,
    *,
    force: bool = False,
    text_encoding: str | None = None,
) -> Draft:
    """Write `agency.yaml` and one contract per table into a folder.

    `dsn` is an address or `${VARIABLE}`; `tables` are `<schema>.<table>` (or `<table>` of `public`), all when empty.
    `lossless` gives columns a text branch where their type cannot hold every value. Existing files stay unless `force`.
    `text_encoding` becomes the source's option: what an SQL_ASCII database's names and text are in.
    Raises Misconfigured for an address or a table that does not exist, Transient when the database does not answer.
    """
    if not CODE.fullmatch(agency):
        raise Misconfigured(f"agency {agency!r}", "is no code", fix="use lower-case letters, digits and _")
    address = resolved(dsn, os.environ, "mesh draft")
    kind, drafting = _drafting(address)
    options = {"text_encoding": text_encoding} if text_encoding else {}
    drafted = drafting.draft(address, tables, agency, options, is_lossless=lossless)
    outcome = Draft(into=into, left_out=drafted.left_out, findings=drafted.findings)
    into.mkdir(parents=True, exist_ok=True)
    shown, options = drafted.address or drafting.address, {**options, **drafted.options}
    _write(outcome, into / AGENCY_FILE, _agency_text(agency, dsn, kind, shown, options), is_forced=force)
    if drafted.address and not VARIABLE.fullmatch(dsn):
        outcome.first = f"export {_variable(agency, dsn)}={drafted.address}"
    send = SOURCES[kind].sending
    for table in drafted.tables:
        if send is not None:
            connection, file = f"${{{_variable(agency, dsn)}}}", drafted.sample or "rows.jsonl"
            outcome.sending.append(send(connection, f"{agency}.{table.stem}", file))
        _write(outcome, into / f"{table.stem}.avsc", _contract_text(_record(table, agency)), is_forced=force)
    return outcome


def _drafting(address: str) -> tuple[str, Drafting]:
    """The kind of source that the address may be of, and how it is drafted. Raises Misconfigured when it is none's."""
    known = {name: kind.drafting for name, kind in SOURCES.items() if kind.drafting is not None}
    for name, drafting in known.items():
        if drafting.takes(address):
            return name, drafting
    kinds = " or ".join(drafting.what for drafting in known.values())
    fix = f"write {' or '.join(drafting.address for drafting in known.values())}"
    raise Misconfigured("mesh draft", f"is given no {kinds} address", fix=fix)


def _record(drafted: DraftedTable, agency: str) -> dict[str, Any]:
    """The contract's record, with what only a person can decide filled with what shares least."""
    for entry in drafted.fields:
        if seems_personal(entry.get("doc", ""), entry.get("column", entry["name"])):
            entry["confluent:tags"] = ["PII", "L3"]
            entry["gov"] = {"class": "NOT_SHARED", "basis": PERSONAL_BASIS}
    gov = {
        "provider": agency,
        "source": "main",
        "table": drafted.table,
        "key": list(drafted.key),
        "class": "CONDITIONAL",
        "basis": RECORD_BASIS,
        "open": "NOT_OPEN",
        "updateCycle": "REALTIME",
    }
    return drafted.record(gov, namespace=f"gz.{agency}")


def _write(outcome: Draft, path: Path, text: str, *, is_forced: bool) -> None:
    if path.exists() and not is_forced:
        outcome.kept.append(path)
        return
    path.write_text(text, "utf-8")
    outcome.written.append(path)


def _variable(agency: str, dsn: str) -> str:
    given = VARIABLE.fullmatch(dsn)
    return given[1] if given else f"MESH_{agency.upper()}_DSN"


def _agency_text(agency: str, dsn: str, kind: str, address: str, options: Mapping[str, str]) -> str:
    variable = _variable(agency, dsn)
    shown = ", ".join(f"{name}: {value}" for name, value in options.items())
    return f"""\
# Keep addresses and passwords out of this file: export {variable}={address}
agency: {agency}
name: {agency}  # 部门名称
contact: ""
sources:
  - name: main
    kind: {kind}
    connection: ${{{variable}}}
{f"    options: {{{shown}}}" + chr(10) if options else ""}"""


def _contract_text(record: Mapping[str, Any]) -> str:
    """The contract with one column per line, as people read and compare it."""

    def shown(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    head = ", ".join(
        f"{shown(name)}: {shown(record[name])}" for name in ("type", "name", "namespace", "doc") if name in record
    )
    fields = ",\n  ".join(shown(entry) for entry in record["fields"])
    return f'{{{head},\n "gov": {shown(record["gov"])},\n "fields": [\n  {fields}]}}\n'
