"""Shown: everything about one grant (授权): what it lets through, by which rules it is answered, and its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from ops.command.terminal import moment, report_console
from ops.grants.decide import grant_named
from ops.grants.listing import provider_of
from ops.settings import Settings
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant, Mask
from schemas.agreement.grant_life import CHINESE, changes, possible
from schemas.agreement.sharing_rules import rules_named
from schemas.log.control.follower import read_directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One grant in its mesh at a moment."""

    entry: GrantEntry
    directory: Directory
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        entry, life = self.entry, self.entry.life
        rules = rules_named(life.rules)
        return {
            **entry.grant.to_json(),
            "state": str(entry.state(self.at)),
            "provider": provider_of(self.directory, entry.grant.feed),
            "topic": entry.topic,
            "contract_version": entry.version,
            "columns_in_detail": self._columns(entry.grant),
            "successor": entry.successor.to_json() if entry.successor else None,
            "request": {
                "submitted_at": life.submitted_at.isoformat() if life.submitted_at else None,
                "due_at": life.due_at.isoformat() if life.due_at else None,
                "is_overdue": entry.is_overdue(self.at),
                "rules": {"pack": rules.pack, "title": rules.title, "duties": dict(rules.duties)} if rules else None,
            },
            "history": [step.to_json() for step in life.history],
            "history_left_out": life.left_out,
        }

    def _columns(self, grant: Grant) -> list[dict[str, Any]]:
        """The columns that leave, key first, each with its class, tags and mask."""
        feed = self.directory.feeds.get(grant.feed)
        if feed is None:
            return []
        leaving = dict.fromkeys([*feed.contract.key, *grant.columns])
        fields = [feed.contract.by_name[name] for name in leaving if name in feed.contract.by_name]
        return [
            {
                "column": field.name,
                "name": field.doc.partition("|")[0],
                "class": field.gov.get("class"),
                "tags": sorted(field.tags),
                "mask": str(grant.mask.get(field.name, Mask.FULL)),
                "is_key": field.is_key,
            }
            for field in fields
        ]

    def render(self) -> None:
        """For people."""
        console, grant, state = report_console(), self.entry.grant, self.entry.state(self.at)
        console.print(f"grant {grant.grant_id} is {state} {CHINESE[state]}", style="bold", markup=False)
        facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, value in self._facts():
            facts.add_row(name, value)
        console.print(facts)
        columns = Table("column", "name", "class", "tags", "mask", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for each in self._columns(grant):
            key = " (key)" if each["is_key"] else ""
            columns.add_row(
                f"{each['column']}{key}", each["name"], each["class"], ", ".join(each["tags"]), each["mask"]
            )
        console.print(columns)
        history = Table("when", "what", "by", "why", "basis", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for step in self.entry.life.history:
            history.add_row(moment(step.at), f"{step.act}: {step.status}", step.by, step.reason, step.legal_basis)
        if self.entry.life.left_out:
            console.print(f"{self.entry.life.left_out} earlier steps are in the audit")
        console.print(history if self.entry.life.history else "no history: given by an earlier version of the mesh")
        asked = self.entry.asked
        console.print(
            f"next: {possible(asked.grant_id, asked.status if self.entry.is_waiting else state)}", markup=False
        )

    def _facts(self) -> list[tuple[str, str]]:
        entry, grant, life = self.entry, self.entry.grant, self.entry.life
        told = [
            ("subscriber 订阅方", f"{grant.subscriber}, sink {grant.sink}"),
            (
                "provider 提供方",
                f"{provider_of(self.directory, grant.feed)}, feed {grant.feed}, contract v{entry.version}",
            ),
            ("purpose 用途", grant.purpose),
            ("matter 事项", grant.matter_code or ""),
            ("legal basis 依据", grant.legal_basis or ""),
            ("row filter", grant.row_filter or "every row"),
            ("valid", f"{moment(grant.valid_from) or 'always'} to {moment(grant.valid_to) or 'open'}"),
            ("at its end", str(grant.at_end)),
            ("topic", entry.topic),
        ]
        if life.due_at is not None and entry.is_waiting:
            late = ", overdue 逾期" if entry.is_overdue(self.at) else ""
            rules = rules_named(life.rules)
            told.append(("answer due", f"before {moment(life.due_at)} by {life.rules}{late}"))
            told += [(f"  {life.rules}", f"{duty}: {text}") for duty, text in (rules.duties.items() if rules else ())]
        if entry.successor is not None:
            told.append(("its change", f"{entry.successor.status}: {changes(grant, entry.successor)}"))
        return [(name, value) for name, value in told if value]


def shown(settings: Settings, grant_id: str) -> Shown:
    """The grant of this id. Raises Misconfigured for none."""
    directory = read_directory(settings.kafka)
    return Shown(entry=grant_named(directory, grant_id), directory=directory, at=datetime.now(UTC))
