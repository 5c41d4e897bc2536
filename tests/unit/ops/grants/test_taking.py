"""What becomes of a grant that a folder names: given, asked for, changed while it runs, is under way or is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ops.grants.steps import Decision, Next, stepped
from ops.grants.taking import Taken, Taking, taken
from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Status
from schemas.agreement.grant_life import Act, Life
from schemas.contract import Contract

AT = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
CONTRACT = Contract.parse(
    {"type": "record", "name": "T", "gov": {"key": ["id"]}, "fields": [{"name": "id", "type": "int"}]}, "aic.t"
)
GRANT = Grant(grant_id="tax.aic.t", subscriber="tax", feed="aic.t", columns=("id",), purpose="核验")
WIDER = replace(GRANT, columns=("id", "name"))
BY_FOLDER, ASKED = Taking(by="ops", at=AT), Taking(by="tax", at=AT, is_request=True)


def entry(grant: Grant, status: Status = Status.ACTIVE, successor: Grant | None = None) -> GrantEntry:
    held = replace(grant, status=status)
    return GrantEntry(grant=held, key_schema_id=1, value_schema_id=2, version=1, successor=successor)


def acts(became: Taken) -> list[tuple[Act, Status]]:
    return [(step.act, step.status) for step in became.steps]


def as_is(became: Taken) -> GrantEntry:
    return GrantEntry(
        grant=became.grant, key_schema_id=1, value_schema_id=2, version=1, life=became.life, successor=became.successor
    )


def test_a_folder_gives_at_once_and_the_history_says_who() -> None:
    became = taken(GRANT, None, CONTRACT, BY_FOLDER)
    assert (became.grant.status, acts(became)) == (Status.ACTIVE, [(Act.FOLDER, Status.ACTIVE)])
    assert (became.life.history[0].by, became.life.due_at) == ("ops", None)
    again = taken(GRANT, as_is(became), CONTRACT, BY_FOLDER)
    assert (again.steps, again.life) == ((), became.life)


def test_what_is_asked_for_is_submitted_with_a_deadline_and_safe_to_ask_again() -> None:
    became = taken(GRANT, None, CONTRACT, ASKED)
    assert (became.grant.status, acts(became)) == (Status.SUBMITTED, [(Act.REQUEST, Status.SUBMITTED)])
    assert (became.life.rules, became.life.submitted_at) == ("cn-2025", AT)
    assert became.life.due_at == datetime(2026, 12, 14, 16, 0, tzinfo=UTC)
    later = replace(ASKED, at=AT + timedelta(days=3))
    again = taken(GRANT, as_is(became), CONTRACT, later)
    assert (again.steps, again.life.due_at) == ((), became.life.due_at)
    assert "SUBMITTED already" in again.notice
    # Its operator's folder does not give it by the way, either.
    assert taken(GRANT, as_is(became), CONTRACT, BY_FOLDER).grant.status is Status.SUBMITTED


def test_other_words_under_way_begin_again_at_compliance() -> None:
    for taking in (ASKED, BY_FOLDER):
        became = taken(WIDER, entry(GRANT, Status.COMPLIANCE_OK), CONTRACT, taking)
        assert (became.grant.status, became.grant.columns) == (Status.SUBMITTED, WIDER.columns)
        assert became.steps[0].reason == "columns +name"


def test_a_change_that_is_asked_for_waits_beside_the_grant_that_runs_and_then_takes_its_place() -> None:
    for status in (Status.ACTIVE, Status.SUSPENDED):
        became = taken(WIDER, entry(GRANT, status), CONTRACT, ASKED)
        assert became.grant == replace(GRANT, status=status)
        assert became.successor == replace(WIDER, status=Status.SUBMITTED)
        assert taken(WIDER, as_is(became), CONTRACT, ASKED).steps == ()
        compliance = stepped(as_is(became), Decision(act=Act.COMPLIANCE, by="li"), AT)
        assert (compliance.grant, compliance.successor) == (
            replace(GRANT, status=status),
            replace(WIDER, status=Status.COMPLIANCE_OK),
        )
        between = replace(as_is(became), successor=compliance.successor)
        done = stepped(between, Decision(act=Act.PROVIDER, by="wang"), AT)
        assert done == Next(grant=replace(WIDER, status=status), steps=done.steps, keeps_successor=False)
        assert [(step.act, step.status) for step in done.steps] == [
            (Act.PROVIDER, Status.PROVIDER_OK),
            (Act.ACTIVATE, Status.ACTIVE),
        ]
        assert done.steps[1].reason == "columns +name"
        refused = stepped(between, Decision(act=Act.REFUSE, by="wang", reason="越权", basis="第十条"), AT)
        assert (refused.grant, refused.successor) == (replace(GRANT, status=status), None)


def test_what_was_refused_or_is_over_is_asked_for_anew_and_not_given_back_by_a_folder() -> None:
    for status in (Status.REFUSED, Status.REVOKED, Status.DRAFT):
        assert acts(taken(GRANT, entry(GRANT, status), CONTRACT, ASKED)) == [(Act.REQUEST, Status.SUBMITTED)]
        stays = taken(GRANT, entry(GRANT, status), CONTRACT, BY_FOLDER)
        assert (stays.grant.status, stays.steps) == (status, ())
        assert f"stays {status}" in stays.notice


def test_a_change_by_the_folder_says_what_it_changes_and_ends_a_request_beside_it() -> None:
    became = taken(WIDER, entry(GRANT, successor=replace(WIDER, status=Status.SUBMITTED)), CONTRACT, BY_FOLDER)
    assert (acts(became), became.successor) == ([(Act.CHANGE, Status.ACTIVE)], None)
    assert (became.steps[0].reason, became.steps[0].by) == ("columns +name", "ops")
    kept = taken(GRANT, entry(GRANT, successor=WIDER), CONTRACT, BY_FOLDER)
    assert (kept.successor, kept.life) == (WIDER, Life())
