"""The life of a grant (授权) as a person meets it: steps, what can be done instead, the history, until when an answer is due."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from pathlib import Path

import pytest

from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Mask, Status
from schemas.agreement.grant_life import (
    CHINESE,
    STEPS_KEPT,
    Act,
    Life,
    Step,
    after,
    changes,
    next_approval,
    possible,
)
from schemas.agreement.sharing_rules import read_rules, rules_at, rules_named, sharing_class
from schemas.contract import Contract
from schemas.errors import Misconfigured

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
GRANT = Grant(
    grant_id="tax.aic.t", subscriber="tax", feed="aic.t", columns=("a", "b"), purpose="核验", legal_basis="依据甲"
)
S = Status
ALLOWED = {
    (S.DRAFT, Act.REQUEST): S.SUBMITTED,
    (S.REFUSED, Act.REQUEST): S.SUBMITTED,
    (S.REVOKED, Act.REQUEST): S.SUBMITTED,
    (S.EXPIRED, Act.REQUEST): S.SUBMITTED,
    (S.SUBMITTED, Act.REQUEST): S.SUBMITTED,
    (S.COMPLIANCE_OK, Act.REQUEST): S.SUBMITTED,
    (S.PROVIDER_OK, Act.REQUEST): S.SUBMITTED,
    (S.SUBMITTED, Act.COMPLIANCE): S.COMPLIANCE_OK,
    (S.COMPLIANCE_OK, Act.PROVIDER): S.PROVIDER_OK,
    (S.PROVIDER_OK, Act.ACTIVATE): S.ACTIVE,
    (S.SUBMITTED, Act.REFUSE): S.REFUSED,
    (S.COMPLIANCE_OK, Act.REFUSE): S.REFUSED,
    (S.ACTIVE, Act.SUSPEND): S.SUSPENDED,
    (S.SUSPENDED, Act.RESUME): S.ACTIVE,
    (S.ACTIVE, Act.REVOKE): S.REVOKED,
    (S.SUSPENDED, Act.REVOKE): S.REVOKED,
    (S.REVOKED, Act.GIVE_AGAIN): S.ACTIVE,
    (S.EXPIRED, Act.GIVE_AGAIN): S.ACTIVE,
}
DECIDED = [act for act in Act if act not in {Act.FOLDER, Act.CHANGE}]


@pytest.mark.parametrize(("status", "act"), list(product(Status, DECIDED)))
def test_a_step_leads_on_or_is_refused_with_what_can_be_done_instead(status: Status, act: Act) -> None:
    if target := ALLOWED.get((status, act)):
        assert after("tax.aic.t", status, act) is target
        return
    with pytest.raises(Misconfigured) as refused:
        after("tax.aic.t", status, act)
    assert f"{status} {CHINESE[status]} and cannot be {act}" in str(refused.value)
    assert refused.value.fix == possible("tax.aic.t", status)
    assert "`mesh grant " in refused.value.fix


def test_compliance_comes_before_the_provider() -> None:
    waits = [next_approval(status) for status in (S.SUBMITTED, S.COMPLIANCE_OK, S.PROVIDER_OK, S.ACTIVE)]
    assert [each[1] if each else None for each in waits] == ["compliance", "provider", "provider", None]


def test_a_history_keeps_who_when_why_basis_purpose_and_matter_and_is_bounded() -> None:
    grant = replace(GRANT, matter_code="440100-01")
    step = Step.of(grant, Act.SUSPEND, AT, "li", "数据质量")
    assert step.to_json() == {
        "act": "suspended", "status": "ACTIVE", "at": AT.isoformat(), "by": "li", "reason": "数据质量", "legal_basis": "依据甲",
        "purpose": "核验", "matter_code": "440100-01",
    }  # fmt: skip
    life = Life().then(*[step] * (STEPS_KEPT + 7))
    assert (len(life.history), life.left_out) == (STEPS_KEPT, 7)
    entry = GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=3, life=life, successor=GRANT)
    assert GrantEntry.from_json(entry.to_json()) == entry


def test_what_a_successor_changes_is_told_by_names_and_never_by_values() -> None:
    later = replace(GRANT, columns=("b", "c"), mask={"b": Mask.HASH}, row_filter="a == 'canary'", purpose="审计")
    told = changes(GRANT, later)
    assert told == "columns +c, -a; masks of b; row_filter; purpose"
    assert changes(GRANT, replace(GRANT, status=S.SUSPENDED)) == ""


def test_the_pack_of_the_day_of_submission_decides() -> None:
    shanghai = timezone(timedelta(hours=8))
    assert rules_at(datetime(2025, 7, 31, 23, 59, tzinfo=shanghai)).pack == "cn-2016"
    assert rules_at(datetime(2025, 8, 1, 0, 0, tzinfo=shanghai)).pack == "cn-2025"
    for pack in ("cn-2016", "cn-2025"):
        rules = rules_named(pack)
        assert rules is not None
        assert "refusal" in rules.duties


@pytest.mark.parametrize(
    ("submitted", "due"),
    [
        # A7, ten working days from Tuesday: over 国庆节 (1 to 7 October), the Saturday of 调休 (10 October) is worked.
        ("2026-09-29T10:00+08:00", "2026-10-20T00:00+08:00"),
        # Late in the evening in Shanghai is still that day.
        ("2026-11-30T23:30+08:00", "2026-12-15T00:00+08:00"),
        # Submitted on a Sunday.
        ("2026-11-29T12:00+08:00", "2026-12-12T00:00+08:00"),
    ],
)
def test_an_answer_is_due_in_working_days_with_holidays_and_make_up_days(submitted: str, due: str) -> None:
    at = datetime.fromisoformat(submitted)
    assert rules_at(at).due_at(at, "CONDITIONAL") == datetime.fromisoformat(due)


def test_a_request_is_overdue_from_its_deadline_on_until_it_is_answered() -> None:
    asked = replace(GRANT, status=S.SUBMITTED)
    life = Life().asked(Step.of(asked, Act.REQUEST, AT, "tax"), AT + timedelta(days=14), "cn-2025")
    entry = GrantEntry(grant=asked, key_schema_id=1, value_schema_id=2, version=3, life=life)
    due = AT + timedelta(days=14)
    assert [entry.is_overdue(due + timedelta(seconds=by)) for by in (-1, 0)] == [False, True]
    for status in (S.ACTIVE, S.REFUSED):
        assert not replace(entry, grant=replace(asked, status=status)).is_overdue(due)
    # A change of a running grant waits as well.
    assert replace(entry, grant=GRANT, successor=asked).is_overdue(due)


def test_a_grant_past_its_validity_is_expired_though_nobody_ran_a_command() -> None:
    entry = GrantEntry(grant=replace(GRANT, valid_to=AT), key_schema_id=1, value_schema_id=2, version=3)
    assert (entry.state(AT - timedelta(seconds=1)), entry.state(AT)) == (S.ACTIVE, S.EXPIRED)


def contract(resource: str, **classes: str) -> Contract:
    fields = [{"name": name, "type": "string", "gov": {"class": own}} for name, own in classes.items()]
    return Contract.parse(
        {"type": "record", "name": "T", "gov": {"key": ["id"], "class": resource}, "fields": fields}, "aic.t"
    )


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        (contract("UNCONDITIONAL", id="UNCONDITIONAL", a="UNCONDITIONAL", z="CONDITIONAL"), "UNCONDITIONAL"),
        (contract("UNCONDITIONAL", id="UNCONDITIONAL", a="CONDITIONAL"), "CONDITIONAL"),
        (contract("UNCONDITIONAL", id="CONDITIONAL", a="UNCONDITIONAL"), "CONDITIONAL"),
        (contract("CONDITIONAL", id="UNCONDITIONAL", a="UNCONDITIONAL"), "CONDITIONAL"),
    ],
)
def test_a_request_is_conditional_where_the_resource_or_a_column_that_leaves_is(feed: Contract, expected: str) -> None:
    assert sharing_class(GRANT, feed) == expected


def test_a_pack_without_its_days_is_refused_with_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("- {pack: x, title: y}")
    with pytest.raises(Misconfigured, match="answer_working_days"):
        read_rules(path)
