"""The life of a grant (授权): which step leads from which state to which, and the history of those that were taken.

    DRAFT → SUBMITTED → COMPLIANCE_OK → PROVIDER_OK → ACTIVE ⇄ SUSPENDED → EXPIRED or REVOKED; REFUSED from SUBMITTED or COMPLIANCE_OK

Pure: no clock, no broker. A step that is not allowed says what can be done instead (HANDBOOK §6.1). What a folder gives is ACTIVE at
once: its operator answers for it, and the history says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.agreement.grant import Grant, Status
from schemas.errors import Misconfigured

STEPS_KEPT = 100
"""Of a grant's history on `mesh.grants`: every process reads it. All of it is in the audit."""


class Act(StrEnum):
    """What is done to a grant."""

    REQUEST = "requested"
    COMPLIANCE = "approved by compliance"
    PROVIDER = "approved by provider"
    ACTIVATE = "activated"
    REFUSE = "refused"
    SUSPEND = "suspended"
    RESUME = "resumed"
    REVOKE = "revoked"
    GIVE_AGAIN = "given again"
    FOLDER = "given by folder"
    CHANGE = "changed by folder"


CHINESE: Mapping[Status, str] = {
    Status.DRAFT: "草稿",
    Status.SUBMITTED: "已提交",
    Status.COMPLIANCE_OK: "合规通过",
    Status.PROVIDER_OK: "提供方同意",
    Status.ACTIVE: "生效",
    Status.SUSPENDED: "暂停",
    Status.EXPIRED: "到期",
    Status.REVOKED: "撤销",
    Status.REFUSED: "拒绝",
}

WAITING = frozenset({Status.SUBMITTED, Status.COMPLIANCE_OK, Status.PROVIDER_OK})
"""Asked for and not decided yet."""
NEVER_GIVEN = WAITING | {Status.DRAFT, Status.REFUSED}
"""Nothing was delivered by it: there is nothing to take back, and it holds nobody."""
OVER = frozenset({Status.REVOKED, Status.EXPIRED})

_LEADS: Mapping[Act, tuple[frozenset[Status], Status]] = {
    Act.REQUEST: (frozenset({Status.DRAFT, Status.REFUSED}) | OVER | WAITING, Status.SUBMITTED),
    Act.COMPLIANCE: (frozenset({Status.SUBMITTED}), Status.COMPLIANCE_OK),
    Act.PROVIDER: (frozenset({Status.COMPLIANCE_OK}), Status.PROVIDER_OK),
    Act.ACTIVATE: (frozenset({Status.PROVIDER_OK}), Status.ACTIVE),
    Act.REFUSE: (frozenset({Status.SUBMITTED, Status.COMPLIANCE_OK}), Status.REFUSED),
    Act.SUSPEND: (frozenset({Status.ACTIVE}), Status.SUSPENDED),
    Act.RESUME: (frozenset({Status.SUSPENDED}), Status.ACTIVE),
    Act.REVOKE: (frozenset({Status.ACTIVE, Status.SUSPENDED}), Status.REVOKED),
    Act.GIVE_AGAIN: (OVER, Status.ACTIVE),
}

_WHO_IS_NEXT: Mapping[Status, tuple[Act, str]] = {
    Status.SUBMITTED: (Act.COMPLIANCE, "compliance"),
    Status.COMPLIANCE_OK: (Act.PROVIDER, "provider"),
    Status.PROVIDER_OK: (Act.ACTIVATE, "provider"),
}


def after(grant_id: str, status: Status, act: Act) -> Status:
    """The state that a step leads to. Raises Misconfigured for one that is not allowed, with what can be done instead."""
    sources, target = _LEADS[act]
    if status not in sources:
        problem = f"is {status} {CHINESE[status]} and cannot be {act}"
        raise Misconfigured(f"grant {grant_id}", problem, fix=possible(grant_id, status))
    return target


def next_approval(status: Status) -> tuple[Act, str] | None:
    """Whose approval a request waits for: the step, and as whom it is taken; None where it waits for nobody."""
    return _WHO_IS_NEXT.get(status)


