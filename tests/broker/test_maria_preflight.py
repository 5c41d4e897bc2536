"""What must be true of a MariaDB before it is captured: each refusal has a statement that mends it to the letter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from producers.finding import Finding
from producers.mysql.kind import MYSQL_SOURCE
from producers.mysql.onboarding.draft import draft
from schemas.agreement.agency import SourceConfig
from schemas.errors import Misconfigured
from tests.stage.maria import MariaServer, rows, run
from tests.stage.maria_values import KINDS, reading

WRONG = {
    "binlog_format": "STATEMENT",
    "binlog_row_image": "MINIMAL",
    "binlog_row_metadata": "MINIMAL",
    "gtid_strict_mode": "OFF",
    "binlog_checksum": "NONE",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    directory = tmp_path_factory.mktemp("maria")
    directory.parent.chmod(0o755)
    directory.chmod(0o755)
    server = MariaDb(Path(directory), is_durable=False, settings=LOGGING_ROWS)
    server.start()
    yield server
    server.stop()


def findings(address: str, agency: str, table: str, **options: object) -> list[Finding]:
    (drafted,) = draft(address, [table], agency, is_lossless=False).tables
    config = SourceConfig(name="main", kind="mysql", options=options)
    found, provided = MYSQL_SOURCE.preflight(config, address, [drafted.contract(agency)], {}, name="check")
    assert bool(provided) == (not any(finding.severity == "error" for finding in found))
    return list(found)


def test_every_refusal_of_a_server_names_the_statement_that_mends_it(server: MariaDb, unique: str) -> None:
    address = server.create_database("d")
    run(address, "CREATE TABLE plain (id int PRIMARY KEY)")
    run(address, *(f"SET GLOBAL {name} = '{value}'" for name, value in WRONG.items()))
    found = findings(address, unique, "plain")
    assert sorted(finding.severity for finding in found) == ["error"] * 4 + ["warning"]
    (contract,) = (drafted.contract(unique) for drafted in draft(address, ["plain"], unique, is_lossless=False).tables)
    with pytest.raises(Misconfigured, match="binlog_format"), reading(address, contract):
        pass
    run(address, *(finding.fix for finding in found))
    assert findings(address, unique, "plain") == []
    with pytest.raises(Misconfigured, match="server_id"), reading(address, contract, server_id=1):
        pass


def test_an_account_is_told_what_it_lacks(server: MariaDb, unique: str) -> None:
    address = server.create_database("d")
    run(
        address,
        "CREATE TABLE IF NOT EXISTS mine (id int PRIMARY KEY)",
        "CREATE USER poor@'127.0.0.1' IDENTIFIED BY 'p'",
    )
    run(address, "GRANT SELECT ON d.* TO poor@'127.0.0.1'")
    theirs = f"mysql://poor:p@127.0.0.1:{server.port}/d"
    (finding,) = findings(theirs, unique, "mine")
    assert finding.message == "lacks REPLICATION SLAVE, BINLOG MONITOR"
    run(address, finding.fix)
    assert findings(theirs, unique, "mine") == []
    (contract,) = (drafted.contract(unique) for drafted in draft(theirs, ["mine"], unique, is_lossless=False).tables)
    run(address, "INSERT INTO mine VALUES (1)")
    with reading(theirs, contract) as (_, taken, read):
        read(1)
    assert taken.rows == {1: {"id": 1}}


def test_a_table_that_would_lose_changes_is_refused_with_its_statement(mariadb: MariaServer, unique: str) -> None:
    address = mariadb.create_database("refused")
    run(
        address,
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int, CONSTRAINT `f``k` FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE old (id int PRIMARY KEY) ENGINE=Aria",
    )
    for table, said in (("child", "ON DELETE"), ("old", "engine Aria")):
        (finding,) = findings(address, unique, table)
        assert said in finding.message
        run(address, finding.fix.split("; ")[0])
        assert findings(address, unique, table) == []


def test_a_draft_carries_every_type_with_its_comment_and_leaves_out_what_has_no_key(
    mariadb: MariaServer, unique: str
) -> None:
    address = mariadb.create_database("drafted")
    columns = ", ".join(f"`{name}` {kind.type} COMMENT '列{name}'" for name, kind in KINDS.items())
    run(
        address,
        f"CREATE TABLE v (`编号` int PRIMARY KEY COMMENT '编号|主键', {columns}, made int AS (`编号` + 1)) COMMENT '人员'",
        "CREATE TABLE keyless (id int)",
    )
    drafted = draft(address, [], unique, is_lossless=False)
    (table,) = drafted.tables
    assert table.doc == "人员"
    assert {entry["doc"] for entry in table.fields} >= {"编号|主键", "列date_"}
    assert {(item.table.split(".")[1], item.column) for item in drafted.left_out} == {("keyless", ""), ("v", "made")}
    (statement,) = (item.fix for item in drafted.left_out if not item.column)
    run(address, statement.replace("(…)", "(id)"))
    kinds = {entry["name"]: entry["type"] for entry in table.fields}
    for name, kind in KINDS.items():
        expected = kind.avro
        assert kinds[name] == ["null", expected], name
    assert rows(address, "SELECT COUNT(*) FROM keyless") == [(0,)]
    assert MYSQL_SOURCE.drafting is not None
    assert MYSQL_SOURCE.drafting.takes(address)
