"""The example city on a real PostgreSQL and a real MariaDB: as many as promised, and alive at the rate asked for."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import psycopg
import pytest

from ops.city.beside import beside
from ops.city.city import City
from ops.city.opening_day import create, fill
from ops.city.people.life import Life
from producers.mysql.link.catalog import mysql_tables
from producers.mysql.link.connection import connect_mysql
from producers.mysql.value.row import paired
from tests.stage import maria
from tests.stage.city_databases import city_databases
from tests.stage.until import until, until_none

ON_MARIADB = {"court", "utilities"}


@pytest.fixture(scope="module")
def city():
    return City(20161031)


@pytest.fixture(scope="module")
def dsns(postgres, mariadb, city):
    dsn_of_agency = city_databases(postgres, mariadb, "city")
    assert {agency for agency, dsn in dsn_of_agency.items() if dsn.startswith("mysql:")} == ON_MARIADB
    create(city, dsn_of_agency)
    steps = []
    loaded = fill(city, dsn_of_agency, lambda feed, done, total: steps.append((feed, done, total)))
    assert [feed for feed, _, _ in steps] == list(loaded)
    assert steps[-1][1] == steps[-1][2] == sum(loaded.values())
    return dsn_of_agency


def ask(dsn, query):
    if dsn.startswith("mysql:"):
        return maria.rows(dsn, query)
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def table_of(contract):
    """As a statement names it; on MariaDB it is of the database that was asked."""
    table = contract.table.split(".")
    return f"`{table[1]}`" if contract.agency in ON_MARIADB else contract.table


def count_of(dsns, city, feed):
    contract = city.contracts[feed]
    return ask(dsns[contract.agency], f"SELECT count(*) FROM {table_of(contract)}")[0][0]


def test_the_opening_figures(city, dsns):
    assert count_of(dsns, city, "police.resident") == 17_080
    organisations = ("aic.enterprise", "staffing.institution", "civil.social_organisation")
    assert sum(count_of(dsns, city, feed) for feed in organisations) == 1_930
    [(coverage,)] = ask(dsns["aic"], "SELECT round(100.0 * count(uscc) / count(*), 1) FROM public.enterprise")
    assert str(coverage) == "12.9"
    assert count_of(dsns, city, "disabled.card") == 144
    assert count_of(dsns, city, "transport.quota_application") == 6_740
    for feed, roll in city.rolls.items():
        assert count_of(dsns, city, feed) == len(roll), feed


def test_tables_are_what_their_contracts_say(city, dsns):
    for contract in city.contracts.values():
        if contract.agency in ON_MARIADB:
            continue
        table = contract.table
        found = ask(
            dsns[contract.agency],
            "SELECT attname, attnotnull FROM pg_attribute "
            f"WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum",
        )
        assert found == [(field.column, not field.is_nullable) for field in contract.fields]
        [(identity, comment)] = ask(
            dsns[contract.agency],
            f"SELECT relreplident, obj_description(oid) FROM pg_class WHERE oid = '{table}'::regclass",
        )
        assert (identity, comment) == ("f", contract.doc)


def test_tables_on_mariadb_are_captured_as_their_contracts_say(city, dsns):
    """The contracts fit as capture pairs them with what the server declares, to the key, the comments and NOT NULL."""
    for agency in ON_MARIADB:
        database = dsns[agency].rpartition("/")[2]
        with closing(connect_mysql(dsns[agency], name=agency)) as connection:
            tables = mysql_tables(connection, database)
        for contract in city.of_agency(agency):
            table = tables[f"{database}.{contract.table.split('.')[1]}"]
            pairs = paired(contract, table.columns)
            assert [pair.column.name for pair in pairs] == list(table.columns)
            assert [pair.column.is_nullable for pair in pairs] == [field.is_nullable for field in contract.fields]
            assert [pair.column.note for pair in pairs] == [field.doc for field in contract.fields]
            assert table.keys[0] == contract.key
            assert table.comment == contract.doc


def test_the_city_lives_at_the_rate_asked_for_and_remembers_what_it_did(city, dsns):
    life = Life(city, dsns, rate=2000)
    stop = threading.Event()
    thread = threading.Thread(target=life.run, args=(stop,))
    began, processor = time.monotonic(), time.process_time()
    thread.start()
    try:
        until(lambda: life.total >= 10_000, 60, "ten thousand row changes")
        seconds, processor = time.monotonic() - began, time.process_time() - processor
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    assert life.total == sum(life.per_feed().values())
    assert {op for _, op in life.committed} == {"c", "u", "d"}
    assert 800 < life.total / seconds < 2_600, "alone on a machine it is 2,000 within a few per cent"
    assert processor / seconds < 0.5, "a quarter of a core when measured alone"
    # What the city remembers and what the databases hold are the same rows.
    for feed, contract in city.contracts.items():
        key = ", ".join(
            f"CAST({name} AS {'char' if contract.agency in ON_MARIADB else 'text'})" for name in contract.key
        )
        found = ask(dsns[contract.agency], f"SELECT source_row_version, {key} FROM {table_of(contract)}")
        remembered = {
            tuple(str(value) for value in city.rolls[feed].key_of(row)): row["source_row_version"]
            for row in city.rolls[feed]
        }
        assert {tuple(rest): version for version, *rest in found} == remembered, feed


def test_the_city_outlives_what_happens_to_its_databases_and_says_what_it_goes_without(city, dsns):
    life = Life(city, dsns, rate=500)
    with beside(life.run, "life") as check, psycopg.connect(dsns["fda"], autocommit=True) as fda:

        def until_it_writes(feed):
            before = life.per_feed()[feed]
            until(lambda: check() or life.per_feed()[feed] > before, 60, f"the city writes {feed}")

        until(lambda: life.per_feed().get("fda.penalty"), 60, "the city writes fda.penalty")
        for change, back in (
            ("ALTER TABLE penalty RENAME TO penalty_of_2016", "ALTER TABLE penalty_of_2016 RENAME TO penalty"),
            (
                "ALTER TABLE penalty ADD CONSTRAINT closed CHECK (false) NOT VALID",
                "ALTER TABLE penalty DROP CONSTRAINT closed",
            ),
        ):
            fda.execute(change)
            until(lambda: check() or "SQLSTATE" in life.hindered.get("fda.penalty", ""), 60, "the city is hindered")
            until_it_writes("police.resident")
            fda.execute(back)
            until_it_writes("fda.penalty")
            until_none(lambda: life.hindered, 60, "nothing is left out")
        fda.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'mesh-%'")
        for feed in ("police.resident", "fda.penalty"):
            until_it_writes(feed)
        until(lambda: check() or not life.hindered, 60, "every database is written to again")


def test_the_city_outlives_what_happens_to_a_mariadb(city, dsns):
    life = Life(city, dsns, rate=1000)
    with beside(life.run, "life") as check:

        def until_it_writes(feed):
            before = life.per_feed().get(feed, 0)
            until(lambda: check() or life.per_feed().get(feed, 0) > before, 60, f"the city writes {feed}")

        until_it_writes("utilities.usage")
        maria.run(dsns["utilities"], "RENAME TABLE `usage` TO meters")
        until(lambda: check() or "error 1146" in life.hindered.get("utilities.usage", ""), 60, "the city is hindered")
        until_it_writes("court.dishonest_debtor")
        maria.run(dsns["utilities"], "RENAME TABLE meters TO `usage`")
        until_it_writes("utilities.usage")
        until_none(lambda: life.hindered, 60, "nothing is left out")
        listed = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for agency in ON_MARIADB:
            for (number,) in maria.rows(dsns[agency], listed):
                maria.run(dsns[agency], f"KILL {number}")
        for feed in ("utilities.usage", "court.dishonest_debtor"):
            until_it_writes(feed)
        until(lambda: check() or not life.hindered, 60, "every database is written to again")