_POSSIBLE: Mapping[Status, str] = {
    Status.DRAFT: "ask for it: `mesh grant request <folder>` with the subscriber's folder",
    Status.REFUSED: "ask for it anew: `mesh grant request <folder>` with the subscriber's folder",
    Status.SUBMITTED: "`mesh grant approve <id> --as compliance`, or `mesh grant refuse <id> --reason <why> --basis <rule>`",
    Status.COMPLIANCE_OK: "`mesh grant approve <id> --as provider`, or `mesh grant refuse <id> --reason <why> --basis <rule>`",
    Status.PROVIDER_OK: "`mesh grant approve <id>` makes it active",
    Status.ACTIVE: "`mesh grant suspend <id> --reason <why>` or `mesh grant revoke <id> --reason <why>`",
    Status.SUSPENDED: "`mesh grant resume <id> --reason <why>` or `mesh grant revoke <id> --reason <why>`",
    Status.REVOKED: "ask for it anew: `mesh grant request <folder>`, or give it again: `mesh grant <id> ACTIVE`",
    Status.EXPIRED: "ask for it anew with a later end: `mesh grant request <folder>`",
}


def possible(grant_id: str, status: Status) -> str:
    """What a person can do with a grant of this state."""
    return _POSSIBLE[status].replace("<id>", grant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a history: what led to which state, when, by whom, why, on what basis, for what purpose and matter."""

    act: Act
    status: Status
    at: datetime
    by: str
    reason: str = ""
    legal_basis: str = ""
    purpose: str = ""
    matter_code: str = ""

    @classmethod
    def of(cls, grant: Grant, act: Act, at: datetime, by: str, reason: str = "", legal_basis: str = "") -> Step:
        """A step by which the grant came to the state that it has; its own legal basis unless another is given."""
        return cls(
            act=act,
            status=grant.status,
            at=at,
            by=by,
            reason=reason,
            legal_basis=legal_basis or grant.legal_basis or "",
            purpose=grant.purpose,
            matter_code=grant.matter_code or "",
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands on `mesh.grants`."""
        return {**asdict(self), "at": self.at.isoformat()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Step:
        """Read one."""
        told = {"act": Act(record["act"]), "status": Status(record["status"])}
        return cls(**{**record, **told, "at": datetime.fromisoformat(record["at"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What became of a grant so far. `rules` is the dated pack by which `due_at` was reckoned; `left_out` counts older steps."""

    history: tuple[Step, ...] = ()
    left_out: int = 0
    submitted_at: datetime | None = None
    due_at: datetime | None = None
    rules: str = ""

    def then(self, *steps: Step) -> Life:
        """With these steps behind the others."""
        history = (*self.history, *steps)
        more = max(0, len(history) - STEPS_KEPT)
        return replace(self, history=history[more:], left_out=self.left_out + more)

    def asked(self, step: Step, due_at: datetime, rules: str) -> Life:
        """With a request that is to be answered before `due_at`."""
        return replace(self.then(step), submitted_at=step.at, due_at=due_at, rules=rules)

    def to_json(self) -> dict[str, Any]:
        """As it stands on `mesh.grants`."""
        moments = {name: at.isoformat() if (at := getattr(self, name)) else None for name in ("submitted_at", "due_at")}
        history = [step.to_json() for step in self.history]
        return {"history": history, "left_out": self.left_out, "rules": self.rules, **moments}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Life:
        """Read one."""
        moments = {
            name: datetime.fromisoformat(at) if (at := record[name]) else None for name in ("submitted_at", "due_at")
        }
        history = tuple(Step.from_json(step) for step in record["history"])
        return cls(**{**record, **moments, "history": history})


def changes(former: Grant, later: Grant) -> str:
    """What a successor changes, in words; empty where nothing but the state differs. Names columns, never a value."""
    told: list[str] = []
    more = [column for column in later.columns if column not in former.columns]
    less = [column for column in former.columns if column not in later.columns]
    if more or less:
        told.append("columns " + ", ".join([*(f"+{column}" for column in more), *(f"-{column}" for column in less)]))
    elif later.columns != former.columns:
        told.append("order of columns")
    masked = sorted({*former.mask.items()} ^ {*later.mask.items()})
    if masked:
        told.append("masks of " + ", ".join(dict.fromkeys(column for column, _ in masked)))
    for name in ("row_filter", "purpose", "matter_code", "legal_basis", "valid_from", "valid_to", "sink", "at_end"):
        if getattr(former, name) != getattr(later, name):
            told.append(name)
    return "; ".join(told)
