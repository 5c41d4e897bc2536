"""Sharing rules (共享规则), HANDBOOK §6.4: until when a request is answered, and what else the pack of its day demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from schemas.agreement.grant import Grant
from schemas.contract import Contract
from schemas.dated.calendar import deadline
from schemas.dated.configuration import Packs, dated
from schemas.errors import Misconfigured

CITY = Path(__file__).parent.parent / "guangzhou" / "sharing" / "rules.yaml"

SharingClass = Literal["UNCONDITIONAL", "CONDITIONAL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingRules:
    """One pack. `answer_working_days`: by sharing class of what is asked for; `duties`: what else it demands, in words."""

    pack: str
    title: str
    answer_working_days: Mapping[str, int]
    duties: Mapping[str, str]

    def due_at(self, submitted_at: datetime, sharing: SharingClass) -> datetime:
        """From when on an answer is late: the end of the last working day, in Asia/Shanghai, as UTC."""
        micros = deadline(round(submitted_at.timestamp() * 1_000_000), self.answer_working_days[sharing])
        return datetime.fromtimestamp(micros / 1_000_000, UTC)


def read_rules(path: Path) -> Packs[SharingRules]:
    """The packs of a file. Raises Misconfigured."""

    def read(values: Mapping[str, Any]) -> SharingRules:
        try:
            days = {name: int(values["answer_working_days"][name]) for name in ("UNCONDITIONAL", "CONDITIONAL")}
            return SharingRules(
                pack=str(values["pack"]),
                title=str(values["title"]),
                answer_working_days=days,
                duties=dict(values.get("duties") or {}),
            )
        except (KeyError, TypeError, ValueError) as error:
            fix = "give it `pack`, `title` and `answer_working_days: {UNCONDITIONAL: <days>, CONDITIONAL: <days>}`"
            raise Misconfigured(str(path), f"a pack of sharing rules cannot be read ({error})", fix=fix) from error

    return Packs(dated(path), read)


@cache
def city_rules() -> Packs[SharingRules]:
    """The packs of the city."""
    return read_rules(CITY)


def rules_at(moment: datetime) -> SharingRules:
    """The pack in force at a moment. Raises Misconfigured if none is."""
    return city_rules().at(round(moment.timestamp() * 1_000_000))


def rules_named(pack: str) -> SharingRules | None:
    """The pack of a name."""
    return next((rules for rules in city_rules() if rules.pack == pack), None)


def sharing_class(grant: Grant, contract: Contract) -> SharingClass:
    """CONDITIONAL 有条件共享 where the resource, or any column that leaves by the grant, is; key columns always do."""
    leaving = [contract.by_name[name] for name in {*grant.columns, *contract.key} if name in contract.by_name]
    classes = {contract.gov.get("class"), *(field.gov.get("class") for field in leaving)}
    return "CONDITIONAL" if "CONDITIONAL" in classes else "UNCONDITIONAL"
