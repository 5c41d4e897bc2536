"""Steps: what a decision makes of a grant (授权), worked out without a broker, and its line in the audit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from ops.trust.audit import audit
from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import CHINESE, NEVER_GIVEN, OVER, Act, Step, after, changes, possible
from schemas.errors import Misconfigured
from schemas.log.control.records import Append

_ON_REQUESTS = {Act.COMPLIANCE, Act.PROVIDER, Act.ACTIVATE, Act.REFUSE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decides: the step, by whom, why, and on what legal basis where it is not the grant's own."""

    act: Act
    by: str
    reason: str = ""
    basis: str = ""

    def __post_init__(self) -> None:
        if self.act is Act.REFUSE and not (self.reason.strip() and self.basis.strip()):
            fix = "add `--reason <why>` and `--basis <the rule that it rests on>`: whoever asked may object to both"
            raise Misconfigured("a refusal", "needs a reason and its basis (HANDBOOK A7)", fix=fix)
        if self.act in {Act.SUSPEND, Act.REVOKE, Act.RESUME} and not self.reason.strip():
            raise Misconfigured("the step", "has no reason", fix="add `--reason <why>`; it stands in the history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What a step makes of a grant; the steps that its history gets; and of its successor, if there is one."""

    grant: Grant
    steps: tuple[Step, ...]
    successor: Grant | None = None
    keeps_successor: bool = True


def shortened(grant: Grant, status: Status, by: str, at: datetime) -> Next:
    """What `mesh grant <id> <status>` means for a grant. Raises Misconfigured for one that was never given."""
    if grant.status in NEVER_GIVEN:
        problem = f"is {grant.status} {CHINESE[grant.status]}: it was never given"
        raise Misconfigured(f"grant {grant.grant_id}", problem, fix=possible(grant.grant_id, grant.status))
    if grant.status is status or (grant.status is Status.REVOKED and status is Status.SUSPENDED):
        return Next(grant=replace(grant, status=status), steps=())
    acts = {Status.SUSPENDED: Act.SUSPEND, Status.REVOKED: Act.REVOKE, Status.ACTIVE: Act.RESUME}
    act = Act.GIVE_AGAIN if status is Status.ACTIVE and grant.status in OVER else acts[status]
    later = replace(grant, status=status)
    return Next(grant=later, steps=(Step.of(later, act, at, by),))


def stepped(running: GrantEntry, decision: Decision, at: datetime) -> Next:
    """What a decision makes of a grant. Raises Misconfigured for a step that is not allowed."""
    act, by, reason, basis = decision.act, decision.by, decision.reason, decision.basis
    if act not in _ON_REQUESTS:
        grant = replace(running.grant, status=after(running.grant.grant_id, running.state(at), act))
        return Next(grant=grant, steps=(Step.of(grant, act, at, by, reason, basis),))
    asked = running.asked
    decided = replace(asked, status=after(asked.grant_id, asked.status, act))
    steps = [Step.of(decided, act, at, by, reason, basis)]
    if act is Act.PROVIDER:  # with both approvals it is active
        decided = replace(decided, status=after(asked.grant_id, decided.status, Act.ACTIVATE))
        told = changes(running.grant, asked) if running.successor else ""
        steps.append(Step.of(decided, Act.ACTIVATE, at, by, told))
    if running.successor is None:
        return Next(grant=decided, steps=tuple(steps))
    if decided.status is Status.ACTIVE:  # takes the running one's place, and is as that was
        return Next(grant=replace(decided, status=running.grant.status), steps=tuple(steps), keeps_successor=False)
    left = None if decided.status is Status.REFUSED else decided
    return Next(grant=running.grant, steps=tuple(steps), successor=left, keeps_successor=False)


def audit_steps(append: Append, grant_id: str, steps: Iterable[Step]) -> None:
    """One audit line for each step."""
    for step in steps:
        told = {name: value for name, value in step.to_json().items() if value and name not in {"act", "at"}}
        audit(append, f"grant {step.act}", grant_id, **told)
