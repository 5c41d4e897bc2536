"""Course: how far the example city's systems get: what each asked, whom it reached, who answered, what was decided and told.

Counted where it happens, by the departments' own databases and the feeds as they stand; nothing is taken from the mesh's counters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from ops.city.city import address

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Feed to what stands in it."""
Where = Callable[[Mapping[str, Any]], bool]


def _all(_row: Mapping[str, Any]) -> bool:
    return True


def _is(column: str, *values: str) -> Where:
    return lambda row: row[column] in values


def _is_not(column: str, *values: str) -> Where:
    return lambda row: row[column] not in values


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system: the feed that asks, of whom, and what its answer, decision and notice are.

    `reached` and `answered` count in the database of each of `agencies`, which may be a subscriber's own; `told` in that of
    `told_at`.
    """

    asks: str
    is_asked: Where = _all
    agencies: Sequence[str]
    reached: str
    answered: str
    decides: str
    is_decided: Where
    is_pending: Where
    told_at: str
    told: str


SYSTEMS: Mapping[str, System] = {
    "quota": System(
        asks="quota.review_request",
        agencies=("transport", "police", "hrss", "state_tax", "local_tax", "aic", "qts"),
        reached="SELECT count(*) FROM mesh.quota_review_request",
        answered="SELECT count(*) FROM mesh.quota_review_request JOIN public.quota_result USING (app_code, review_round, agency)",
        decides="quota.verdict",
        is_decided=_is_not("verdict", "PENDING"),
        is_pending=_is("verdict", "PENDING"),
        told_at="transport",
        told="SELECT count(*) FROM mesh.quota_verdict",
    ),
    "registration": System(
        asks="registration.push",
        is_asked=_is("agency", "fda", "health", "work_safety"),
        agencies=("fda", "health", "work_safety"),
        reached="SELECT count(*) FROM mesh.registration_push",
        answered="SELECT count(*) FROM mesh.registration_push JOIN public.registration_claim USING (ent_id, item_code, agency)",
        decides="registration.claim",
        is_decided=_is("state", "CLAIMED", "REFUSED", "REROUTED"),
        is_pending=_is("state", "PUSHED", "ESCALATED"),
        told_at="aic",
        told="SELECT count(*) FROM mesh.registration_claim_pool",
    ),
    "check": System(
        asks="check.request",
        is_asked=lambda row: row["channel"] == "ANSWER" and row["agency"] in {"construction", "housing_fund"},
        agencies=("construction", "housing_fund"),
        reached="SELECT count(*) FROM mesh.check_request",
        answered="SELECT count(*) FROM mesh.check_request JOIN public.check_answer USING (case_no, citizen_id, source)",
        decides="check.answer",
        is_decided=_is_not("outcome", "TIMEOUT"),
        is_pending=_is("outcome", "TIMEOUT"),
        told_at="civil",
        told="SELECT count(*) FROM mesh.check_report",
    ),
    "tax": System(
        asks="tax.warning",
        agencies=("state_tax", "local_tax"),
        reached="SELECT count(*) FROM mesh.tax_warning",
        answered="SELECT count(*) FROM mesh.tax_warning JOIN public.warning_feedback USING (warning_id)",
        decides="tax.warning",
        is_decided=_is_not("state", "OPEN", "DISPATCHED"),
        is_pending=_is("state", "OPEN", "DISPATCHED"),
        told_at="local_tax",
        told="SELECT count(*) FROM mesh.tax_warning WHERE state NOT IN ('OPEN', 'DISPATCHED')",
    ),
    "archive": System(
        asks="base.person_event",
        is_asked=_is_not("effect", "NONE"),
        agencies=("hrss",),
        reached="SELECT count(*) FROM mesh.base_person_event WHERE effect <> 'NONE'",
        # Social security has dealt with a death once nothing is paid beyond its month.
        answered="SELECT count(*) FROM mesh.base_person_event e WHERE effect = 'STOP' AND NOT EXISTS"
        " (SELECT FROM public.pension_payment p WHERE p.citizen_id = e.id_no AND p.status = 'PAID'"
        " AND p.period > to_char(e.occurred_on, 'YYYYMM'))",
        decides="base.person",
        is_decided=_is("life_status", "DECEASED"),
        is_pending=_is("life_status", "UNKNOWN"),
        told_at="hrss",
        told="SELECT count(*) FROM mesh.base_person_event",
    ),
    "certificate": System(
        asks="certificate.status",
        agencies=("certs", "disabled"),
        reached="SELECT count(*) FROM mesh.certificate_status",
        answered="SELECT count(*) FROM public.certificate_use",
        decides="certificate.use",
        is_decided=_is_not("status_at_use", "UNKNOWN"),
        is_pending=_is("status_at_use", "UNKNOWN"),
        told_at="certs",
        told="SELECT count(*) FROM mesh.certificate_use",
    ),
    "credit": System(
        asks="credit.enterprise",
        agencies=("credit_centre",),
        reached="SELECT count(*) FROM credit_enterprise",
        # What the record came to: repaired, expired, revoked or ended.
        answered="SELECT count(*) FROM credit_enterprise WHERE state <> 'PUBLISHED'",
        decides="credit.objection",
        is_decided=_is_not("state", "OPEN", "PROVIDER_CHECKING"),
        is_pending=_is("state", "OPEN", "PROVIDER_CHECKING"),
        told_at="credit_centre",
        told="SELECT count(*) FROM credit_joint_punishment",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How far one system got. `seconds` are from the first question to the newest decision, by the broker's clock."""

    asked: int
    reached: int
    answered: int
    decided: int
    told: int
    pending: int
    seconds: float | None

    def to_json(self) -> dict[str, float | None]:
        """For the demo's report."""
        return asdict(self)


def counted_feeds() -> frozenset[str]:
    """The feeds that courses are counted in."""
    return frozenset(name for system in SYSTEMS.values() for name in (system.asks, system.decides))


def courses(
    dsns: Mapping[str, str], rows: Rows, first_ms: Mapping[str, int], newest_ms: Mapping[str, int]
) -> dict[str, Course]:
    """How far each system has got. `dsns` lead to departments' and subscribers' databases; the times are of each feed's records."""
    return {flow: _course(system, dsns, rows, first_ms, newest_ms) for flow, system in SYSTEMS.items()}


def _course(
    system: System, dsns: Mapping[str, str], rows: Rows, first_ms: Mapping[str, int], newest_ms: Mapping[str, int]
) -> Course:
    began, ended = first_ms.get(system.asks), newest_ms.get(system.decides)
    decided = rows.get(system.decides, ())
    return Course(
        asked=sum(map(system.is_asked, rows.get(system.asks, ()))),
        reached=sum(_counted(dsns, system.agencies, system.reached)),
        answered=sum(_counted(dsns, system.agencies, system.answered)),
        decided=sum(map(system.is_decided, decided)),
        told=sum(_counted(dsns, [system.told_at], system.told)),
        pending=sum(map(system.is_pending, decided)),
        seconds=None if began is None or ended is None else round((ended - began) / 1000, 1),
    )


def _counted(dsns: Mapping[str, str], agencies: Sequence[str], query: str) -> Iterator[int]:
    for agency in agencies:
        with psycopg.connect(address(dsns, agency), autocommit=True) as connection:
            try:
                found = connection.execute(query.encode()).fetchone()
            except psycopg.errors.UndefinedTable:  # nothing has arrived there yet
                continue
            yield int(found[0]) if found else 0
