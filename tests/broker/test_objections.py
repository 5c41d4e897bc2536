"""`mesh objection`: a field is disputed, answered, and its correction recognised when the row comes as any other change."""

from __future__ import annotations

import json
from typing import Any

from schemas.feed import AUDIT, OBJECTIONS
from schemas.log.control.records import read_all
from tests.stage.running_mesh import Ran, RunningMesh, contract, database, run
from tests.stage.until import until

PERSON, OTHER = "440103198001011234", "440103198001015678"


def city(mesh: RunningMesh) -> tuple[str, str]:
    """A feed of two persons, and a grant that shows name and income as they are and the phone hashed: both names."""
    agency, bank = f"{mesh.unique}a", f"{mesh.unique}bank"
    fields = {"citizen_id": "string", "name": "string", "income": "int", "phone": "string"}
    mesh.agency(agency, {"person": contract(["citizen_id"], fields, tags=["PII", "L2"])})
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE person (citizen_id text PRIMARY KEY, name text, income int, phone text)")
        town.execute("ALTER TABLE person REPLICA IDENTITY FULL")
        town.execute(f"INSERT INTO person VALUES ('{PERSON}', '张三', 4711, '1'), ('{OTHER}', '李四', 4711, '2')")
    mesh.database(bank)
    entry = {"feed": f"{agency}.person", "columns": ["name", "income", "phone"], "mask": {"phone": "HASH"}}
    mesh.subscriber(bank, entry)
    mesh.done("onboard", mesh.folder)
    mesh.verified(f"{agency}.person", 2)
    return f"{agency}.person", f"{bank}.{agency}.person"


def objection(mesh: RunningMesh, verb: str, *arguments: str) -> Ran:
    return run("objection", verb, "--dir", mesh.directory, "--json", *arguments)


def disputed(mesh: RunningMesh, grant: str, field: str = "income", seen: str = "4711") -> Ran:
    key = ("--key", f"citizen_id={PERSON}")
    return objection(
        mesh, "raise", grant, *key, "--field", field, "--seen", seen, "--claim", "1174", "--evidence", "档-2026-14"
    )


def the(ran: Ran) -> Any:
    assert ran.status == 0, ran.err
    (one,) = ran.json["objections"]
    return one


def told(mesh: RunningMesh, objection_id: str) -> list[Any]:
    return [line for _, _, line in read_all(mesh.kafka, [AUDIT]) if line["subject"] == objection_id]


def test_an_objection_that_is_right_is_corrected_by_the_row_itself(mesh: RunningMesh) -> None:
    feed, grant = city(mesh)
    raised = the(disputed(mesh, grant))
    name = raised["objection_id"]
    assert (raised["state"], raised["raised_by"], raised["feed"]) == ("OPEN", grant.partition(".")[0], feed)
    assert the(disputed(mesh, grant))["raised_at"] == raised["raised_at"], "said twice it is one"
    assert raised["due_at"] > raised["raised_at"]
    assert the(objection(mesh, "answer", name, "PROVIDER_CHECKING"))["state"] == "PROVIDER_CHECKING"
    assert the(objection(mesh, "answer", name, "UPHELD"))["state"] == "UPHELD"
    with database(mesh.variables[f"MESH_{feed.partition('.')[0].upper()}_DSN"]) as town:
        town.execute(f"UPDATE person SET name = '张三丰' WHERE citizen_id = '{PERSON}'")
        town.execute(f"UPDATE person SET income = 1 WHERE citizen_id = '{OTHER}'")
        mesh.verified(feed, 2)
        assert the(objection(mesh, "show", name))["state"] == "UPHELD", (
            "neither another field nor another row corrects it"
        )
        town.execute(f"UPDATE person SET income = 1174 WHERE citizen_id = '{PERSON}'")
    corrected = until(
        lambda: (now := the(objection(mesh, "show", name)))["state"] == "CORRECTED" and now, 60, "it is corrected"
    )
    changes = [
        seen.value for seen in mesh.seen(feed) if seen.value and (seen.value["after"] or {}).get("income") == 1174
    ]
    assert corrected["correction_event"] == changes[0]["source"]["sequence"]
    assert [line["what"] for line in told(mesh, name)] == [
        "objection raised", "objection PROVIDER_CHECKING", "objection UPHELD", "objection CORRECTED",
    ]  # fmt: skip
    record = next(record for _, key, record in read_all(mesh.kafka, [OBJECTIONS]) if key == name)
    assert "4711" not in {str(value) for value in record.values()}, "the value that was seen is kept nowhere"
    text = json.dumps(told(mesh, name), ensure_ascii=False)
    assert not [secret for secret in (PERSON, "4711", "1174", "张三") if secret in text]


