"""Rules of the organisation archive, from the dated files beside this one; and the names that its modules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.dated.calendar import day_number
from schemas.dated.configuration import Packs, dated
from streams.operators.merge import MergeSource, sources

ORGANISATION = "base.organisation"
IDENTIFIER = "base.organisation_identifier"
CONFLICT = "base.organisation_conflict"
COVERAGE = "base.uscc_coverage"

USCC, ORG_CODE, REGISTRATION_NO, TAX_NO = "USCC", "ORG_CODE", "REGISTRATION_NO", "TAX_NO"
UNKNOWN = "UNKNOWN"

_HERE = Path(__file__).parent
_HOUR_MICROS = 3_600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A feed whose rows are organisations: `home` begins their ids; `kind` and `status` map its codes to the archive's."""

    home: str
    kind: Mapping[str, str]
    status: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules in force at a moment; rules.yaml says what each is. Days are Avro dates, `unmatched_after` microseconds."""

    registries: Mapping[str, Registry]
    ended: frozenset[str]
    status_item: str
    issued_since: Mapping[str, int]
    tax_no_has_org_code: bool
    unmatched_after: int
    claims_shown_max: int
    priority: Mapping[str, Sequence[MergeSource]]


def _rules(values: Mapping[str, Any]) -> Rules:
    return Rules(
        registries={feed: Registry(**registry) for feed, registry in values["registries"].items()},
        ended=frozenset(values["ended"]),
        status_item=values["status_item"],
        issued_since={id_type: day_number(str(day)) for id_type, day in values["issued_since"].items()},
        tax_no_has_org_code=values["tax_no_has_org_code"],
        unmatched_after=values["unmatched_after_hours"] * _HOUR_MICROS,
        claims_shown_max=values["claims_shown_max"],
        priority=sources(values["priority"]),
    )


_RULES = Packs(dated(_HERE / "rules.yaml"), _rules)
STATUS_ITEMS = frozenset(rules.status_item for rules in _RULES)
"""Under any rules, the items of registered changes that change a status."""
_POPULATIONS = dated(_HERE / "populations.yaml", key=["population"])


def rules_at(moment: int) -> Rules:
    """The rules in force at a moment, microseconds."""
    return _RULES.at(moment)


def populations_at(moment: int) -> list[Mapping[str, Any]]:
    """The populations declared at a moment: `population`, `definition`, `statuses`, and perhaps `homes`, `kinds`."""
    return _POPULATIONS.all_at(moment)
