"""What a running mesh is asked to do and refuses: one readable text each, with its fix, and nothing is half done."""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit

import pytest

from schemas.feed import CONTROL
from schemas.log.offsets import end_offsets
from tests.stage.running_mesh import Ran, RunningMesh, contract, database

TABLE = contract(["id"], {"id": "int", "note": "string"})


def refused(ran: Ran, *words: str) -> None:
    """It failed with one text for people, which has these words, and with a fix; not with a traceback."""
    assert ran.status == 1, ran
    assert "Traceback" not in ran.err + ran.out
    assert "fix: " in ran.err + ran.out
    for word in words:
        assert word in ran.err + ran.out, f"{word!r} is not in {ran.err + ran.out!r}"


@pytest.fixture
def agency(mesh: RunningMesh) -> str:
    """An agency with a database of one table, and a folder of which nothing is onboarded."""
    code = f"{mesh.unique}a"
    with database(mesh.database(code)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 'one')")
    mesh.agency(code, {"t": TABLE})
    return code


def left(mesh: RunningMesh, agency: str) -> list[str]:
    """Topics and addresses that the mesh has of an agency."""
    topics = [topic for topic in mesh.topics() if agency in topic]
    return (
        topics + [path.name for path in (mesh.directory / "connections").rglob(f"{agency}.*")] + mesh.subjects(agency)
    )


def test_a_malformed_contract_is_shown_with_its_place_and_registers_nothing(mesh: RunningMesh, agency: str) -> None:
    folder = mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "strnig"})})
    for command in ("check", "onboard"):
        ran = mesh.run(command, folder)
        refused(ran, "t.avsc:", "note", 'unknown type "strnig"')
    line = int(ran.out.split("t.avsc:")[1].split()[0])
    assert "strnig" in (folder / "t.avsc").read_text().splitlines()[line - 1]
    assert left(mesh, agency) == []


def test_a_database_that_cannot_be_used_is_refused_before_anything_is_registered(
    mesh: RunningMesh, agency: str
) -> None:
    folder = mesh.folder / agency
    variable = f"MESH_{agency.upper()}_DSN"
    address = mesh.variables.pop(variable)
    refused(mesh.run("onboard", folder), variable, "is not in the environment")
    password = "s3cret-of-the-department"
    unreachable = f"postgresql://reader:{password}@127.0.0.1:1/town"
    ran = mesh.run("onboard", folder, **{variable: unreachable})
    refused(ran, f"{agency}.main")
    assert password not in ran.err + ran.out
    with database(address) as town:
        town.execute(f"CREATE ROLE {mesh.unique} LOGIN PASSWORD '{password}'".encode())
    server = urlsplit(address)
    unfit = server._replace(netloc=f"{mesh.unique}:{password}@{server.hostname}:{server.port}").geturl()
    refused(mesh.run("onboard", folder, **{variable: unfit}), "may not replicate", "REPLICATION;", "GRANT SELECT ON")
    assert left(mesh, agency) == []

    # A subscriber in the same folder, whose own address is missing.
    mesh.subscriber(f"{agency}s", {"feed": f"{agency}.t", "columns": ["note"]})
    refused(mesh.run("onboard", mesh.folder, **{variable: address}), f"MESH_{agency.upper()}S_DSN")
    assert left(mesh, agency) == []


def test_onboarding_again_changes_nothing(mesh: RunningMesh, agency: str) -> None:
    mesh.database(f"{agency}s")
    mesh.subscriber(f"{agency}s", {"feed": f"{agency}.t", "columns": ["note"]})
    first = mesh.done("onboard", mesh.folder)
    mesh.verified(f"{agency}.t", 1)
    subjects = mesh.subjects(agency)
    entries = control_of(mesh, agency)
    known = dict(mesh.variables)
    mesh.variables.clear()  # the mesh has the addresses
    again = mesh.done("onboard", mesh.folder)
    assert again["grants"] == first["grants"]
    assert list(again["feeds"]) == list(first["feeds"])
    assert {feed["standing"] for feed in again["check"]["feeds"]} == {"unchanged"}
    assert mesh.subjects(agency) == subjects
    assert control_of(mesh, agency) == entries
    mesh.variables.update(known)
    mesh.verified(f"{agency}.t", 1)
    assert sum(end_offsets(mesh.kafka, [f"{agency}.t"]).values()) == 1


def control_of(mesh: RunningMesh, agency: str) -> list[tuple[str, bytes | None]]:
    """The records of the control topics that name the agency: what hops were told."""
    told = [
        message
        for topic in CONTROL
        for message in mesh.records(topic)
        if topic not in {"mesh.capture", "mesh.egress", "mesh.ledger"}
    ]
    return [(message.topic(), message.value()) for message in told if agency.encode() in (message.key() or b"")]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("tail", "nobody.nothing"), ("nobody.nothing", "is no feed")),
        (("verify", "nobody.nothing"), ("nobody.nothing", "is no grant and no feed")),
        (("grant", "nobody.nothing", "REVOKED"), ("grant nobody.nothing", "does not exist")),
        (("resync", "nobody.main"), ("nobody.main", "is no source and no feed")),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_does_not_exist_is_named(mesh: RunningMesh, command: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(mesh.run(*command), *words)


def test_a_tail_into_a_closed_pipe_ends_quietly(mesh: RunningMesh, agency: str) -> None:
    mesh.done("onboard", mesh.folder)
    shown = mesh.run("tail", f"{agency}.t", "--from-start", "--count", "1")
    assert (shown.status, shown.err) == (0, "")
    assert "note=one" in shown.out
    with mesh.started("tail", f"{agency}.t", "--from-start") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        with database(mesh.variables[f"MESH_{agency.upper()}_DSN"]) as town:
            for number in range(2, 60):
                town.execute("INSERT INTO t VALUES (%s, 'more')", (number,))
                try:
                    process.wait(0.5)
                    break
                except subprocess.TimeoutExpired:
                    continue
        assert process.wait(5) in {0, 1}
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
