"""Decisions on grants without a broker: reasons that are mandatory, the short form, both approvals."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.grants.steps import Decision, shortened, stepped
from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import Act
from schemas.errors import Misconfigured

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
GRANT = Grant(grant_id="tax.aic.t", subscriber="tax", feed="aic.t", columns=("id",), purpose="核验", legal_basis="甲")


def entry(status: Status) -> GrantEntry:
    return GrantEntry(grant=replace(GRANT, status=status), key_schema_id=1, value_schema_id=2, version=1)


@pytest.mark.parametrize("given", [{}, {"reason": "越权"}, {"basis": "第十条"}, {"reason": " ", "basis": "第十条"}])
def test_a_refusal_without_a_reason_or_its_basis_is_rejected(given: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="needs a reason and its basis"):
        Decision(act=Act.REFUSE, by="li", **given)


@pytest.mark.parametrize("act", [Act.SUSPEND, Act.RESUME, Act.REVOKE])
def test_what_holds_a_grant_up_ends_it_or_lets_it_go_on_says_why(act: Act) -> None:
    with pytest.raises(Misconfigured, match="has no reason"):
        Decision(act=act, by="li")


def test_the_provider_s_approval_makes_it_active_and_both_steps_stand_in_the_history() -> None:
    done = stepped(entry(Status.COMPLIANCE_OK), Decision(act=Act.PROVIDER, by="wang", basis="乙"), AT)
    assert done.grant.status is Status.ACTIVE
    assert [(step.status, step.by, step.legal_basis) for step in done.steps] == [
        (Status.PROVIDER_OK, "wang", "乙"),
        (Status.ACTIVE, "wang", "甲"),
    ]


def test_the_provider_does_not_come_before_compliance() -> None:
    with pytest.raises(Misconfigured, match="--as compliance"):
        stepped(entry(Status.SUBMITTED), Decision(act=Act.PROVIDER, by="wang"), AT)


@pytest.mark.parametrize(
    ("status", "word", "act"),
    [
        (Status.ACTIVE, Status.SUSPENDED, Act.SUSPEND),
        (Status.ACTIVE, Status.REVOKED, Act.REVOKE),
        (Status.SUSPENDED, Status.ACTIVE, Act.RESUME),
        (Status.SUSPENDED, Status.REVOKED, Act.REVOKE),
        (Status.REVOKED, Status.ACTIVE, Act.GIVE_AGAIN),
        (Status.EXPIRED, Status.ACTIVE, Act.GIVE_AGAIN),
        (Status.ACTIVE, Status.ACTIVE, None),
        (Status.REVOKED, Status.REVOKED, None),
    ],
)
def test_the_short_form_is_the_step_that_it_means(status: Status, word: Status, act: Act | None) -> None:
    done = shortened(replace(GRANT, status=status), word, "li", AT)
    assert (done.grant.status, [step.act for step in done.steps]) == (word, [act] if act else [])


@pytest.mark.parametrize("status", [Status.DRAFT, Status.SUBMITTED, Status.COMPLIANCE_OK, Status.REFUSED])
def test_the_short_form_gives_nothing_that_was_not_approved(status: Status) -> None:
    for word in (Status.ACTIVE, Status.SUSPENDED, Status.REVOKED):
        with pytest.raises(Misconfigured, match="was never given"):
            shortened(replace(GRANT, status=status), word, "li", AT)
