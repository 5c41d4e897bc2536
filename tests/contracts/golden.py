"""Golden files: what one version of a contract looks like on the wire, written once and never again.

    python -m tests.contracts.golden        writes a file for each contract that has none for its present text

A file holds the contract, a key and two envelopes (a create and a delete that knows only the key) as bytes, and what they
mean. The sample values are made from the types alone, so that writing a file again would give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.lint.folder import load
from schemas.contract import Contract
from schemas.wire.codec import Codec
from schemas.wire.envelope import key_schema, value_schema

CITY = Path(__file__).parents[2] / "schemas" / "guangzhou"
GOLDEN = Path(__file__).parent / "golden"
KEY_ID, VALUE_ID = 1, 2

SAMPLES: Mapping[str, Any] = {
    "boolean": True,
    "int": -1,
    "long": 1 << 40,
    "float": 0.5,
    "double": -2.25,
    "bytes": b"\x00\xff",
    "string": "广州 \u0000",
}


def contracts() -> Iterator[Contract]:
    """The example city's contracts."""
    for agency in load(CITY).agencies:
        yield from agency.contracts


def versions(feed: str) -> list[Path]:
    """The golden files of a feed, oldest first."""
    return sorted(GOLDEN.glob(f"{feed}.v*.json"), key=lambda path: int(path.stem.rsplit(".v", 1)[1]))


def read(path: Path) -> tuple[Contract, dict[str, Any]]:
    """The contract of a golden file, and all it holds."""
    golden = json.loads(path.read_text("utf-8"))
    return Contract.parse(golden["contract"], golden["feed"]), golden


def codec(contract: Contract) -> Codec:
    """A codec that knows the contract's two schemas."""
    return Codec({KEY_ID: key_schema(contract), VALUE_ID: value_schema(contract)}.__getitem__)


def shown(value: Any) -> Any:
    """A decoded value as JSON, bytes in hexadecimal."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Mapping):
        return {name: shown(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shown(part) for part in value]
    return value


def messages(contract: Contract) -> dict[str, tuple[int, dict[str, Any]]]:
    """The sample messages: name to schema id and value."""
    row = {field.name: _sample(field.branches[0]) for field in contract.fields}
    key = {name: row[name] for name in contract.key}
    known = {field.name: row[field.name] if field.is_key else None for field in contract.fields}
    return {
        "key": (KEY_ID, key),
        "create": (VALUE_ID, _envelope(contract, "c", None, row)),
        "delete": (VALUE_ID, _envelope(contract, "d", known, None)),
    }


def _sample(branch: Any) -> Any:
    if isinstance(branch, list):
        return _sample(next(each for each in branch if each != "null"))
    if isinstance(branch, str):
        return SAMPLES[branch]
    match branch["type"]:
        case "array":
            items = branch["items"]
            return [_sample(item) for item in (items if isinstance(items, list) else [items]) if item != "null"]
        case "record":
            return {field["name"]: _sample(field["type"]) for field in branch["fields"]}
        case kind:
            return SAMPLES[kind]


def _envelope(contract: Contract, op: str, before: Any, after: Any) -> dict[str, Any]:
    source = {
        "version": "1",
        "connector": "postgresql",
        "name": f"{contract.agency}.{contract.source}",
        "ts_ms": 1_700_000_000_000,
        "snapshot": None,
        "db": "db",
        "sequence": '["0000","000000000000002A","00000001"]',
        "schema": contract.table.split(".", 1)[0],
        "table": contract.table.split(".", 1)[1],
        "txId": 7,
        "lsn": 42,
        "file": None,
        "pos": None,
        "gtid": None,
    }
    return {
        "before": before,
        "after": after,
        "source": source,
        "op": op,
        "ts_ms": 1_700_000_000_001,
        "transaction": {"id": "7", "total_order": 1, "data_collection_order": 1},
        "unchanged": [contract.fields[-1].name],
        "dq": [{"code": "rule", "columns": [contract.fields[0].name], "normalised": None}],
    }


def write(contract: Contract) -> Path | None:
    """Write the golden file of a contract's present text, unless its latest one is that already."""
    earlier = versions(contract.feed)
    if earlier and read(earlier[-1])[1]["contract"] == contract.record:
        return None
    path = GOLDEN / f"{contract.feed}.v{len(earlier) + 1}.json"
    encode = codec(contract).encode
    golden = {
        "feed": contract.feed,
        "contract": contract.record,
        "messages": {
            name: {"bytes": encode(schema_id, value).hex(), "value": shown(value)}
            for name, (schema_id, value) in messages(contract).items()
        },
    }
    GOLDEN.mkdir(exist_ok=True)
    path.write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    return path


if __name__ == "__main__":
    for each in contracts():
        if (written := write(each)) is not None:
            print(written)  # noqa: T201  # run by hand
