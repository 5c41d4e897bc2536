"""OpenLineage (https://openlineage.io): the feeds' lineage (血缘), from a table to who receives it, as JobEvents.

A JobEvent says what a job reads and writes as long as it is as it is; runs have no end here. Columns are followed where
rows are cut for a grant, masks and the columns of its filter included; a flow's folds are followed by feed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

from ops.kinds.sinks import SINKS
from ops.known_names import did_you_mean
from ops.settings import Settings
from schemas.agreement.agency import Agency
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Mask
from schemas.contract import Contract, wire_fields
from schemas.errors import Misconfigured
from schemas.expression.expression import parse
from schemas.wire.envelope import out_value_schema
from sinks.kind import is_delivered
from streams.flows import FLOWS
from streams.operators.flow import in_use

SPEC = "https://openlineage.io/spec"
FACETS = {
    "schema": "1-2-0/SchemaDatasetFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
    "ownership": "1-0-1/OwnershipDatasetFacet",
    "documentation": "1-1-0/DocumentationDatasetFacet",
    "jobType": "2-0-4/JobTypeJobFacet",
}
NAMESPACE = "pearlmesh"

Json = dict[str, Any]


def events(settings: Settings, directory: Directory, now: datetime, feeds: Sequence[str] = ()) -> list[Json]:
    """One event for each job: all of them, or those that read or write these feeds. Raises Misconfigured for an unknown feed."""
    for feed in feeds:
        if feed not in directory.feeds:
            fix = did_you_mean(feed, list(directory.feeds), "`mesh catalogue` lists the feeds")
            raise Misconfigured(feed, "is no feed here", fix=fix)
    lineage = _Lineage(settings, directory, now)
    return [event for touched, event in lineage.jobs() if not feeds or touched & set(feeds)]


class _Lineage:
    def __init__(self, settings: Settings, directory: Directory, now: datetime) -> None:
        first = (settings.kafka_sasl or settings.kafka.bootstrap).partition(",")[0]
        self._kafka = f"kafka://{first.strip()}"
        self._directory = directory
        self._now = now
        self._producer = f"urn:pearlmesh:{version('pearlmesh')}"

    def jobs(self) -> Iterator[tuple[set[str], Json]]:
        """Each job, with the feeds that it touches."""
        for feed, entry in sorted(self._directory.feeds.items()):
            if self._directory.is_captured(feed):
                yield {feed}, self._event(f"capture.{feed}", [self._table(entry.contract)], [self._feed(feed)])
        for flow in in_use(FLOWS, self._directory):
            read = sorted({each.feed for each in flow.inputs} & self._directory.feeds.keys())
            written = sorted(set(flow.outputs) & self._directory.feeds.keys())
            yield (
                {*read, *written},
                self._event(f"flow.{flow.name}", [*map(self._feed, read)], [*map(self._feed, written)]),
            )
        for grant_id, entry in sorted(self._directory.trusted().grants.items()):
            if entry.grant.is_active(self._now) and entry.grant.feed in self._directory.feeds:
                feed, out = self._feed(entry.grant.feed), self._out(entry)
                yield {entry.grant.feed}, self._event(f"egress.{grant_id}", [feed], [out])
                if received := self._received(entry):
                    yield {entry.grant.feed}, self._event(f"delivery.{grant_id}", [self._out(entry)], [received])

    def _event(self, name: str, inputs: Sequence[Json], outputs: Sequence[Json]) -> Json:
        kind = {"processingType": "STREAMING", "integration": "PEARLMESH", "jobType": name.partition(".")[0].upper()}
        return {
            "eventTime": self._now.isoformat(),
            "producer": self._producer,
            "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/JobEvent",
            "job": {"namespace": NAMESPACE, "name": name, "facets": {"jobType": self._facet("jobType", kind)}},
            "inputs": list(inputs),
            "outputs": list(outputs),
        }

    def _facet(self, name: str, values: Mapping[str, Any]) -> Json:
        path = FACETS[name]
        url = f"{SPEC}/facets/{path}.json#/$defs/{path.rpartition('/')[2]}"
        return {"_producer": self._producer, "_schemaURL": url, **values}

    def _table(self, contract: Contract) -> Json:
        """A department's table, under the name that its source has here: the database's own address is a secret."""
        agency = self._directory.agencies.get(contract.agency)
        source = agency.source(contract.source) if agency else None
        scheme = source.kind if source else "source"
        fields = [{"name": field.column, "type": _type(field.branches[0])} for field in contract.fields]
        return self._dataset(f"{scheme}://{contract.source_name}", contract.table, fields)

    def _feed(self, feed: str) -> Json:
        contract = self._directory.feeds[feed].contract
        agency = self._directory.agencies.get(contract.agency) or Agency(agency=contract.agency, name=contract.agency)
        dataset = self._dataset(self._kafka, feed, _columns(wire_fields(contract)))
        dataset["facets"] |= {
            "ownership": self._facet("ownership", {"owners": [{"name": f"team:{agency.agency}", "type": "PROVIDER"}]}),
            "documentation": self._facet("documentation", {"description": contract.doc or feed}),
        }
        return dataset

    def _out(self, entry: GrantEntry) -> Json:
        grant = entry.grant
        contract = self._directory.feeds[grant.feed].contract
        fields = out_value_schema(contract, grant)["fields"][0]["type"][1]["fields"]
        dataset = self._dataset(self._kafka, entry.topic, _columns(fields))
        lineage = {
            field["name"]: {"inputFields": [self._from(grant.feed, field["name"], _cut(grant.mask.get(field["name"])))]}
            for field in fields
        }
        narrowed = sorted(parse(grant.row_filter).columns) if grant.row_filter else []
        filtered = [self._from(grant.feed, name, {"type": "INDIRECT", "subtype": "FILTER"}) for name in narrowed]
        facet: Json = {"fields": lineage} | ({"dataset": filtered} if filtered else {})
        dataset["facets"] |= {
            "columnLineage": self._facet("columnLineage", facet),
            "documentation": self._facet("documentation", {"description": f"{contract.doc}: {grant.purpose}"}),
        }
        return dataset

    def _from(self, feed: str, column: str, transformation: Json) -> Json:
        return {"namespace": self._kafka, "name": feed, "field": column, "transformations": [transformation]}

    def _received(self, entry: GrantEntry) -> Json | None:
        """What the mesh delivers into; None where the subscriber reads the topic itself."""
        grant = entry.grant
        subscriber = self._directory.subscribers.get(grant.subscriber)
        sink = subscriber.sink(grant.sink) if subscriber else None
        if sink is None or not is_delivered(sink, SINKS):
            return None
        return {"namespace": f"{sink.kind}://{grant.subscriber}.{sink.name}", "name": grant.delivered_as}

    def _dataset(self, namespace: str, name: str, fields: Sequence[Json]) -> Json:
        facet = self._facet("schema", {"fields": list(fields)})
        return {"namespace": namespace, "name": name, "facets": {"schema": facet}}


def _columns(fields: Sequence[Mapping[str, Any]]) -> list[Json]:
    return [
        {
            "name": field["name"],
            "type": _type(field["type"]),
            **({"description": field["doc"].partition("|")[0]} if field.get("doc") else {}),
        }
        for field in fields
    ]


def _type(avro: Any) -> str:
    branch = next((each for each in avro if each != "null"), "null") if isinstance(avro, list) else avro
    return branch if isinstance(branch, str) else str(branch.get("logicalType") or branch["type"])


def _cut(mask: Mask | None) -> Json:
    """What becomes of a column on its way to a subscriber."""
    if mask in {Mask.HASH, Mask.MASK}:
        return {"type": "DIRECT", "subtype": "TRANSFORMATION", "description": str(mask), "masking": True}
    return {"type": "DIRECT", "subtype": "IDENTITY", "masking": False}
