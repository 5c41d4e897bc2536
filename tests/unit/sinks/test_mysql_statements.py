"""What the sink of MariaDB and MySQL sends, by the letter, and what it makes of errors; no server."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from schemas.mysql_address import address_of
from sinks.mysql.fault import translate
from sinks.mysql.flavour import MARIADB, MYSQL, flavour_of
from sinks.mysql.table.catalog import FoundColumn, FoundTable
from sinks.mysql.table.cell import day_of, literal, moment_of, number_of, time_of
from sinks.mysql.table.drift import drift
from sinks.mysql.table.table import MysqlTable, quote
from sinks.mysql.table.type import does_fit, key_types
from sinks.row import WireColumn
from sinks.sink import NotYet, TopicTrouble
from sinks.table.fault import FaultPlace, Undefined


def column(name: str, kind: Any = "string", doc: str = "") -> WireColumn:
    return WireColumn(name=name, wire=name, kind=kind, is_nullable=True, is_lossless=False, doc=doc)


ID, NAME = column("id", "int"), column("na`me", doc="姓名's")
TABLE = MysqlTable(name="t", columns=(ID, NAME), key=(ID,), doc="人员")


def test_an_upsert_is_guarded_by_the_token_which_is_assigned_last() -> None:
    found = TABLE.upsert(MARIADB, takes_equal=False).of([(b"1", b"'a'", b"'t'"), (b"2", b"NULL", b"'t'")])
    assert found.decode() == (
        "INSERT INTO `t` (`id`, `na``me`, `_mesh_token`) VALUES (1,'a','t'),(2,NULL,'t') ON DUPLICATE KEY UPDATE "
        "`na``me` = IF(VALUES(`_mesh_token`) > `t`.`_mesh_token`, VALUES(`na``me`), `t`.`na``me`), "
        "`_mesh_token` = IF(1 / (`t`.`id` <=> VALUES(`id`)), IF(VALUES(`_mesh_token`) > `t`.`_mesh_token`, "
        "VALUES(`_mesh_token`), `t`.`_mesh_token`), '')"
    )
    assert " >= `t`.`_mesh_token`" in TABLE.upsert(MARIADB, takes_equal=True).after.decode()


def test_mysql_is_asked_by_the_alias_that_it_has_in_place_of_values() -> None:
    after = TABLE.upsert(MYSQL, takes_equal=False).after.decode()
    assert after.startswith(" AS fresh ON DUPLICATE KEY UPDATE `na``me` = IF(fresh.`_mesh_token` > `t`.`_mesh_token`, ")
    assert "VALUES" not in after


def test_what_is_there_is_met_by_a_join_that_is_read_from_what_came() -> None:
    assert TABLE.delete().of([(b"1", b"'t'"), (b"2", b"'u'")]).decode() == (
        "DELETE t FROM (SELECT 1 AS `id`,'t' AS `_mesh_token` UNION ALL SELECT 2,'u') AS s STRAIGHT_JOIN `t` AS t "
        "ON t.`id` = s.`id` AND t.`_mesh_token` <= s.`_mesh_token`"
    )
    dated = MysqlTable(name="t", columns=(column("d", {"type": "int", "logicalType": "date"}), NAME), key=())
    dated = MysqlTable(name="t", columns=dated.columns, key=dated.columns[:1])
    assert "ON t.`d` = CAST(s.`d` AS DATE) " in dated.update(dated.columns).after.decode()


def test_a_table_says_what_it_holds_and_which_one_it_is() -> None:
    assert TABLE.create(MARIADB, "mesh 0123456789abcdef") == (
        "CREATE TABLE IF NOT EXISTS `t` (`id` INT NOT NULL, `na``me` LONGTEXT CHARACTER SET utf8mb4 "
        "COLLATE utf8mb4_nopad_bin NULL COMMENT '姓名''s', _mesh_token VARBINARY(255) NOT NULL, PRIMARY KEY (`id`)) "
        "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin "
        "COMMENT='人员 [mesh 0123456789abcdef]'"
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", b"''"),
        ("it's", b"'it''s'"),
        ("\\", b"'\\\\'"),
        ("\\'; DROP TABLE t; --", b"'\\\\''; DROP TABLE t; --'"),
        ("\0", b"'\0'"),
    ],
)
def test_text_ends_where_it_ends(raw: str, expected: bytes) -> None:
    assert literal(raw.encode()) == expected
    assert quote("a`; DROP TABLE t") == "`a``; DROP TABLE t`"


def test_numbers_and_times_are_written_exactly() -> None:
    assert [number_of(value) for value in (0.1, -0.0, 1e308, 5e-324)] == [b"0.1e0", b"-0.0e0", b"1e+308", b"5e-324"]
    assert number_of(float("nan")) == b"~'NaN'"
    assert day_of(-719162) == b"'0001-01-01'"
    assert moment_of(-1) == b"'1969-12-31 23:59:59.999999'"
    assert time_of(86_400_000_000) == b"'24:00:00.000000'"
    with pytest.raises(Rejected):
        day_of(2932897)


def test_text_keys_share_what_an_index_takes() -> None:
    assert key_types([column("a")]) == {"a": "varchar(768)"}
    assert key_types([column("a"), column("b"), column("n", "long")]) == {
        "a": "varchar(383)",
        "b": "varchar(383)",
        "n": "bigint",
    }
    assert key_types([column("a", "bytes")]) == {"a": "varbinary(3072)"}


@pytest.mark.parametrize(
    ("wanted", "found", "fits"),
    [
        ("longtext", "varchar(5)", True),
        ("longtext", "int", False),
        ("int", "bigint", True),
        ("bigint", "int", False),
        ("date", "longtext", True),
        ("date", "char(10)", False),
        ("datetime(6)", "datetime", False),
        ("datetime(6)", "timestamp(6)", False),
        ("double", "float", False),
        ("decimal(18,2)", "decimal(18,1)", False),
        ("longblob", "longtext", False),
        ("json", "longtext", True),
        ("json", "varchar(20)", False),
    ],
)
def test_which_other_types_a_column_may_have(wanted: str, found: str, fits: bool) -> None:
    assert does_fit(wanted, found) is fits


def test_all_that_drifted_is_told_each_with_its_statement() -> None:
    def there(name: str, kind: str, **more: Any) -> FoundColumn:
        given = {"collation": "", "is_nullable": True, "is_demanded": False, "is_generated": False} | more
        return FoundColumn(name=name, kind=kind, **given)

    columns = [
        there("id", "int", is_nullable=False),
        there("na`me", "int"),
        there("own", "int", is_nullable=False, is_demanded=True),
        there("_mesh_token", "varbinary(255)", is_nullable=False),
    ]
    found = FoundTable(columns={each.name: each for each in columns}, key=("id",), mark="-", engine="InnoDB")
    assert [(each.what, each.repair) for each in drift(TABLE, found, MARIADB)] == [
        (
            "column na`me is int, the contract says longtext",
            "ALTER TABLE `t` MODIFY COLUMN `na``me` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NULL "
            "COMMENT '姓名''s'",
        ),
        (
            "column own is not the mesh's, demands a value and has no default",
            "ALTER TABLE `t` MODIFY COLUMN `own` INT NULL",
        ),
    ]


@pytest.mark.parametrize(
    ("number", "topic", "expected"),
    [
        (0, "", Transient),
        (2013, "t", Transient),
        (2006, "t", Transient),
        (1040, "", Transient),
        (1290, "t", Transient),
        (1213, "t", NotYet),
        (1213, "", Transient),
        (1205, "t", NotYet),
        (1062, "t", NotYet),
        (1452, "t", NotYet),
        (1406, "t", Rejected),
        (1644, "t", Rejected),
        (4025, "t", Rejected),
        (1045, "", Misconfigured),
        (1049, "", Misconfigured),
        (1146, "t", Undefined),
        (1142, "t", TopicTrouble),
        (1142, "", ContractBroken),
        (64_999, "t", TopicTrouble),
    ],
)
def test_what_an_error_means(number: int, topic: str, expected: type[Exception]) -> None:
    found = translate(number, FaultPlace(topic=topic), "bank")
    assert type(found) is expected


def test_an_address_of_another_host_has_its_server_proven_unless_it_says_otherwise() -> None:
    assert address_of("mysql://u:p%40@127.0.0.1/x").mode == "DISABLED"
    assert address_of("mysql://u:p%40@127.0.0.1/x").password == "p@"
    remote = address_of("mariadb://u:p@DB.example:3307/x?ssl-ca=/etc/ca.pem")
    assert (remote.host, remote.port, remote.mode, remote.authorities) == (
        "db.example",
        3307,
        "VERIFY_IDENTITY",
        "/etc/ca.pem",
    )
    assert address_of("mysql://u:p@db.example/x?ssl-mode=required").mode == "REQUIRED"
    assert "secret" not in repr(address_of("mysql://u:secret@db.example/x"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "somewhere",
        "postgresql://u@h/x",
        "mysql://u@h",
        "mysql://u@h/",
        "mysql://u@h:x/d",
        "mysql://u@h/d?tls=no",
        "mysql://u@h/d?ssl-mode=maybe",
        "mysql://u:secret@h/a/b",
    ],
)
def test_what_is_no_address_is_told_without_a_word_of_it(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        address_of(text)
    assert refused.value.fix
    assert "secret" not in str(refused.value)


def test_servers_are_told_apart_and_old_ones_refused() -> None:
    assert flavour_of("11.4.5-MariaDB-log", "bank") is MARIADB
    assert flavour_of("5.5.5-10.6.18-MariaDB", "bank") is MARIADB
    assert flavour_of("8.4.2", "bank") is MYSQL
    for old in ("10.5.9-MariaDB", "8.0.18", "5.7.44-log"):
        with pytest.raises(Misconfigured, match="is "):
            flavour_of(old, "bank")


def test_names_that_the_servers_do_not_take_are_refused_with_what_helps() -> None:
    for columns in (
        [column("a" * 65)],
        [column("a ")],
        [column("𠀀")],
        [column("a"), column("A")],
        [column("_mesh_x")],
    ):
        with pytest.raises(Misconfigured) as refused:
            MysqlTable(name="t", columns=(ID, *columns), key=(ID,))
        assert "view" in refused.value.fix
    with pytest.raises(Misconfigured, match="table"):
        MysqlTable(name="t" * 65, columns=(ID,), key=(ID,))
