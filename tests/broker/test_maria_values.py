"""Every type of MariaDB comes without loss, by the log and by a copy alike: the server itself is the oracle."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import producers.mysql.read_back
from schemas.contract import Contract
from tests.stage.maria import MariaServer, connected, rows, run
from tests.stage.maria_values import KINDS, reading, textual_contract, typed_contract

COUNT = 150
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def table() -> str:
    columns = ", ".join(f"`{name}` {kind.type}" for name, kind in KINDS.items())
    return f"CREATE TABLE v (id int PRIMARY KEY, {columns}) ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4"


def insert(chance: random.Random, number: int) -> str:
    values = [kind.values(chance) if chance.random() > 0.1 else "NULL" for kind in KINDS.values()]
    return f"INSERT INTO v VALUES ({number}, {', '.join(values)})"


def of_typed(value: Any, avro: Any) -> Any:
    if value is not None and isinstance(avro, dict) and avro.get("logicalType") == "decimal":
        with localcontext(prec=80):
            return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-avro["scale"])
    return value


def of_server(value: Any, avro: Any) -> Any:
    if value is None:
        return None
    if isinstance(avro, dict) and avro.get("logicalType") == "decimal":
        return Decimal(value)
    if avro == "boolean":
        return bool(value)
    if avro in ("int", "long") or (isinstance(avro, dict) and avro["type"] in ("int", "long")):
        return int(value)
    return value


def test_every_type_comes_alike_by_log_and_copy_and_as_the_server_has_it(mariadb: MariaServer, unique: str) -> None:
    address = mariadb.create_database("valued")
    database = address.rsplit("/", 1)[1]
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    run(address, table())
    typed, textual = typed_contract(database, unique), textual_contract(database, f"{unique}x")
    with reading(address, typed) as (_, by_log, read), reading(address, textual) as (_, text_by_log, read_text):
        for each in (read, read_text):
            each(0)  # the copy of an empty table
        insert_all(address, chance)
        read(COUNT)
        read_text(COUNT)
    with (
        reading(address, typed, copy_rows=7) as (_, by_copy, read),
        reading(address, textual) as (_, text_copied, read_text),
    ):
        read(COUNT)
        read_text(COUNT)
    assert by_log.rows == by_copy.rows
    assert text_by_log.rows == text_copied.rows
    assert len(by_log.rows) > COUNT // 3, "most rows have no zero date in them"
    assert len(text_by_log.rows) == COUNT
    for letter in by_log.dead:
        assert letter["mesh.errors.reason"] in {b"date_zero", b"date_invalid"}, letter
    compare(address, by_log.rows, {name: (kind.oracle, kind.avro) for name, kind in KINDS.items()})
    read_back(address, typed, by_log.rows)
    printed = {name: (kind.printed, "string") for name, kind in KINDS.items() if kind.printed is not None}
    compare(address, text_by_log.rows, printed)


def insert_all(address: str, chance: random.Random) -> None:
    with connected(address) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode=''")
        for number in range(COUNT):
            cursor.execute(insert(chance, number))


def read_back(address: str, typed: Contract, found: Any) -> None:
    """What `mesh verify` compares copies with is the same, value by value, and shares no code with capture."""
    numbers = set()
    for row in producers.mysql.read_back.rows(address, typed):
        if row["id"] not in found:
            continue
        numbers.add(row["id"])
        for name, kind in KINDS.items():
            ours, driver = of_typed(found[row["id"]][name], kind.avro), of_driver(row[name])
            assert ours == driver, f"row {row['id']}, column {name}: {ours!r} and {driver!r}"
    assert numbers == set(found)


def of_driver(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    return (value - EPOCH.date()).days if isinstance(value, date) else value


def compare(address: str, found: Any, columns: dict[str, tuple[str, Any]]) -> None:
    asked = ", ".join(oracle.format(f"`{name}`") for name, (oracle, _) in columns.items())
    for number, *values in rows(address, f"SELECT id, {asked} FROM v"):
        if number not in found:
            continue
        for (name, (_, avro)), said in zip(columns.items(), values, strict=True):
            ours = of_typed(found[number][name], avro)
            assert ours == of_server(said, avro), f"row {number}, column {name}: {ours!r} and {said!r}"
