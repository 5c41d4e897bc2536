"""What cutting costs: records a second through one batch of a 12-column feed, with 1, 2, 5, 10 grants.

Measures `streams/egress/route.py` alone: records are in memory, and the outlet counts. Broker and transport are measured in
`ops/bench/run.py` against Quix Streams.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.agreement.directory import FeedEntry, GrantEntry
from schemas.agreement.grant import Grant
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, out_key_schema, out_value_schema, value_schema
from streams.egress.plan import Plans, Serving
from streams.egress.route import Router

FEED = "aic.enterprise"
DISTRICTS = (
    "440103",
    "440104",
    "440105",
    "440106",
    "440111",
    "440112",
    "440113",
    "440114",
    "440115",
    "440117",
    "440118",
)
COLUMNS = ("ent_id", "uscc", "name", "reg_region", "status", "capital", "updated_at")


class Cost(NamedTuple):
    """Records a second, and microseconds a record, with so many grants on one feed."""

    grants: int
    per_second: float
    micros: float


def bench_contract() -> Contract:
    """Twelve columns of the usual kinds: texts short and long, numbers, a decimal, a date, timestamps."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
    moment = {"type": "long", "logicalType": "timestamp-micros"}
    types: Mapping[str, Any] = {
        "ent_id": "long",
        "uscc": "string",
        "name": "string",
        "reg_region": "string",
        "address": "string",
        "status": "string",
        "capital": decimal,
        "staff": "int",
        "legal_rep_id": "string",
        "founded_on": {"type": "int", "logicalType": "date"},
        "is_listed": "boolean",
        "updated_at": moment,
    }
    fields = [{"name": name, "type": kind if name == "ent_id" else ["null", kind]} for name, kind in types.items()]
    return Contract.parse({"type": "record", "name": "Enterprise", "gov": {"key": ["ent_id"]}, "fields": fields}, FEED)


def bench_row(number: int) -> dict[str, Any]:
    """One enterprise; every eleventh is in the same district."""
    return {
        "ent_id": number,
        "uscc": f"91440101MA{number:08d}",
        "name": f"广州示例第{number}号贸易有限公司",
        "reg_region": DISTRICTS[number % len(DISTRICTS)],
        "address": f"广州市示例区示例路{number}号",
        "status": "ACTIVE",
        "capital": (number * 1000).to_bytes(8, "big"),
        "staff": number % 300,
        "legal_rep_id": f"4401991990{number % 10000:04d}0017"[:18],
        "founded_on": 15000 + number % 1000,
        "is_listed": number % 7 == 0,
        "updated_at": 1_477_900_000_000_000 + number * 1_000_003,
    }


class Bench:
    """A feed of updates with its schemas in memory, and a router over it."""

    def __init__(self, *, grants: int, records: int, row_filter: str | None) -> None:
        contract = bench_contract()
        self.schemas: dict[int, Mapping[str, Any]] = {1: key_schema(contract), 2: value_schema(contract)}
        codec = Codec(self.schemas.__getitem__)
        self.feed = FeedEntry(contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=1)
        self.servings = tuple(self._serving(contract, number, row_filter) for number in range(grants))
        self.batch = Batch(topic=FEED, partition=0, records=[self._record(codec, number) for number in range(records)])
        self.router = Router(Plans(self.schemas.__getitem__, lambda _: b"secret"), _Count(), is_live=True)

    def _serving(self, contract: Contract, number: int, row_filter: str | None) -> Serving:
        grant = Grant(
            grant_id=f"s{number}.{FEED}",
            subscriber=f"s{number}",
            feed=FEED,
            columns=COLUMNS,
            purpose="bench",
            row_filter=row_filter,
        )
        key_id, value_id = 100 + 2 * number, 101 + 2 * number
        self.schemas[key_id] = out_key_schema(contract, grant)
        self.schemas[value_id] = out_value_schema(contract, grant)
        return Serving(entry=GrantEntry(grant=grant, key_schema_id=key_id, value_schema_id=value_id, version=1))

    def _record(self, codec: Codec, number: int) -> Record:
        before = bench_row(number)
        source = {
            "version": "0.1.0",
            "connector": "postgresql",
            "name": "aic.main",
            "ts_ms": 1_477_900_000_000 + number,
            "snapshot": None,
            "db": "aic",
            "sequence": f'["0001","{number:016X}","00000001"]',
            "schema": "public",
            "table": "enterprise",
            "txId": 700 + number,
            "lsn": 1 << 30 | number,
            "file": None,
            "pos": None,
            "gtid": None,
        }
        envelope = {
            "before": before,
            "after": {**before, "staff": before["staff"] + 1, "updated_at": before["updated_at"] + 1},
            "source": source,
            "op": "u",
            "ts_ms": 1_477_900_000_100 + number,
            "transaction": {"id": f"{700 + number}:{number}", "total_order": 1, "data_collection_order": 1},
            "unchanged": None,
            "dq": None,
        }
        return Record(number, codec.encode(1, {"ent_id": number}), codec.encode(2, envelope), None, 0)


class _Count:
    """An outlet that only counts."""

    def __init__(self) -> None:
        self.appended = 0

    def append(self, topic: str, key: bytes | None, value: bytes | None, *, partition: int, headers: Any) -> None:  # noqa: ARG002
        self.appended += 1

    def flush(self, within_seconds: float) -> None:
        """Nothing is under way."""

    def settle(self, within_seconds: float) -> bool:  # noqa: ARG002
        return True


def measure_cut(
    grants: Sequence[int] = (1, 2, 5, 10),
    *,
    records: int = 20_000,
    row_filter: str | None = "reg_region in ['440106', '440104']",
) -> list[Cost]:
    """The best of five runs each, in CPU time; all grants have the same projection of 7 columns and the same row filter."""
    costs: list[Cost] = []
    for count in grants:
        bench = Bench(grants=count, records=records, row_filter=row_filter)
        best = min(_seconds(bench) for _ in range(5))
        costs.append(Cost(count, records / best, best / records * 1e6))
    return costs


def _seconds(bench: Bench) -> float:
    started = time.thread_time()
    tally = bench.router.route(bench.batch, bench.feed, bench.servings)
    took = time.thread_time() - started
    assert not tally.rejected
    return took
