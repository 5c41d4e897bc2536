"""What is exported of the example city, checked against the official schemas, and what one subscriber may read of it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import open_data_contract_standard
import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator, Draft201909Validator, FormatChecker
from openlineage.client.generated import base
from openlineage.client.serde import Serde

from ops.cli import main
from ops.exports.asyncapi import asyncapi
from ops.exports.odcs import contracts
from ops.exports.openlineage import FACETS, events
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Grant, Mask, Status
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured
from tests.stage.agreed_city import agreed_city, settings_of, with_reader

HERE = Path(__file__).parent
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OWN, LIVE = SinkConfig(name="own", kind="kafka"), SinkConfig(name="live", kind="live")
MODULES = {
    "schema": "schema",
    "columnLineage": "column_lineage",
    "ownership": "ownership",
    "documentation": "documentation",
}


def granted(feed: str, sink: str = "own", **values: Any) -> Grant:
    named = {"columns": ("name", "status"), "purpose": "报关单位核验", **values}
    return Grant(grant_id=f"reader.{feed}", subscriber="reader", feed=feed, sink=sink, **named)


@pytest.fixture
def city() -> Directory:
    grants = (
        granted("aic.enterprise", mask={"name": Mask.HASH}, row_filter="status == 'ACTIVE'"),
        granted("aic.penalty", columns=("uscc",), status=Status.SUSPENDED),
        granted("police.resident", sink="live", columns=("name",)),
    )
    return with_reader(agreed_city(), "reader", {"own": OWN, "live": LIVE}, *grants)


@pytest.fixture(scope="module")
def of_asyncapi() -> Draft7Validator:
    return Draft7Validator(json.loads((HERE / "asyncapi-3.0.0.json").read_text("utf-8")))


def faults(validator: Any, document: Any) -> list[str]:
    return [f"{'/'.join(map(str, each.path))}: {each.message[:200]}" for each in validator.iter_errors(document)]


def some(city: Directory) -> Directory:
    """With a feed of each dozen: the schemas' rules are slow to walk, and the feeds are alike."""
    kept = {*sorted(city.feeds)[::12], "aic.enterprise"}
    return replace(city, feeds={feed: entry for feed, entry in city.feeds.items() if feed in kept})


def test_the_citys_feeds_are_asyncapi_3(city: Directory, of_asyncapi: Draft7Validator, tmp_path: Path) -> None:
    city = some(city)
    document = asyncapi(settings_of(tmp_path), city)
    assert not faults(of_asyncapi, document)
    assert set(document["channels"]) == set(city.feeds)
    assert {each["action"] for each in document["operations"].values()} == {"send"}
    payload = document["channels"]["aic.enterprise"]["messages"]["change"]["payload"]["schema"]
    assert [field["name"] for field in payload["fields"][:2]] == ["before", "after"]
    assert "S3CRET" not in json.dumps(document)
    del document["channels"]["aic.enterprise"]["messages"]["change"]["name"]
    document["channels"]["aic.enterprise"]["partitions"] = 4
    assert faults(of_asyncapi, document), "what is not of the form is seen"


def test_a_subscribers_asyncapi_has_what_it_may_read_and_no_more(
    city: Directory, of_asyncapi: Draft7Validator, tmp_path: Path
) -> None:
    document = asyncapi(settings_of(tmp_path), city, "reader")
    assert not faults(of_asyncapi, document)
    assert set(document["channels"]) == {"out.reader.aic.enterprise", "ends.reader.own", "live-live"}
    text = json.dumps(document, ensure_ascii=False)
    row = document["channels"]["out.reader.aic.enterprise"]["messages"]["change"]["payload"]["schema"]["fields"][0]
    assert {field["name"] for field in row["type"][1]["fields"]} == {"ent_id", "name", "status"}
    assert not [secret for secret in ("S3CRET", "out.reader.aic.penalty", "legal_rep", "tax_office") if secret in text]
    pointers = [ref for channel in document["channels"].values() for ref in channel["servers"]]
    assert {ref["$ref"].rpartition("/")[2] for ref in pointers} == set(document["servers"])
    only = asyncapi(settings_of(tmp_path), city, "reader", ["live"])
    assert set(only["channels"]) == {"live-live"}
    with pytest.raises(Misconfigured, match="no subscriber") as wrong:
        asyncapi(settings_of(tmp_path), city, "raeder")
    assert "did you mean `reader`" in wrong.value.fix
    with pytest.raises(Misconfigured, match="reads nothing itself") as nothing:
        asyncapi(settings_of(tmp_path), city, "customs")
    assert "a sink of kind" in nothing.value.fix


