"""What stock Flink SQL is told of an `out` topic: the types by which it reads it, quoting, and what it cannot read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ops.kits.flink import flink_type, table
from ops.kits.kit import kits
from ops.kits.readable import Readable
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from tests.stage.agreed_city import agreed_city, settings_of, with_reader
from tests.stage.capturing import contract

OWN = SinkConfig(name="own", kind="kafka")
MICROS = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    ("avro", "flink"),
    [
        ("int", "INT"),
        (["null", "long"], "BIGINT"),
        (["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}], "DECIMAL(18, 2)"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 39, "scale": 2}, None),
        ({"type": "int", "logicalType": "date"}, "DATE"),
        (MICROS, "BIGINT"),
        ({"type": "long", "logicalType": "time-micros"}, "BIGINT"),
        ({"type": "string", "logicalType": "uuid"}, "STRING"),
        (["null", "double", "string"], None),
        ({"type": "array", "items": ["null", "string"]}, "ARRAY<STRING>"),
        ({"type": "map", "values": MICROS}, "MAP<STRING, BIGINT>"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}, "ROW<`a` INT>"),
        ({"type": "array", "items": ["null", "int", "string"]}, None),
    ],
)
def test_a_type_is_the_one_by_which_flink_reads_the_bytes(avro: Any, flink: str | None) -> None:
    assert flink_type(avro) == flink


def city() -> Directory:
    grant = Grant(
        grant_id="reader.aic.enterprise",
        subscriber="reader",
        feed="aic.enterprise",
        columns=("name", "status"),
        purpose="核验\n); DROP TABLE x; --",
        sink="own",
    )
    return with_reader(agreed_city(), "reader", {"own": OWN}, grant)


def test_a_table_names_what_is_granted_quotes_what_others_wrote_and_holds_no_secret(tmp_path: Path) -> None:
    (kit,) = kits(settings_of(tmp_path), city(), "reader")
    sql = kit.files["flink/feeds.sql"]
    lines = sql.splitlines()
    assert "CREATE TABLE `aic_enterprise` (" in lines
    assert {"  `ent_id` STRING NOT NULL,", "  `name` STRING,", "  PRIMARY KEY (`ent_id`) NOT ENFORCED"} <= set(lines)
    statements = "\n".join(line for line in lines if not line.startswith("--"))
    assert "DROP" not in statements, "a purpose is a comment, whatever stands in it"
    assert "'topic' = 'out.reader.aic.enterprise'" in sql
    assert re.search(r'username="\$\{file:/path/to/reader.own.properties:sasl.username\}"', sql)
    assert not [place for place, text in kit.files.items() if "S3CRET" in text]
    assert "legal_rep" not in "".join(kit.files.values())


def test_moments_have_a_computed_column_and_what_flink_cannot_read_is_left_out_and_said() -> None:
    agreed = contract("a.t", {"id": "int", "at": MICROS, "size": ["null", "double", "string"]})
    grant = Grant(grant_id="r.a.t", subscriber="r", feed="a.t", columns=("at", "size"), purpose="p")
    entry = GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=1)
    reader = agreed_city().subscribers["customs"]
    sql = table(
        Readable(subscriber=reader, sink=OWN, entries=(entry,), contracts={"a.t": agreed}), entry, {"x": "it's"}
    )
    assert "  `at_at` AS TO_TIMESTAMP_LTZ(`at` / 1000, 3)," in sql
    assert "'x' = 'it''s'" in sql
    assert "`size`" not in sql
    assert "-- Left out, since stock Flink has no type for them: size" in sql


def test_what_may_not_be_read_by_itself_has_no_kit(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="reads nothing itself"):
        kits(settings_of(tmp_path), agreed_city(), "customs")
    with pytest.raises(Misconfigured, match="is nothing that reader may read"):
        kits(settings_of(tmp_path), city(), "reader", feeds=["aic.penalty"])
    with pytest.raises(Misconfigured, match="is no sink") as wrong:
        kits(settings_of(tmp_path), city(), "reader", sinks=["ownn"])
    assert "`own`" in wrong.value.fix
