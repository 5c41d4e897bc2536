"""The example city without a database: valid numbers, real dirt, and a life that can be lived again."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime

import pytest

from ops.city import dirt
from ops.city.city import City, read_contracts
from ops.city.department.postgresql.statement import encode
from ops.city.numbers import Numbers, fifteen_digits
from ops.city.opening_day import settle
from ops.city.people.life import Happenings
from ops.city.people.names import CENTRES, REGIONS
from ops.city.people.roll import Roll
from ops.proof.condition import condition
from ops.proof.ddl import create_table
from schemas.contract import Contract
from schemas.expression.identifiers import (
    NumberStatus,
    validate_citizen_id,
    validate_disability_card,
    validate_org_code,
    validate_registration_no,
    validate_uscc,
)

SEED = 7


@pytest.fixture(scope="module")
def city():
    made = City(SEED, scale=1 / 5000)
    settle(made)
    return made


def test_thirty_tables_of_ten_agencies_at_least():
    contracts = read_contracts()
    assert len(contracts) >= 30
    assert len({contract.agency for contract in contracts.values()}) >= 10
    for contract in contracts.values():
        assert contract.doc, contract.feed
        assert {"updated_at", "source_row_version"} <= contract.by_name.keys()
        assert all(field.doc for field in contract.fields), contract.feed
        restricted = [field for field in contract.fields if field.gov["class"] != "UNCONDITIONAL"]
        assert all(field.gov["basis"] for field in restricted), contract.feed


def test_a_table_follows_its_contract():
    record = {
        "type": "record",
        "name": "T",
        "doc": "表|注",
        "gov": {"key": ["id", "day"]},
        "fields": [
            {"name": "id", "type": "string", "column": '号"码', "doc": "号码"},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {
                "name": "sum",
                "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, "string"],
            },
            {"name": "list", "type": {"type": "array", "items": ["null", "long"]}},
            {"name": "map", "type": ["null", "string"], "pg.type": "jsonb"},
            {"name": "at", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        ],
    }
    create, identity, *comments = (part.as_string(None) for part in create_table(Contract.parse(record, "aic.t")))
    assert create == (
        'CREATE TABLE "public"."t" ("号""码" text NOT NULL, "day" date NOT NULL, "sum" numeric(9,2), '
        '"list" bigint[] NOT NULL, "map" jsonb, "at" timestamp NOT NULL, PRIMARY KEY ("号""码", "day"))'
    )
    assert identity == 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL'
    assert comments == [
        """COMMENT ON TABLE "public"."t" IS '表'""",
        """COMMENT ON COLUMN "public"."t"."号""码" IS '号码'""",
    ]


def test_the_same_seed_makes_the_same_city(city):
    again = City(SEED, scale=1 / 5000)
    settle(again)
    for feed, roll in city.rolls.items():
        assert list(roll) == list(again.rolls[feed]), feed
    other = City(SEED + 1, scale=1 / 5000)
    settle(other)
    assert list(other.rolls["police.resident"]) != list(city.rolls["police.resident"])


def test_counts_follow_the_scale(city):
    assert len(city.rolls["police.resident"]) == 3_416
    organisations = ("aic.enterprise", "staffing.institution", "civil.social_organisation")
    assert sum(len(city.rolls[feed]) for feed in organisations) == 386
    firms = list(city.rolls["aic.enterprise"])
    assert sum(firm["uscc"] is not None for firm in firms) == round(len(firms) * 0.129)


def test_numbers_belong_to_nobody_and_hang_together(city):
    residents = list(city.rolls["police.resident"])
    assert {row["citizen_id"][:6] for row in residents} == {"440199", "440198"}
    found = Counter(validate_citizen_id(row["citizen_id"], as_of=date(2016, 10, 31)).status for row in residents)
    assert 0 < found[NumberStatus.INVALID] <= 12
    assert {row["hukou_region"] for row in residents} == set(REGIONS) == set(CENTRES)
    for firm in city.rolls["aic.enterprise"]:
        if firm["uscc"]:
            assert firm["uscc"][2:8] == "440199"
            assert firm["uscc"][8:17] == firm["org_code"]
        assert not firm["org_code"] or validate_org_code(firm["org_code"]).is_valid
        assert not firm["registration_no"] or validate_registration_no(firm["registration_no"]).is_valid
    for card in city.rolls["disabled.card"]:
        assert card["card_no"][18:] == card["kind"] + card["level"]


def test_the_issuer_gives_only_valid_numbers_and_each_once():
    numbers, city_rng = Numbers(), City(1).rng
    issued = [numbers.citizen_id(city_rng, date(1980, 2, 29), sex) for sex in "12" * 1200]
    assert len(set(issued)) == len(issued)
    for number, sex in zip(issued, "12" * 1200, strict=True):
        found = validate_citizen_id(number)
        assert (found.status, found.facts["sex"]) == (NumberStatus.VALID, sex)
    short = fifteen_digits(issued[0])
    assert validate_citizen_id(short).normalised == issued[0]
    assert fifteen_digits("440199200002290028") == "440199200002290028"
    assert all(validate_uscc(numbers.uscc("91", numbers.org_code(new))).is_valid for new in (True, False) * 20)
    assert validate_disability_card(issued[1] + "42").is_valid


def test_dirt_is_there_and_no_more_than_told(city):
    residents = list(city.rolls["police.resident"])
    assert any(row["name"] != row["name"].strip() for row in residents)
    assert any(row["sex"] in "039" for row in residents)
    assert any(row["mobile"] and not row["mobile"].isascii() for row in residents)
    assert any(len(row["citizen_id"]) == 15 for row in city.rolls["hrss.insurance_month"])
    for contract in city.contracts.values():
        fatal = [condition(rule.expression) for rule in contract.rules if rule.is_fatal]
        rejected = sum(not all(holds(row) for holds in fatal) for row in city.rolls[contract.feed])
        assert rejected <= max(2, len(city.rolls[contract.feed]) * 0.05), contract.feed


def test_dirt_by_kind(city):
    assert dirt.full_width("a1 X") == "\uff41\uff11 \uff38"
    assert not validate_citizen_id(dirt.wrong_check("440199199001010017")).is_valid
    assert dirt.variant(city.rng, "陈国华") != "陈国华"


def test_values_fit_their_contracts(city):
    for contract in city.contracts.values():
        for row in city.rolls[contract.feed]:
            assert list(row) == [field.name for field in contract.fields]
            for field in contract.fields:
                assert row[field.name] is not None or field.is_nullable, (contract.feed, field.name)


def test_life_does_to_the_tables_what_the_city_remembers():
    """The row changes, played into plain dictionaries, give the city's own rolls: nothing is lost, nothing done twice."""
    city = City(SEED, scale=1 / 2000)
    happenings = Happenings(city)
    keys = {feed: contract.key for feed, contract in city.contracts.items()}
    tables = {feed: {roll.key_of(row): row["source_row_version"] for row in roll} for feed, roll in city.rolls.items()}
    widest, ops = 0, Counter()
    while happenings.scene.changes < 25_000:
        transactions = list(happenings.next())
        widest = max(widest, len(transactions))
        for agency, changes in transactions:
            for feed, op, named, values, key in changes:
                assert feed.startswith(f"{agency}.")
                ops[feed, op] += 1
                table, columns = tables[feed], [field.name for field in city.contracts[feed].fields]
                if op == "c":
                    row = dict(zip(columns, values, strict=True))
                    new = tuple(row[name] for name in keys[feed])
                    assert new not in table
                    table[new] = 1
                elif op == "d":
                    del table[key]
                else:
                    changed = dict(zip(named, values, strict=True))
                    version = table.pop(key) + 1
                    table[tuple(changed.get(name, old) for name, old in zip(keys[feed], key, strict=True))] = version
    for feed, roll in city.rolls.items():
        remembered = {roll.key_of(row): row["source_row_version"] for row in roll}
        assert tables[feed] == remembered, feed
    assert widest >= 3, "one event reaches several departments"
    assert len({feed for feed, _ in ops}) >= 30
    share = {op: sum(n for (_, kind), n in ops.items() if kind == op) / 25_000 for op in "cud"}
    assert share["u"] > 0.35
    assert share["d"] > 0.1


