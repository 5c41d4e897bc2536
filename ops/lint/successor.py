"""Successor: what a contract in a folder changes in the feed that runs, and for whom; with what breaks, nothing is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from ops.lint.contract.contract import line_of
from ops.lint.inspected import Inspected
from ops.lint.report import FeedStanding, Standing
from schemas.agreement.directory import Directory
from schemas.contract import Contract
from schemas.expression.expression import parse as parse_expression
from schemas.feed import key_subject, value_subject
from schemas.wire.envelope import key_schema, value_schema
from schemas.wire.schema import AvroSchema, canonical_text


class Registry(Protocol):
    """What is asked of a schema registry (schemas/registry/client.py)."""

    def latest(self, subject: str) -> tuple[int, int, Mapping[str, AvroSchema]] | None:
        """Id, version and schema of the latest version."""
        ...

    def breaches(self, subject: str, schema: Mapping[str, AvroSchema]) -> list[str]:
        """What a schema would break, in words."""
        ...


def contract_that_runs(feed: str) -> str:
    """What to do with a folder's contract that is older than the one the feed was followed to."""
    return f"where that is not meant, put the contract that runs here: `mesh follow {feed} --contract` prints it"


class Successor:
    """One contract, from its file, beside what runs of its feed. What breaks is an error of the file."""

    def __init__(self, file: Inspected, contract: Contract, registry: Registry, directory: Directory) -> None:
        self._file = file
        self._contract = contract
        self._registry = registry
        self._directory = directory
        self._running = directory.feeds.get(contract.feed)
        self._subjects = self._running.subjects if self._running else contract.feed
        self._breaks = False

    def standing(self) -> FeedStanding:
        """Compare them. Raises Transient when the registry does not answer."""
        feed = self._contract.feed
        latest = self._registry.latest(value_subject(self._subjects))
        if latest is None:
            return FeedStanding(feed=feed, standing=Standing.NEW)
        value = value_schema(self._contract)
        old, new = _columns(latest[2]), [field.name for field in self._contract.fields]
        added, dropped = [name for name in new if name not in old], [name for name in old if name not in new]
        self._key()
        changed = self._breaches(value)
        broken = self._broken_grants(dropped, changed)
        if self._breaks:
            standing = Standing.BREAKING
        else:
            is_same = not self._is_of_another_table() and canonical_text(latest[2]) == canonical_text(value)
            standing = Standing.UNCHANGED if is_same else Standing.SUCCESSOR
        return FeedStanding(feed=feed, standing=standing, added=added, dropped=dropped, broken_grants=broken)

    def _is_of_another_table(self) -> bool:
        """Whether the feed runs on another table, as after `mesh follow` of one that was renamed: no schema shows that."""
        contract, running = self._contract, self._running
        if running is None or running.contract.table == contract.table:
            return False
        runs_on = f"{contract.feed} runs on {running.contract.table}"
        text = f"names table {contract.table}, and {runs_on}: its rows are copied anew from there"
        self._file.warn(("gov", "table"), "", text, contract_that_runs(contract.feed))
        return True

    def _error(self, line: int, field: str, message: str, fix: str) -> None:
        self._breaks = True
        self._file.error((), field, message, fix, line)

    def _key(self) -> None:
        latest = self._registry.latest(key_subject(self._subjects))
        key = key_schema(self._contract)
        if latest is None or canonical_text(latest[2]) == canonical_text(key):
            return
        was = ", ".join(f"{field['name']} {field['type']}" for field in latest[2]["fields"])
        now = ", ".join(f"{field['name']} {field['type']}" for field in key["fields"])
        text = f"the key was ({was}) and would be ({now}); a feed's key is for life, since rows are found by it"
        fix = "keep the key, or publish the table under a new file name, which is a new feed"
        self._error(1, "gov.key", text, fix)

    def _breaches(self, value: AvroSchema) -> set[str]:
        """Report what the registry says breaks; returns the columns it is about."""
        changed: set[str] = set()
        for breach in self._registry.breaches(value_subject(self._subjects), value):
            text = breach.removeprefix("before.")
            column = text.split(":", 1)[0].split("[", 1)[0].split(".", 1)[0]
            known = column in self._contract.by_name
            if known:
                changed.add(column)
                text = text.split(":", 1)[1].strip()
            fix = "keep the column as it is and add a new one beside it, or publish the table as a new feed"
            self._error(line_of(self._file.located, column), column if known else "", text, fix)
        return changed

    def _broken_grants(self, dropped: Sequence[str], changed: set[str]) -> list[str]:
        broken: list[str] = []
        now = datetime.now(UTC)
        for grant_id, entry in sorted(self._directory.grants.items()):
            grant = entry.grant
            if grant.feed != self._contract.feed or grant.holds_nobody(now):
                continue  # a grant that is over holds nobody
            filtered = parse_expression(grant.row_filter).columns if grant.row_filter else frozenset[str]()
            used = [*grant.columns, *sorted(filtered - set(grant.columns))]
            lost = [column for column in used if column in dropped]
            for column in lost:
                how = "receives it" if column in grant.columns else "filters rows by it"
                text = f"is dropped, but {grant.subscriber} {how} (grant {grant_id}, {grant.purpose})"
                fix = f"keep the column, or end or change the grant with {grant.subscriber} first"
                self._error(1, column, text, fix)
            for column in used:
                if column in changed:
                    text = f"changes for {grant.subscriber} (grant {grant_id}, {grant.purpose})"
                    fix = f"agree with {grant.subscriber} on a new column"
                    self._error(line_of(self._file.located, column), column, text, fix)
            if lost or changed & set(used):
                broken.append(grant_id)
        return broken


def _columns(envelope: Mapping[str, AvroSchema]) -> list[str]:
    """The columns of the row inside an envelope's schema."""
    before = next(field for field in envelope["fields"] if field["name"] == "before")
    return [field["name"] for field in before["type"][1]["fields"]]
