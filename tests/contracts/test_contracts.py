"""The example city's contracts: they are sound, each version is on record, and no version breaks those before it.

A red test here says that the code or a contract changed an agreement. Golden files are append-only (invariant 5).
"""

from __future__ import annotations

import pytest

from ops.lint.check import check
from schemas.wire.compatibility import FEED_LEVEL, breaches, parse_avro
from schemas.wire.envelope import key_schema, value_schema
from schemas.wire.fault import faults
from schemas.wire.schema import canonical_text
from tests.contracts.golden import CITY, GOLDEN, codec, contracts, read, shown, versions

CONTRACTS = {contract.feed: contract for contract in contracts()}
FILES = sorted(GOLDEN.glob("*.json"))


def test_city_has_no_errors():
    assert [f"{problem.file}:{problem.line} {problem.message}" for problem in check(CITY).errors] == []


@pytest.mark.parametrize("feed", CONTRACTS)
def test_wire_schemas_are_good_avro(feed):
    for schema in (key_schema(CONTRACTS[feed]), value_schema(CONTRACTS[feed]), CONTRACTS[feed].record):
        assert faults(schema) == []
        parse_avro(schema)


@pytest.mark.parametrize("feed", CONTRACTS)
def test_present_contract_is_on_record_as_the_latest_version(feed):
    recorded = versions(feed)
    hint = "run `python -m tests.contracts.golden` and commit what it writes"
    assert recorded, f"{feed} has no golden file: {hint}"
    assert read(recorded[-1])[0].record == CONTRACTS[feed].record, f"{feed} has a new version: {hint}"


@pytest.mark.parametrize("feed", CONTRACTS)
def test_every_version_follows_those_before_it(feed):
    recorded = [read(path)[0] for path in versions(feed)]
    for number, contract in enumerate(recorded):
        earlier = [value_schema(version) for version in recorded[:number]]
        assert breaches(earlier, value_schema(contract), FEED_LEVEL) == []
        assert canonical_text(key_schema(contract)) == canonical_text(key_schema(recorded[0])), (
            "a feed's key is for life"
        )


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_golden_bytes_mean_the_same_and_are_written_the_same(path):
    contract, golden = read(path)
    wire = codec(contract)
    for name, message in golden["messages"].items():
        data = bytes.fromhex(message["bytes"])
        value = wire.decode(data)
        assert shown(value) == message["value"], name
        assert wire.encode(int.from_bytes(data[1:5], "big"), value) == data, name