def test_life_can_be_lived_again():
    def live():
        happenings = Happenings(City(SEED, scale=1 / 10000))
        while happenings.scene.changes < 2_000:
            yield from happenings.next()

    assert list(live()) == list(live())


def test_a_second_life_goes_on_where_the_first_one_stopped():
    city = City(SEED, scale=1 / 10000)
    for until in (20_000, 40_000):
        happenings = Happenings(city)
        while city.changes < until:
            list(happenings.next())
    assert happenings.scene.today == date(2016, 11, 11)


def test_a_roll_forgets_and_follows_keys(city):
    roll = Roll(("a",))
    rows = [{"a": number} for number in range(5)]
    for row in rows:
        roll.add(row)
    with pytest.raises(KeyError):
        roll.add({"a": 1})
    roll.remove(rows[0])
    rows[2]["a"] = 20
    roll.move((2,), rows[2])
    assert roll.get(20) is rows[2]
    assert roll.get(2) is None
    assert sorted(row["a"] for row in roll) == [1, 3, 4, 20]
    assert (1,) in roll
    assert roll.pick(city.rng) in rows


def test_values_are_written_as_postgresql_reads_them():
    assert [encode(value) for value in (None, True, False, 7, "é", date(2016, 1, 2))] == [
        None,
        b"t",
        b"f",
        b"7",
        "é".encode(),
        b"2016-01-02",
    ]
    assert encode(datetime(2016, 1, 2, 3, 4, tzinfo=UTC)) == b"2016-01-02 03:04:00+00:00"
    assert encode(['a"b', "c\\"]) == b'{"a\\"b","c\\\\"}'
    assert encode(b"\x00\xff") == b"\\x00ff"
    assert json.loads(encode(json.dumps({"甲": 1}))) == {"甲": 1}
