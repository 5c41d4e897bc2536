"""What is wrong with one contract, read alone: every problem with its line, its column and its fix."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ops.known_names import few
from ops.lint.contract.columns import ColumnsLint
from ops.lint.contract.gov import look_at_sharing, look_for_misspelt
from ops.lint.contract.shape import ShapeLint
from ops.lint.folder_form import RECORD_GOV
from ops.lint.inspected import Inspected
from ops.lint.located import Located
from schemas.agreement.agency import Agency
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.expression.expression import parse as parse_expression
from schemas.expression.predicate import predicate

_TABLE = re.compile(r"[^.]+\..+")


class ContractLint:
    """One contract's file under inspection."""

    def __init__(self, file: Inspected, feed: str) -> None:
        self._file = file
        self._feed = feed
        self.contract: Contract | None = None

    def run(self, agency: Agency) -> None:
        """Look at everything. Afterwards `contract` is the contract, unless it is too broken to be one."""
        ShapeLint(self._file).run()
        if self._file.has_errors:
            return
        try:
            self.contract = Contract.parse(self._file.located.value, self._feed)
        except Misconfigured as error:
            self._file.reject((), "", error)
            return
        self._record(self.contract, agency)
        ColumnsLint(self._file, self.contract, is_derived=agency.has_flow(self.contract.source)).run()
        self._duplicates(self.contract)
        self._docs(self.contract)
        self._rules(self.contract)

    def _record(self, contract: Contract, agency: Agency) -> None:
        gov, code, sources = contract.gov, agency.agency, [source.name for source in agency.sources]
        if contract.agency != code:
            fix = f'write "provider": "{code}", or move the file to the folder of {contract.agency}'
            self._file.error(("gov", "provider"), "", f"provider {contract.agency} is not {code}", fix)
        if sources and contract.source not in sources:
            fix = f'write "source": "{sources[0]}", or add the source to agency.yaml'
            self._file.error(("gov", "source"), "", f"agency.yaml has no source {contract.source}", fix)
        if not isinstance(contract.table, str) or not _TABLE.fullmatch(contract.table):
            at, fix = ("gov", "table"), 'write "table": "<schema>.<table>"'
            self._file.error(at, "", "gov.table does not name schema and table", fix)
        look_at_sharing(self._file, gov, gov, ("gov",), "")
        look_for_misspelt(self._file, gov, RECORD_GOV, ("gov",), "")

    def _duplicates(self, contract: Contract) -> None:
        seen: dict[str, str] = {}
        for index, field in enumerate(contract.fields):
            if (other := seen.setdefault(field.column, field.name)) != field.name:
                at, fix = ("fields", index, "column"), "remove one of the two fields"
                self._file.error(at, field.name, f"reads column {field.column}, as {other} does", fix)

    def _docs(self, contract: Contract) -> None:
        if not contract.doc:
            fix = 'add "doc": "<中文名>" to the record'
            self._file.warn((), "", "has no Chinese name", fix)
        if bare := [field.name for field in contract.fields if not field.doc.strip()]:
            fix = 'add "doc": "<中文名>" to each, from the department\'s data dictionary'
            line = line_of(self._file.located, bare[0])
            self._file.warn((), bare[0], f"no doc on {few(bare)}", fix, line)

    def _rules(self, contract: Contract) -> None:
        rules = contract.gov.get("rules", [])
        if not isinstance(rules, list):
            fix = 'write "rules": [{"name": …, "expr": …, "onFailure": "DLQ" or "WARN"}]'
            self._file.error(("gov", "rules"), "", "gov.rules is no list", fix)
            return
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            at = ("gov", "rules", index)
            if not isinstance(rule, Mapping) or not all(isinstance(rule.get(part), str) for part in ("name", "expr")):
                self._file.error(at, "", "a rule has no name or no expr", 'write {"name": …, "expr": …}')
                continue
            if rule["name"] in seen:
                self._file.error((*at, "name"), "", f"rule {rule['name']} is there twice", "rename one")
            seen.add(rule["name"])
            if rule.get("onFailure", "WARN") not in {"DLQ", "WARN"}:
                fix = "use DLQ (the row goes to the dead letters) or WARN (it is marked)"
                text = f"rule {rule['name']}: onFailure is {rule['onFailure']!r}"
                self._file.error((*at, "onFailure"), "", text, fix)
            try:
                predicate(parse_expression(rule["expr"]), contract)
            except Misconfigured as error:
                text = f"rule {rule['name']}: {error.args[0]}"
                self._file.error((*at, "expr"), "", text, error.fix)


def line_of(located: Located, column: str) -> int:
    """The line of a column's name; 1 when there is no such column."""
    record = located.value
    fields = record.get("fields") if isinstance(record, Mapping) else None
    for index, field in enumerate(fields if isinstance(fields, list) else ()):
        if isinstance(field, Mapping) and field.get("name") == column:
            return located.line(("fields", index, "name"))
    return 1