def test_a_contract_is_one_of_the_open_standard(city: Directory, tmp_path: Path) -> None:
    schema = json.loads((Path(open_data_contract_standard.__file__).parent / "schema.json").read_text("utf-8"))
    validator = Draft201909Validator(schema, format_checker=FormatChecker())
    found = contracts(settings_of(tmp_path), city)
    assert set(found) == set(city.feeds)
    few = some(city).feeds
    assert not [f"{feed} {fault}" for feed in few for fault in faults(validator, found[feed])]
    assert "S3CRET" not in json.dumps(found)
    enterprise = contracts(settings_of(tmp_path), city, ["aic.enterprise"])["aic.enterprise"]
    (table,) = enterprise["schema"]
    columns = {each["name"]: each for each in table["properties"]}
    assert [name for name, each in columns.items() if each["primaryKey"]] == ["ent_id"]
    assert len(columns) == len(city.feeds["aic.enterprise"].contract.fields)
    assert faults(validator, {**enterprise, "apiVersion": "v9"})
    with pytest.raises(Misconfigured, match="no feed"):
        contracts(settings_of(tmp_path), city, ["aic.enterprize"])


def test_the_citys_lineage_is_openlineage(city: Directory, tmp_path: Path) -> None:
    found = events(settings_of(tmp_path), city, NOW)
    for event in found:
        assert_official(event)
    jobs = {event["job"]["name"]: event for event in found}
    assert {"capture.aic.enterprise", "flow.organisation", "egress.reader.aic.enterprise"} <= set(jobs)
    assert "delivery.reader.aic.enterprise" not in jobs, "its subscriber reads it itself"
    assert "egress.reader.aic.penalty" not in jobs, "nothing flows by it"
    assert "S3CRET" not in json.dumps(found)
    (cut,) = jobs["egress.reader.aic.enterprise"]["outputs"]
    lineage = cut["facets"]["columnLineage"]
    assert lineage["fields"]["name"]["inputFields"][0]["transformations"][0]["masking"] is True
    assert [each["field"] for each in lineage["dataset"]] == ["status"]
    (table,) = jobs["capture.aic.enterprise"]["inputs"]
    (feed,) = jobs["capture.aic.enterprise"]["outputs"]
    assert table["name"].endswith(".enterprise")
    assert feed["name"] in {each["name"] for each in jobs["flow.organisation"]["inputs"]}
    only = events(settings_of(tmp_path), city, NOW, ["aic.enterprise"])
    assert {"capture.aic.enterprise", "egress.reader.aic.enterprise"} <= {event["job"]["name"] for event in only}
    assert len(only) < len(found)


def assert_official(event: Mapping[str, Any]) -> None:
    """The event, built again of the official client's own classes, is written by it as it stands here."""
    job = base.Job(event["job"]["namespace"], event["job"]["name"], facets=facets(event["job"]["facets"]))
    inputs = [
        base.InputDataset(each["namespace"], each["name"], facets=facets(each.get("facets", {})))
        for each in event["inputs"]
    ]
    outputs = [
        base.OutputDataset(each["namespace"], each["name"], facets=facets(each.get("facets", {})))
        for each in event["outputs"]
    ]
    official = base.JobEvent(
        eventTime=event["eventTime"], producer=event["producer"], job=job, inputs=inputs, outputs=outputs
    )
    assert bare(Serde.to_dict(official)) == bare(event)


def facets(written: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    built = {}
    for name, values in written.items():
        kind = FACETS[name].rpartition("/")[2]
        module = "job_type_job" if name == "jobType" else f"{MODULES[name]}_dataset"
        home = importlib.import_module(f"openlineage.client.generated.{module}")
        own = {key: value for key, value in values.items() if not key.startswith("_")}
        built[name] = getattr(home, kind)(**nested(home, own), producer=values["_producer"])
    return built


def nested(home: Any, values: dict[str, Any]) -> dict[str, Any]:
    """What stands within a facet, by the official classes: an entry that they do not know raises."""
    if "inputFields" in json.dumps(values):
        fields = {
            name: home.Fields(inputFields=list(map(home_field(home), each["inputFields"])))
            for name, each in values["fields"].items()
        }
        return {"fields": fields, "dataset": list(map(home_field(home), values.get("dataset", [])))}
    if hasattr(home, "SchemaDatasetFacetFields"):
        return {"fields": [home.SchemaDatasetFacetFields(**each) for each in values["fields"]]}
    if "owners" in values:
        return {"owners": [home.Owner(**each) for each in values["owners"]]}
    return values


def home_field(home: Any) -> Any:
    def built(each: Mapping[str, Any]) -> Any:
        transformations = [home.Transformation(**one) for one in each["transformations"]]
        return home.InputField(**{**each, "transformations": transformations})

    return built


def bare(value: Any) -> Any:
    """Without what is empty: the client writes an empty list where we write nothing."""
    if isinstance(value, Mapping):
        return {name: bare(each) for name, each in value.items() if each not in (None, [], {})}
    return [bare(each) for each in value] if isinstance(value, list) else value


def test_what_cannot_be_meant_is_said(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["export", "asyncapi", "--sink", "own", "--dir", str(tmp_path)])
    assert (ran.exit_code, "--subscriber" in ran.output) == (2, True)
