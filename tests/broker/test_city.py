"""The example city on a real PostgreSQL: as many as promised, and alive at the rate asked for."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from ops.city.beside import beside
from ops.city.city import City
from ops.city.opening_day import create, fill
from ops.city.people.life import Life
from tests.stage.until import until, until_none


@pytest.fixture(scope="module")
def city():
    return City(20161031)


@pytest.fixture(scope="module")
def dsns(postgres, city):
    dsn_of_agency = {agency: postgres.create_database(f"city_{agency}") for agency in city.agencies}
    create(city, dsn_of_agency)
    steps = []
    loaded = fill(city, dsn_of_agency, lambda feed, done, total: steps.append((feed, done, total)))
    assert [feed for feed, _, _ in steps] == list(loaded)
    assert steps[-1][1] == steps[-1][2] == sum(loaded.values())
    return dsn_of_agency


def ask(dsn, query):
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def count_of(dsns, city, feed):
    agency, table = feed.split(".")
    return ask(dsns[agency], f"SELECT count(*) FROM public.{table}")[0][0]


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
        key = ", ".join(f'"{name}"::text' for name in contract.key)
        found = ask(dsns[contract.agency], f"SELECT source_row_version, {key} FROM {contract.table}")
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
