"""Open Data Contract Standard 3 (https://bitol.io): a feed's contract, with its core metadata (核心元数据)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ops.known_names import did_you_mean
from ops.settings import Settings
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, FeedEntry
from schemas.contract import AvroType, Contract, Field
from schemas.errors import Misconfigured
from schemas.resource.metadata import resource_of

API_VERSION = "v3.1.0"
_LOGICAL: Mapping[str, str] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "string": "string",
    "bytes": "string",
    "decimal": "number",
    "date": "date",
    "time-micros": "time",
    "time-millis": "time",
    "timestamp-micros": "timestamp",
    "timestamp-millis": "timestamp",
    "local-timestamp-micros": "timestamp",
    "uuid": "string",
    "array": "array",
    "map": "object",
    "record": "object",
}


def contracts(settings: Settings, directory: Directory, feeds: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The documents by feed: of all feeds, or of these. Raises Misconfigured for one that is not known."""
    for feed in feeds:
        if feed not in directory.feeds:
            fix = did_you_mean(feed, list(directory.feeds), "`mesh catalogue` lists the feeds")
            raise Misconfigured(feed, "is no feed here", fix=fix)
    wanted = feeds or sorted(directory.feeds)
    return {feed: _contract(settings, directory, directory.feeds[feed]) for feed in wanted}


def _contract(settings: Settings, directory: Directory, entry: FeedEntry) -> dict[str, Any]:
    contract, gov = entry.contract, entry.contract.gov
    agency = directory.agencies.get(contract.agency) or Agency(agency=contract.agency, name=contract.agency)
    resource = resource_of(contract, agency, entry.published_on)
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": entry.feed,
        "name": resource.name,
        "version": str(entry.version),
        "status": "active",
        "domain": contract.agency,
        "tags": [tag for tag in (resource.share_type, resource.open_attribute) if tag],
        "description": {
            "purpose": resource.abstract,
            "usage": resource.share_method,
            "limitations": resource.share_condition,
        },
        "servers": [
            {
                "server": "mesh",
                "type": "kafka",
                "host": settings.kafka_sasl or settings.kafka.bootstrap,
                "format": "avro",
            }
        ],
        "schema": [
            {
                "name": entry.feed.rpartition(".")[2],
                "logicalType": "object",
                "physicalName": entry.feed,
                "physicalType": "topic",
                "businessName": resource.name,
                "properties": [_property(contract, field) for field in contract.fields],
                **_quality(_rules(contract)),
            }
        ],
        "team": {"name": agency.name},
        "slaProperties": list(_promises(gov, resource.update_cycle)),
        "customProperties": list(
            _custom(
                {
                    "resourceCode": resource.code,
                    "classification": resource.classification,
                    "publishedOn": resource.published_on,
                    "legalBasis": gov.get("basis"),
                    "edition": entry.edition,
                }
            )
        ),
    }
    if agency.contact:
        document["support"] = [{"channel": agency.contact}]
    return document


def _property(contract: Contract, field: Field) -> dict[str, Any]:
    """One column. `classification` is its level (L1 to L4)."""
    levels = sorted(tag for tag in field.tags if len(tag) == 2 and tag[0] == "L" and tag[1].isdecimal())
    written: dict[str, Any] = {
        "name": field.name,
        "physicalName": field.column,
        "businessName": field.doc.partition("|")[0].strip() or field.column,
        "logicalType": _logical(field.branches[0]),
        "physicalType": _physical(field.branches[0]),
        "required": not field.is_nullable,
        "primaryKey": field.is_key,
    }
    if field.is_key:
        written["primaryKeyPosition"] = contract.key.index(field.name) + 1
    if field.tags:
        written["tags"] = sorted(field.tags)
    if levels:
        written["classification"] = levels[-1]
    if custom := list(_custom({name: field.gov.get(name) for name in ("element", "unit", "basis")})):
        written["customProperties"] = custom
    if values := field.gov.get("values"):
        allowed = {
            "type": "library",
            "metric": "invalidValues",
            "mustBe": 0,
            "arguments": {"validValues": list(values)},
        }
        written |= _quality([allowed])
    return written


def _logical(avro: AvroType) -> str:
    if isinstance(avro, str):
        return _LOGICAL.get(avro, "string")
    return _LOGICAL.get(avro.get("logicalType") or "") or _LOGICAL.get(avro["type"], "string")


def _physical(avro: AvroType) -> str:
    return avro if isinstance(avro, str) else json.dumps(avro, ensure_ascii=False)


def _rules(contract: Contract) -> list[dict[str, Any]]:
    """The data-quality rules; what one rejects is a dead letter."""
    return [
        {
            "type": "custom",
            "name": rule.name,
            "engine": "pearlmesh",
            "implementation": rule.expression,
            "severity": "error" if rule.is_fatal else "warning",
        }
        for rule in contract.rules
    ]


def _quality(checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"quality": list(checks)} if checks else {}


def _promises(gov: Mapping[str, Any], cycle: str) -> Iterable[dict[str, Any]]:
    yield {"property": "frequency", "value": cycle}
    seconds = gov.get("freshnessSloSeconds")
    if seconds is not None:
        yield {"property": "latency", "value": seconds, "unit": "s"}


def _custom(values: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    return ({"property": name, "value": value} for name, value in values.items() if value not in (None, "", [], {}))
