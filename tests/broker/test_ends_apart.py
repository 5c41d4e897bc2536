"""A source and a sink never meet: not by a shared name, not in one database, not in one directory; and each sink is tried first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.stage.running_mesh import Ran, RunningMesh, contract, database, rows
from tests.stage.until import until

TABLE = contract(["id"], {"id": "int", "note": "string"})
COLUMNS = ["id", "note"]


def refused(ran: Ran, *words: str) -> None:
    assert ran.status == 1, ran
    assert "Traceback" not in ran.err + ran.out
    assert "fix: " in ran.err + ran.out
    for word in words:
        assert word in ran.err + ran.out, f"{word!r} is not in {ran.err + ran.out!r}"


def provider(mesh: RunningMesh, code: str) -> Path:
    with database(mesh.database(code)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 'one')")
    return mesh.agency(code, {"t": TABLE})


def receiver(
    mesh: RunningMesh, code: str, feed: str, folder: str = "", sinks: Sequence[Mapping[str, Any]] | None = None
) -> Path:
    """The folder of a subscriber; by default one PostgreSQL named `main` at `${<CODE>_SINK}`."""
    place = mesh.folder / (folder or f"{code}_subscriber")
    place.mkdir(exist_ok=True)
    usual = [{"name": "main", "kind": "postgres", "connection": f"${{{code.upper()}_SINK}}"}]
    entry = {
        "subscriber": code,
        "name": "订阅方",
        "sinks": sinks or usual,
        "grants": [{"feed": feed, "columns": COLUMNS, "purpose": "核验", "sink": (sinks or usual)[0]["name"]}],
    }
    (place / "subscriber.yaml").write_text(json.dumps(entry, ensure_ascii=False))
    return place


def tables(address: str) -> list[str]:
    with database(address) as connection:
        return [
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^pg_'"
                " AND relnamespace = 'public'::regnamespace ORDER BY 1"
            )
        ]


def test_an_agency_and_a_subscriber_of_one_code_keep_their_databases_apart(mesh: RunningMesh) -> None:
    both = f"{mesh.unique}both"
    mesh.done("onboard", provider(mesh, both))
    source, target = mesh.variables[f"MESH_{both.upper()}_DSN"], mesh.database(f"{both}x")
    ran = mesh.run("onboard", "--json", receiver(mesh, both, f"{both}.t"), **{f"{both.upper()}_SINK": target})
    assert ran.status == 0, ran
    until(lambda: rows(target, f"{both}_t") == [(1, "one")], 60, "the row arrives")
    with database(source) as town:
        town.execute("INSERT INTO t VALUES (2, 'two')")
    until(lambda: len(rows(target, f"{both}_t")) == 2, 60, "the source is still captured")
    assert tables(source) == ["t"], "nothing was made in the department's database"


def test_a_sink_is_never_taken_into_a_database_that_is_captured(mesh: RunningMesh) -> None:
    code, feed = f"{mesh.unique}s", f"{mesh.unique}a.t"
    agency = provider(mesh, f"{mesh.unique}a")
    source = mesh.variables[f"MESH_{mesh.unique.upper()}A_DSN"]
    subscriber = receiver(mesh, code, feed, folder=f"{mesh.unique}a/inside")
    as_it_is = {f"{code.upper()}_SINK": source}
    parts = urlsplit(source)
    otherwise = {f"{code.upper()}_SINK": parts._replace(netloc=parts.netloc.replace("127.0.0.1", "localhost")).geturl()}
    refused(
        mesh.run("onboard", agency, **as_it_is), f"that of source {mesh.unique}a.main"
    )  # both in one folder, both new
    refused(mesh.run("onboard", agency, **otherwise), f"that of source {mesh.unique}a.main")
    assert tables(source) == ["t"]
    elsewhere = receiver(mesh, code, feed)
    (subscriber / "subscriber.yaml").unlink()
    mesh.done("onboard", agency)
    refused(mesh.run("onboard", elsewhere, **as_it_is), "its database is that of source")
    assert tables(source) == ["t"]


def test_a_source_is_never_taken_out_of_a_database_that_is_delivered_into(mesh: RunningMesh) -> None:
    first, second, code = f"{mesh.unique}a", f"{mesh.unique}b", f"{mesh.unique}s"
    mesh.done("onboard", provider(mesh, first))
    agency = provider(mesh, second)
    ran = mesh.run(
        "onboard",
        receiver(mesh, code, f"{first}.t"),
        **{f"{code.upper()}_SINK": mesh.variables[f"MESH_{second.upper()}_DSN"]},
    )
    assert ran.status == 0, ran
    refused(
        mesh.run("onboard", agency), f"a sink of subscriber {code} delivers into its database", "beside_source: true"
    )


def test_two_sinks_never_write_one_table_or_into_one_directory(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, one, two = f"{mesh.unique}a", f"{mesh.unique}s", f"{mesh.unique}t"
    mesh.done("onboard", provider(mesh, agency))
    target = mesh.database(f"{mesh.unique}x")
    drop = {"name": "drop", "kind": "files", "connection": "${DROP}"}
    (tmp_path / "drop" / "inner").mkdir(parents=True)
    for connection, problem in (({}, "would go where table"), ({"sinks": [drop]}, "its directory")):
        variables = {f"{code.upper()}_SINK": target for code in (one, two)} | {"DROP": str(tmp_path / "drop")}
        ran = mesh.run("onboard", receiver(mesh, one, f"{agency}.t", **connection), **variables)
        assert ran.status == 0, ran
        refused(mesh.run("onboard", receiver(mesh, two, f"{agency}.t", **connection), **variables), problem)
    variables = {"DROP": str(tmp_path / "drop" / "inner")}
    refused(mesh.run("onboard", receiver(mesh, two, f"{agency}.t", sinks=[drop]), **variables), "lies within that of")
    variables = {"DROP": str(mesh.directory.absolute() / "connections")}
    refused(mesh.run("onboard", receiver(mesh, two, f"{agency}.t", sinks=[drop]), **variables), "the mesh's own")


@pytest.mark.parametrize("kind", ["password", "database", "rights", "directory", "relative"])
def test_a_sink_that_cannot_be_used_is_refused_before_anything_is_registered(
    mesh: RunningMesh, tmp_path: Path, kind: str
) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    mesh.done("onboard", provider(mesh, agency))
    target = urlsplit(mesh.database(f"{mesh.unique}x"))
    where = f"{target.hostname}:{target.port}"
    with database(target.geturl()) as town:
        town.execute(f"CREATE ROLE {mesh.unique} LOGIN PASSWORD 'sesame-of-the-town'".encode())
    address, words = {
        "password": (target._replace(netloc=f"{mesh.unique}:wrong-word@{where}").geturl(), "refuses the login"),
        "database": (target._replace(path="/nothing_there").geturl(), "refuses the login"),
        "rights": (target._replace(netloc=f"{mesh.unique}:sesame-of-the-town@{where}").geturl(), "may not make"),
        "directory": (str(tmp_path / "nowhere"), "not there"),
        "relative": ("drops/here", "no absolute path"),
    }[kind]
    sink = {"name": "main", "kind": "files" if kind in {"directory", "relative"} else "postgres", "connection": "${AT}"}
    ran = mesh.run("onboard", receiver(mesh, code, f"{agency}.t", sinks=[sink]), AT=address)
    refused(ran, words)
    assert "wrong-word" not in ran.out + ran.err
    assert f"out.{code}.{agency}.t" not in mesh.topics()


def test_a_sink_that_does_not_answer_is_told_and_holds_up_nobody(mesh: RunningMesh) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    mesh.done("onboard", provider(mesh, agency))
    ran = mesh.run(
        "onboard",
        "--json",
        receiver(mesh, code, f"{agency}.t"),
        **{f"{code.upper()}_SINK": "postgresql://u@127.0.0.1:1/x"},
    )
    assert ran.status == 0, ran
    assert any("could not be tried" in notice for notice in ran.json["notices"])
