"""A department's MariaDB in a running mesh, by the command line alone: drafted, onboarded, delivered, followed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.stage import maria
from tests.stage.maria import MariaServer, run
from tests.stage.running_mesh import RunningMesh, contract, rows
from tests.stage.until import until


def test_a_department_on_mariadb_is_drafted_onboarded_delivered_and_followed(
    mesh: RunningMesh, mariadb: MariaServer
) -> None:
    agency, subscriber = f"{mesh.unique}a", f"{mesh.unique}s"
    address = mariadb.create_database("town")
    mesh.variables["MESH_TOWN_MARIADB"] = address
    run(
        address,
        "CREATE TABLE t (id int PRIMARY KEY COMMENT '编号', name varchar(30) COMMENT '名称', score smallint COMMENT '得分')"
        " COMMENT '企业'",
        "INSERT INTO t VALUES (1, '甲', 10), (2, '乙', 20)",
    )
    folder = mesh.folder / agency
    mesh.done("draft", "${MESH_TOWN_MARIADB}", "--agency", agency, "--into", folder)
    drafted = json.loads((folder / "t.avsc").read_text("utf-8"))
    assert drafted["doc"].startswith("企业")
    drafted["gov"] = {**drafted["gov"], "class": "UNCONDITIONAL", "basis": "示例依据"}
    for field in drafted["fields"]:
        field["gov"] = {}
        field["confluent:tags"] = ["L1"]
    (folder / "t.avsc").write_text(json.dumps(drafted, ensure_ascii=False), "utf-8")
    target = mesh.database(subscriber)
    feed = f"{agency}.t"
    mesh.subscriber(subscriber, {"feed": feed, "columns": ["name", "score"]})
    mesh.done("onboard", mesh.folder)
    table = feed.replace(".", "_")
    until(lambda: rows(target, table) == [(1, "甲", 10), (2, "乙", 20)], 60, "the copy is delivered")
    run(
        address,
        "UPDATE t SET score = 11 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (3, '丙', 30)",
    )
    until(lambda: rows(target, table) == [(1, "甲", 11), (3, "丙", 30)], 60, "changes are delivered")
    run(address, "ALTER TABLE t MODIFY score bigint", "INSERT INTO t VALUES (4, '丁', 5000000000)")

    def stopped() -> Mapping[str, Any]:
        listed = mesh.done("status", "--once")["incidents"]
        return next((each for each in listed if each["name"] == feed and each["state"] in ("stopped", "notice")), {})

    incident = until(stopped, 60, f"{feed} says that its table changed")
    (words,) = re.findall(r"`mesh follow ([^`]+)`", incident["fix"])
    assert mesh.done("follow", *words.split())["done"]
    expected = [(1, "甲", 11), (3, "丙", 30), (4, "丁", 5_000_000_000)]
    until(lambda: rows(target, table) == expected, 60, "the wide number is delivered")
    assert mesh.done("follow", feed)["differences"] == []
    assert mesh.done("verify", feed)["exact"]
    found = mesh.done("verify", feed, "--source", "--within", "60")
    assert (found["exact"], found["rows"], found["found"], found["compared_by"]) == (True, 3, 3, "sums")
    shown = mesh.run("verify", feed, "--source")
    assert re.search(r"exact: \S+ at file \d+, byte \d+: 3 rows", shown.out), shown.out


def test_no_sink_is_taken_into_a_mariadb_that_is_captured_nor_a_source_out_of_one_that_is_delivered_into(
    mesh: RunningMesh, mariadb: MariaServer
) -> None:
    agency, other, code = f"{mesh.unique}p", f"{mesh.unique}q", f"{mesh.unique}r"
    address = mariadb.create_database("own")
    run(address, "CREATE TABLE t (id int PRIMARY KEY COMMENT '编号', note text COMMENT '注') COMMENT '表'")
    provider(mesh, agency, address)
    subscriber = mesh.folder / code
    subscriber.mkdir()
    sink = {"name": "main", "kind": "mysql", "connection": "${INTO}"}
    grant = {"feed": f"{agency}.t", "columns": ["note"], "purpose": "核验", "legal_basis": "示例依据"}
    entry = {"subscriber": code, "name": "订阅方", "sinks": [sink], "grants": [grant]}
    (subscriber / "subscriber.yaml").write_text(json.dumps(entry, ensure_ascii=False))
    mesh.done("onboard", mesh.folder / agency)
    for into in (address, address.replace("127.0.0.1", "localhost"), address.replace("mysql://", "mariadb://")):
        ran = mesh.run("onboard", subscriber, INTO=into)
        assert ran.status == 1
        assert f"its database is that of source {agency}.main" in ran.err, ran
    assert maria.rows(address, "SHOW TABLES") == [("t",)], "nothing was made in the department's database"
    target = mariadb.create_database("target")
    assert mesh.run("onboard", subscriber, INTO=target).status == 0
    run(target, "CREATE TABLE t (id int PRIMARY KEY, note text)")
    provider(mesh, other, target)
    ran = mesh.run("onboard", mesh.folder / other)
    assert (ran.status, f"a sink of subscriber {code} delivers into its database" in ran.err) == (1, True), ran


def provider(mesh: RunningMesh, code: str, address: str) -> None:
    """An agency whose table `t` is in this database."""
    folder, variable = mesh.folder / code, f"MESH_{code.upper()}_MARIADB"
    folder.mkdir()
    mesh.variables[variable] = address
    source = {"name": "main", "kind": "mysql", "connection": f"${{{variable}}}"}
    (folder / "agency.yaml").write_text(json.dumps({"agency": code, "name": "测试局", "sources": [source]}))
    record = contract(["id"], {"id": "int", "note": "string"})
    record = {**record, "gov": {**record["gov"], "table": f"{address.rpartition('/')[2]}.t"}}
    (folder / "t.avsc").write_text(json.dumps(record, ensure_ascii=False))
