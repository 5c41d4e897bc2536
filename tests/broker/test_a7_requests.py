"""HANDBOOK A7 and A2 on a running mesh: what is asked for waits, is approved step by step or refused, and flows only then."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.agreement.sharing_rules import rules_at
from schemas.feed import AUDIT, GRANTS
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish, read_all
from schemas.log.writer import Log
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, rows, run
from tests.stage.until import until

FIELDS = {"id": "int", "name": "string", "score": "int"}


def grant(mesh: RunningMesh, verb: str, *arguments: object) -> Ran:
    return run("grant", verb, "--dir", mesh.directory, *arguments, env=mesh.variables)


def done(mesh: RunningMesh, verb: str, *arguments: object) -> Any:
    ran = grant(mesh, verb, "--json", *arguments)
    assert ran.status == 0, f"{ran.out}\n{ran.err}"
    return ran.json


def feed_of(mesh: RunningMesh, count: int = 30, **gov: Any) -> tuple[str, str]:
    """A captured feed with so many rows: the source's address, the feed."""
    agency = f"{mesh.unique}a"
    source = mesh.database(agency)
    mesh.agency(agency, {"t": contract(["id"], FIELDS, **gov)})
    with database(source) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, name text, score int); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute(f"INSERT INTO t SELECT n, 'n' || n, n FROM generate_series(1, {count}) n".encode())
    mesh.done("onboard", mesh.folder / agency)
    return source, f"{agency}.t"


def audited(mesh: RunningMesh, grant_id: str) -> list[Mapping[str, Any]]:
    return [line for _, _, line in read_all(mesh.kafka, [AUDIT]) if line["subject"] == grant_id]


ATTEMPTS = ("grant status", "grant decision")


def test_a7_a_conditional_request_is_answered_in_working_days_by_compliance_and_provider_and_flows_only_then(
    mesh: RunningMesh,
) -> None:
    _, feed = feed_of(mesh, **{"class": "CONDITIONAL", "basis": "示例依据"})
    subscriber = f"{mesh.unique}s"
    target, grant_id, table = mesh.database(subscriber), f"{subscriber}.{feed}", feed.replace(".", "_")
    other = mesh.database(f"{mesh.unique}o")
    asked = {"feed": feed, "columns": ["name"], "matter_code": "440100-01"}

    # Without a legal basis there is no request for what is shared on conditions.
    refused = grant(mesh, "request", mesh.subscriber(subscriber, {**asked, "legal_basis": ""}))
    assert (refused.status, "gives no legal basis" in refused.out) == (1, True)
    folder = mesh.subscriber(subscriber, asked)
    submitted = done(mesh, "request", folder, "--by", "chen")["grants"][grant_id]
    now = datetime.now(UTC)
    assert (submitted["status"], submitted["rules"]) == ("SUBMITTED", "cn-2025")
    assert datetime.fromisoformat(submitted["due_at"]) == rules_at(now).due_at(now, "CONDITIONAL")

    # A2: nothing flows before it is approved, while another subscriber's grant of the same feed does.
    mesh.done("onboard", mesh.subscriber(f"{mesh.unique}o", asked))
    until(lambda: len(rows(other, table)) == 30, 60, "the other's rows")
    assert rows(target, table) == []
    assert mesh.records(f"out.{grant_id}") == []
    assert mesh.run("grant", grant_id, "ACTIVE").status == 1, "the short form is no way around"

    # The provider does not come before compliance, and a refusal says why and on what basis.
    early = grant(mesh, "approve", grant_id, "--as", "provider")
    assert (early.status, f"`mesh grant approve {grant_id} --as compliance`" in early.err) == (1, True)
    bare = grant(mesh, "refuse", grant_id, "--reason", "越权")
    assert (bare.status, "needs a reason and its basis" in bare.err) == (1, True)
    told = done(mesh, "refuse", grant_id, "--reason", "越权", "--basis", "第十条", "--by", "li")
    assert (told["status"], told["waits_for"]) == ("REFUSED", None)
    assert rows(target, table) == []

    # Asked for anew, and approved.
    assert done(mesh, "request", folder, "--by", "chen")["grants"][grant_id]["status"] == "SUBMITTED"
    assert done(mesh, "approve", grant_id, "--as", "compliance", "--by", "li")["waits_for"] == "provider"
    assert [line["grant_id"] for line in done(mesh, "list", "--state", "compliance_ok")["grants"]] == [grant_id]
    assert rows(target, table) == []
    assert done(mesh, "approve", grant_id, "--by", "wang")["status"] == "ACTIVE"
    mesh.verified(grant_id, 30)

    shown = done(mesh, "show", grant_id)
    steps = [(step["act"], step["by"], step["reason"]) for step in shown["history"]]
    assert steps == [
        ("requested", "chen", ""),
        ("refused", "li", "越权"),
        ("requested", "chen", ""),
        ("approved by compliance", "li", ""),
        ("approved by provider", "wang", ""),
        ("activated", "wang", ""),
    ]
    for step in shown["history"]:
        assert (step["purpose"], step["matter_code"]) == ("核验", "440100-01")
    acts = [f"grant {act}" for act, _, _ in steps]
    lines = [line for line in audited(mesh, grant_id) if line["what"] in acts]
    assert [line["what"] for line in lines] == acts
    assert (lines[1]["reason"], lines[1]["legal_basis"], lines[1]["by"]) == ("越权", "第十条", "li")
    # What was not allowed is there too, with why.
    tried = [
        line["what"] for line in audited(mesh, grant_id) if line["what"] in {f"{what} refused" for what in ATTEMPTS}
    ]
    assert tried == ["grant status refused", "grant decision refused", "grant decision refused"]


