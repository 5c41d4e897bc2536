"""`mesh access`: who received a person's data, when, which columns, by which grant and purpose, in a running mesh."""

from __future__ import annotations

import json
from typing import Any

from ops.disclosure.disclosed import hash_keys
from ops.settings import load
from schemas.feed import AUDIT
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, rows, run
from tests.stage.until import until

TAGS = {"citizen_id": ["PII", "L4", "DIRECT_ID"], "owner_id": ["PII", "L4", "DIRECT_ID"]}


def persons(mesh: RunningMesh) -> list[str]:
    """Three persons of this test alone: topics of tests that are over keep their records, and are found."""
    return [f"440103{int(mesh.unique[1:], 16) * 10 + number:012d}" for number in range(3)]


def tagged(record: dict[str, Any]) -> dict[str, Any]:
    for field in record["fields"]:
        field["confluent:tags"] = TAGS.get(field["name"], ["L1"])
    return record


def city(mesh: RunningMesh) -> tuple[str, str, str]:
    """Two feeds about persons and three grants: the agency and both subscribers. One hashes, one filters a region out."""
    agency, bank, tax = f"{mesh.unique}a", f"{mesh.unique}bank", f"{mesh.unique}tax"
    one, other, hidden = persons(mesh)
    person = {"citizen_id": "string", "name": "string", "region": "string"}
    car = {"number": "int", "owner_id": "string", "brand": "string"}
    mesh.agency(agency, {"person": tagged(contract(["citizen_id"], person)), "car": tagged(contract(["number"], car))})
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE person (citizen_id text PRIMARY KEY, name text, region text)")
        town.execute("CREATE TABLE car (number int PRIMARY KEY, owner_id text, brand text)")
        town.execute("ALTER TABLE person REPLICA IDENTITY FULL; ALTER TABLE car REPLICA IDENTITY FULL")
        town.execute(
            f"INSERT INTO person VALUES ('{one}', '张三', 'A'), ('{other}', '李四', 'A'), ('{hidden}', '王五', 'B')"
        )
        town.execute(f"INSERT INTO car VALUES (7, '{one}', '广汽'), (8, '{other}', '比亚迪')")
    mesh.database(bank)
    mesh.database(tax)
    mesh.subscriber(
        bank,
        {"feed": f"{agency}.person", "columns": ["name"], "row_filter": "region == 'A'", "purpose": "开户核验"},
        {
            "feed": f"{agency}.car",
            "columns": ["owner_id", "brand"],
            "mask": {"owner_id": "HASH"},
            "purpose": "贷款抵押",
        },
    )
    mesh.subscriber(tax, {"feed": f"{agency}.car", "columns": ["brand"], "purpose": "车船税"})
    mesh.done("onboard", mesh.folder)
    mesh.verified(f"{agency}.person", 2)
    mesh.verified(f"{agency}.car", 2)
    return agency, bank, tax


def asked(mesh: RunningMesh, *arguments: str, purpose: str = "申请 2026-114") -> Any:
    ran = run("access", "--dir", mesh.directory, "--json", "--purpose", purpose, *arguments)
    assert ran.status == 0, ran.err
    return ran.json


def by_grant(told: Any) -> dict[str, Any]:
    return {each["grant"]: each for each in told["recipients"]}


def lines(mesh: RunningMesh, what: str) -> list[Any]:
    return [line for _, _, line in read_all(mesh.kafka, [AUDIT]) if line["what"] == what]


def test_a_person_learns_who_received_what_by_which_grant_and_for_what(mesh: RunningMesh) -> None:
    agency, bank, tax = city(mesh)
    one, _, hidden = persons(mesh)
    person, car, taxed = f"{bank}.{agency}.person", f"{bank}.{agency}.car", f"{tax}.{agency}.car"
    until(lambda: is_acknowledged(mesh, one), 60, "subscribers confirm")
    told = by_grant(asked(mesh, one))
    assert told.keys() == {person, car, taxed}
    assert (told[person]["purpose"], told[person]["columns"]) == ("开户核验", ["citizen_id", "name"])
    assert (told[car]["purpose"], told[car]["columns"]) == ("贷款抵押", ["number", "owner_id", "brand"])
    assert (told[taxed]["purpose"], told[taxed]["columns"]) == ("车船税", ["number", "brand"]), (
        "which has no number of the person"
    )
    assert {each["standing"] for each in told.values()} == {"ACTIVE"}
    assert {len(each["records"]) for each in told.values()} == {1}

    assert asked(mesh, hidden)["recipients"] == [], "whom the filter leaves out nobody received"
    assert asked(mesh, "440103197001010000")["feeds"] == []

    keyed = by_grant(asked(mesh, "--feed", f"{agency}.car", "--key", "number=7"))
    assert keyed.keys() == {car, taxed}

    assert mesh.run("grant", person, "REVOKED").status == 0
    target = mesh.variables[f"MESH_{bank.upper()}_DSN"]
    until(lambda: rows(target, f"{agency}_person") == [], 30, "the rows are gone")
    ended = until(
        lambda: (now := by_grant(asked(mesh, one)))[person]["standing"] != "REVOKED" and now, 30, "and confirmed"
    )
    assert ended[person]["standing"].startswith("REVOKED, removed there: 2 rows")
    assert ended[person]["columns"] == ["citizen_id", "name"], "it was received, though it is over"

    # A subscriber that leaves while somebody asks, and its key with it, keeps no answer about others back.
    former = read_directory(mesh.kafka)
    assert hash_keys(load(mesh.directory), former)(bank)
    mesh.leave()
    key = mesh.directory / "connections" / f"{bank}.hash-key"
    until(lambda: not key.exists(), 60, "the bank has left")
    assert hash_keys(load(mesh.directory), former)(bank) is None


def test_the_question_is_in_the_audit_under_a_hash_and_needs_a_purpose(mesh: RunningMesh) -> None:
    one = persons(mesh)[0]
    subject = asked(mesh, one, purpose=f"核查 {one}")["subject"]
    (line,) = [line for line in lines(mesh, "access asked") if line["subject"] == subject][-1:]
    assert line["purpose"] == "核查 …"
    assert line["who"]
    assert [line for line in lines(mesh, "access told") if line["subject"] == subject]
    assert asked(mesh, one)["subject"] == subject, "asked again it is the same"
    text = json.dumps([line for _, _, line in read_all(mesh.kafka, [AUDIT])], ensure_ascii=False)
    assert one not in text
    before = len(lines(mesh, "access asked"))
    for refused in (run("access", "--dir", mesh.directory, one), bare(mesh), short(mesh)):
        assert refused.status != 0
        assert one not in refused.err
    assert len(lines(mesh, "access asked")) == before


def bare(mesh: RunningMesh) -> Ran:
    return run("access", "--dir", mesh.directory, "--purpose", "x")


def short(mesh: RunningMesh) -> Ran:
    return run("access", "--dir", mesh.directory, "--purpose", "x", "A")


def is_acknowledged(mesh: RunningMesh, identifier: str) -> bool:
    told = asked(mesh, identifier)["recipients"]
    return len(told) == 3 and all(record["state"] == "acknowledged" for each in told for record in each["records"])
