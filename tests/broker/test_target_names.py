"""What a subscriber's columns are called: as in the source; a table of before keeps the names of the wire (D-29)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import yaml

from schemas.wire.name import avro_name
from sinks.postgresql.sink import PostgresSink
from sinks.sink import Moved
from tests.stage.delivering import OutFeed
from tests.stage.running_mesh import RunningMesh, contract, database

ID, NAME, SHARE = avro_name("编号"), avro_name("名称"), avro_name("占比%")
FIELDS = [
    {"name": ID, "type": "int"},
    {"name": NAME, "type": ["null", "string"]},
    {"name": SHARE, "type": ["null", "double"]},
]
TABLE = "police_person"


@contextmanager
def sink_of(dsn: str, feed: OutFeed, **settings: Any) -> Iterator[PostgresSink]:
    schema_of = feed.schemas.__getitem__
    sink = PostgresSink(
        dsn=dsn, subscriber=feed.subscriber, schema_of=schema_of, schema="public", tables={}, **settings
    )
    try:
        sink.start_offsets([(feed.topic, 0)])
        yield sink
    finally:
        sink.close()


def columns(dsn: str) -> list[str]:
    sql = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    with psycopg.connect(dsn) as connection:
        found = connection.execute(f"{sql} ORDER BY attnum".encode(), (TABLE,)).fetchall()
    return [name for (name,) in found if not name.startswith("_mesh_")]


def row(number: int, name: str, share: float) -> dict[str, Any]:
    return {ID: number, NAME: name, SHARE: share}


def rows(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute(f"SELECT * FROM {TABLE}".encode())
        names = [column.name for column in cursor.description or ()]
        found = [
            [value for name, value in zip(names, values, strict=True) if name != "_mesh_token"] for values in cursor
        ]
    return sorted(map(tuple, found))


def changed(feed: OutFeed, sink: PostgresSink, *records: Any) -> None:
    sink.write([feed.batch(*records)])


def test_columns_bear_the_names_of_the_source(dsn: str) -> None:
    feed = OutFeed("bank", "police.person", FIELDS, [ID])
    with sink_of(dsn, feed) as sink:
        changed(feed, sink, *(feed.record("c", row(number, "甲", 0.5)) for number in (1, 2, 3)))
        assert columns(dsn) == ["编号", "名称", "占比%"]
        # Columns that the source did not send keep their values, within a run and across runs.
        changed(feed, sink, feed.record("u", row(1, "", 0.6), unchanged=[NAME]), feed.record("d", row(2, "甲", 0.5)))
        changed(
            feed,
            sink,
            feed.record("u", row(3, "乙", 0.7)),
            feed.record("u", row(3, "", 0.8), unchanged=[NAME]),
        )
    assert rows(dsn) == [(1, "甲", 0.6), (3, "乙", 0.8)]


def as_before(dsn: str) -> None:
    """The table as an earlier version made it."""
    renamed = {"编号": ID, "名称": NAME, "占比%": SHARE}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, wire in renamed.items():
            connection.execute(f'ALTER TABLE {TABLE} RENAME "{name}" TO "{wire}"'.encode())
        connection.execute(b"UPDATE _mesh_tables SET columns = %s", (sorted(renamed.values()),))


def test_a_table_of_before_keeps_its_names_and_loses_what_is_no_longer_granted(dsn: str) -> None:
    feed = OutFeed("bank", "police.person", FIELDS, [ID])
    with sink_of(dsn, feed) as sink:
        changed(feed, sink, *(feed.record("c", row(number, "甲", 0.5)) for number in (1, 2)))
    as_before(dsn)
    with sink_of(dsn, feed) as sink:
        assert sink.reasons == {}, "nothing is filled anew"
        sink.narrow(feed.topic, feed.value_id)
        changed(feed, sink, feed.record("u", row(1, "乙", 0.6)), feed.record("d", row(2, "甲", 0.5)))
        assert columns(dsn) == [ID, NAME, SHARE]
        assert rows(dsn) == [(1, "乙", 0.6)]
        sink.check()
        feed.use([*FIELDS, {"name": avro_name("备注"), "type": ["null", "string"]}])
        sink.narrow(feed.topic, feed.value_id)
        changed(feed, sink, feed.record("u", {**row(1, "丙", 0.7), avro_name("备注"): "注"}))
        assert columns(dsn) == [ID, NAME, SHARE, "备注"], "a column that is new is called as in the source"
        sink.check()
        feed.use(FIELDS[:2])
        sink.narrow(feed.topic, feed.value_id)
        assert columns(dsn) == [ID, NAME], "what is no longer granted goes, whatever it is called"
        changed(feed, sink, feed.record("u", {ID: 1, NAME: "丁"}))
    assert rows(dsn) == [(1, "丁")]


def test_a_column_of_before_that_is_lost_comes_back_filled_under_its_name_in_the_source(dsn: str) -> None:
    feed = OutFeed("bank", "police.person", FIELDS, [ID])
    records = [feed.record("c", row(number, "甲", 0.5)) for number in (1, 2)]
    with sink_of(dsn, feed) as sink:
        changed(feed, sink, *records)
    as_before(dsn)
    with database(dsn) as at_target:
        at_target.execute(f'ALTER TABLE {TABLE} DROP COLUMN "{NAME}"'.encode())
    for _ in range(3):  # it is told to begin anew, and then reads its topic from the beginning
        with sink_of(dsn, feed) as sink:
            try:
                changed(feed, sink, *records)
            except Moved:
                continue
            break
    assert columns(dsn) == [ID, SHARE, "名称"]
    with database(dsn) as at_target:
        assert at_target.execute(f'SELECT DISTINCT "名称" FROM {TABLE}'.encode()).fetchall() == [("甲",)]


def test_every_kind_of_copy_is_compared_by_the_names_of_the_source(mesh: RunningMesh, tmp_path: Path) -> None:
    agency, table = f"{mesh.unique}a", f"{mesh.unique}t"
    source, target = mesh.database(agency), mesh.database(table)
    feed = f"{agency}.t"
    record = contract([ID], {ID: "int", NAME: "string", SHARE: "double"})
    for field, column in zip(record["fields"], ("编号", "名称", "占比%"), strict=True):
        field["column"] = column
    mesh.agency(agency, {"t": record})
    grant = {"feed": feed, "columns": [NAME, SHARE], "purpose": "核验", "legal_basis": "示例依据"}
    mesh.subscriber(table, grant)
    for form in ("csv", "jsonl", "parquet"):
        code, place = f"{mesh.unique}{form}", tmp_path / form
        place.mkdir()
        (mesh.folder / code).mkdir()
        mesh.variables[f"MESH_{form.upper()}"] = str(place)
        options = {"every_seconds": 0.2, "format": form}
        sink = {"name": "main", "kind": "files", "connection": f"${{MESH_{form.upper()}}}", "options": options}
        text = yaml.safe_dump({"subscriber": code, "name": "测试", "sinks": [sink], "grants": [grant]})
        (mesh.folder / code / "subscriber.yaml").write_text(text)
    with database(source) as town:
        town.execute('CREATE TABLE t ("编号" int PRIMARY KEY, "名称" text, "占比%" float8)')
        town.execute(
            "ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT n, '甲', n / 4.0 FROM generate_series(1, 20) n"
        )
        mesh.done("onboard", mesh.folder)
        mesh.verified(feed, 20)
        town.execute("""UPDATE t SET "名称" = '=乙' WHERE "编号" <= 5; DELETE FROM t WHERE "编号" = 20""")
        mesh.verified(feed, 19)
    with database(target) as at_target:
        found = at_target.execute(f'SELECT "编号", "占比%" FROM {agency}_t WHERE "名称" = \'=乙\''.encode()).fetchall()
    assert sorted(found) == [(number, number / 4) for number in range(1, 6)]