def test_a7_a_change_of_a_grant_that_runs_waits_beside_it_until_it_is_approved(mesh: RunningMesh) -> None:
    source, feed = feed_of(mesh)
    subscriber = f"{mesh.unique}s"
    target, grant_id, table = mesh.database(subscriber), f"{subscriber}.{feed}", feed.replace(".", "_")
    mesh.done("onboard", mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"]}))
    mesh.verified(grant_id, 30)
    assert [step["act"] for step in done(mesh, "show", grant_id)["history"]] == ["given by folder"]
    wider = mesh.subscriber(subscriber, {"feed": feed, "columns": ["name", "score"], "row_filter": "score > 10"})
    told = done(mesh, "request", wider)["grants"][grant_id]
    assert (told["status"], told["successor"]) == ("ACTIVE", "SUBMITTED")
    with database(source) as town:
        town.execute("INSERT INTO t VALUES (31, 'n31', 31)")
    mesh.verified(grant_id, 31)
    assert all(len(row) == 2 for row in rows(target, table)), "it goes on as it was"
    done(mesh, "approve", grant_id)
    assert done(mesh, "approve", grant_id)["status"] == "ACTIVE"
    mesh.verified(grant_id, 21)
    assert (31, "n31", 31) in rows(target, table)
    last = done(mesh, "show", grant_id)["history"][-1]
    assert (last["act"], last["reason"]) == ("activated", "columns +score; row_filter")
    # Suspended and resumed with their reasons, nothing missed.
    done(mesh, "suspend", grant_id, "--reason", "数据质量")
    with database(source) as town:
        town.execute("DELETE FROM t WHERE id = 31; UPDATE t SET score = 99 WHERE id = 1")
    assert done(mesh, "resume", grant_id, "--reason", "已更正")["status"] == "ACTIVE"
    mesh.verified(grant_id, 21)
    assert done(mesh, "revoke", grant_id, "--reason", "合同终止")["status"] == "REVOKED"
    until(lambda: rows(target, table) == [], 30, "the rows are gone")
    assert [line["status"] for line in audited(mesh, grant_id) if line["what"] == "grant revoked"] == ["REVOKED"]


def test_a7_an_answer_that_is_late_is_told_until_it_is_given_and_audited_once(mesh: RunningMesh) -> None:
    _, feed = feed_of(mesh)
    subscriber = f"{mesh.unique}s"
    grant_id = f"{subscriber}.{feed}"
    mesh.database(subscriber)
    done(mesh, "request", mesh.subscriber(subscriber, {"feed": feed, "columns": ["name"]}))
    assert done(mesh, "list", "--overdue", "--subscriber", subscriber)["grants"] == []
    # Ten working days later: the same request, as it stands then.
    entry = read_directory(mesh.kafka).grants[grant_id]
    late = replace(entry, life=replace(entry.life, due_at=datetime.now(UTC) - timedelta(minutes=1)))
    with closing(Log(mesh.kafka, client_id="test")) as log:
        publish(log.append, GRANTS, grant_id, late.to_json())
        log.flush(30)

    def told() -> list[Any]:
        status = mesh.done("status")
        return [each for each in status["incidents"] if (each["kind"], each["name"]) == ("request", grant_id)]

    [incident] = until(told, 30, "the incident of the late answer")
    assert "overdue" in incident["reason"]
    assert f"`mesh grant approve {grant_id} --as compliance`" in incident["fix"]
    assert [line["grant_id"] for line in done(mesh, "list", "--overdue")["grants"]] == [grant_id]
    assert [line["waits_for"] for line in audited(mesh, grant_id) if line["what"] == "grant overdue"] == ["compliance"]
    done(mesh, "approve", grant_id, "--as", "compliance")
    done(mesh, "approve", grant_id, "--as", "provider")
    until(lambda: not told(), 30, "the incident ends with the answer")
    assert [line["what"] for line in audited(mesh, grant_id)].count("grant overdue") == 1