def test_an_objection_is_rejected_with_a_reason_and_only_who_asks_to_see_the_record_does(mesh: RunningMesh) -> None:
    feed, grant = city(mesh)
    name = the(disputed(mesh, grant))["objection_id"]
    refused = objection(mesh, "answer", name, "REJECTED")
    assert (refused.status, "without a reason" in refused.err) == (1, True)
    assert the(objection(mesh, "answer", name, "REJECTED", "--reason", "与原始凭证一致"))["reason"] == "与原始凭证一致"
    refused = objection(mesh, "answer", name, "UPHELD")
    assert (refused.status, "after which UPHELD cannot come" in refused.err) == (1, True)
    assert disputed(mesh, grant).status == 1, "of this value it is answered"
    listed = objection(mesh, "list", "--feed", feed, "--state", "REJECTED")
    assert the(listed)["objection_id"] == name
    assert PERSON not in listed.out
    assert "1174" not in listed.out
    revealed = the(objection(mesh, "show", name, "--reveal"))
    assert (revealed["record_key"], revealed["claimed"]) == ({"citizen_id": PERSON}, "1174")
    assert "objection revealed" in [line["what"] for line in told(mesh, name)]
    assert [line["what"] for line in told(mesh, name)].count("objection answer refused") == 2


def test_what_a_grant_does_not_show_is_not_disputed_by_it(mesh: RunningMesh) -> None:
    _, grant = city(mesh)
    for field in ("phone", "address"):
        refused = disputed(mesh, grant, field, "x")
        assert (refused.status, f"does not show {field} as it is" in refused.err) == (1, True), refused.err
    refused = disputed(mesh, f"{grant}x")
    assert (refused.status, "does not exist" in refused.err) == (1, True)
    assert PERSON not in refused.err


def test_a_correction_reaches_everyone_who_got_the_wrong_value_as_such(mesh: RunningMesh) -> None:
    feed, grant = city(mesh)
    agency, other, few = feed.partition(".")[0], f"{mesh.unique}tax", f"{mesh.unique}few"
    for code, columns in ((other, ["income"]), (few, ["name"])):
        mesh.database(code)
        mesh.subscriber(code, {"feed": feed, "columns": columns})
    mesh.done("onboard", mesh.folder)
    mesh.verified(feed, 2)
    name = the(disputed(mesh, grant))["objection_id"]
    the(objection(mesh, "answer", name, "UPHELD"))
    with database(mesh.variables[f"MESH_{agency.upper()}_DSN"]) as town:
        town.execute(f"UPDATE person SET name = '张三丰' WHERE citizen_id = '{PERSON}'")
        town.execute(f"UPDATE person SET income = 1174 WHERE citizen_id = '{PERSON}'")
        town.execute(f"UPDATE person SET income = 1200 WHERE citizen_id = '{PERSON}'")
    mesh.verified(feed, 2)
    corrected = until(
        lambda: (now := the(objection(mesh, "show", name)))["state"] == "CORRECTED" and now, 60, "it is corrected"
    )
    topics = {each: mesh.seen(f"out.{each}") for each in (grant, f"{other}.{feed}", f"{few}.{feed}")}
    for each, seen in topics.items():
        said = [(one.headers["correction_of"], one.value) for one in seen if "correction_of" in one.headers]
        if each == f"{few}.{feed}":
            assert said == [], "it never had the value"
            continue
        [(told_of, value)] = said
        assert value is not None
        assert (told_of, value["after"]["income"], value["source"]["sequence"]) == (
            name, 1174, corrected["correction_event"],
        )  # fmt: skip
    shown = objection(mesh, "show", name)
    assert shown.json["carried_to"] == sorted([grant, f"{other}.{feed}"])
    # A change is one trace for all who get it, and each is another.
    traces = {
        each: {one.value["source"]["sequence"]: one.headers["trace_id"] for one in seen if one.value}
        for each, seen in topics.items()
    }
    assert traces[grant] == traces[f"{other}.{feed}"] == traces[f"{few}.{feed}"]
    assert len(set(traces[grant].values())) == len(traces[grant])
    assert all(one.headers.keys() >= {"grant_id", "purpose", "trace_id"} for seen in topics.values() for one in seen)
