from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ops.opendata import dcat
from ops.opendata.answers import Answers, Table
from ops.opendata.query import Query
from ops.opendata.refusal import Refusal
from ops.opendata.store import News, Store
from streams.flows.opendata.catalogue import LISTED, PUBLISHERS
from tests.stage.open_city import catch_up, directory, firm, resident, tick
from tests.stage.rehearsal import Rehearsal


def ask(**parameters: object) -> Query:
    return Query((name, str(value)) for name, value in parameters.items())


def pages(answers: Answers, code: str, **parameters: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    following: Any = parameters
    while following is not None:
        table: Table = answers.rows(code, ask(**following))
        rows += table.rows
        following = table.next
    return rows


def test_the_catalogue_is_found_by_department_field_and_words(answers: Answers) -> None:
    whole = answers.catalogue(ask())
    assert whole["found"] == len(whole["datasets"]) == 200
    assert sum(entry["datasets"] for entry in whole["departments"]) == 200
    assert len(whole["fields"]) == 14
    by_code, by_name = (answers.catalogue(ask(department=name)) for name in ("aic", PUBLISHERS["aic"].name))
    assert by_code == by_name
    assert {entry["department"]["department"] for entry in by_code["datasets"]} == {"aic"}
    found = answers.catalogue(ask(q="天河区 登记", field="企业服务", limit=1))
    assert found["found"] >= 1
    assert [entry["dataset"] for entry in found["datasets"]] == ["enterprise_440106"]
    assert found["datasets"][0]["rows"] == 40
    assert not answers.catalogue(ask(q="no such words"))["datasets"]
    by_sound = [entry["dataset"] for entry in answers.catalogue(ask(q="spypxkxx"))["datasets"]]
    assert "food_licence" in by_sound, "by the first letters of its pinyin"
    paged = [answers.catalogue(ask(limit=90, offset=offset))["datasets"] for offset in (0, 90, 180)]
    assert [entry for page in paged for entry in page] == whole["datasets"]


def test_k7_a_data_set_says_who_what_how_fresh_and_how_it_grew(answers: Answers, store: Store, city: Rehearsal) -> None:
    firm(city, 90)
    tick(city, 1)
    catch_up(store, city)
    told = answers.dataset("enterprise_440106", ask())
    assert told["department"] == {"department": "aic", "name": PUBLISHERS["aic"].name, "level": "CITY"}
    assert told["class"] == "UNCONDITIONAL"
    assert told["part"] == {"of": "enterprise", "column": "reg_region", "value": "440106"}
    assert [column["column"] for column in told["columns"]] == list(LISTED["enterprise_440106"].whole.table.columns)
    assert all(column["title"] for column in told["columns"])
    assert told["freshness"]["promised_seconds"] == 60
    assert told["freshness"]["last_release_took_seconds"] == 1.5
    assert told["freshness"]["last_change"] == "2016-11-02T00:00:00+08:00"
    assert [point["rows"] for point in told["trend"]] == [40, 41]
    assert told["quality"]["null_share"]["industry"] == 0
    assert answers.dataset("credit_list", ask())["rows"] == 0, "a set without rows is listed all the same"


def test_rows_are_those_published_page_by_page_filtered_by_what_they_show(answers: Answers) -> None:
    everything = pages(answers, "enterprise", limit=7)
    assert sorted(row["uscc"] for row in everything) == sorted(f"U{number}" for number in range(40))
    assert pages(answers, "enterprise_440106", limit=40) == everything, "a part is a filter of its whole"
    assert not pages(answers, "enterprise_440103")
    assert len(pages(answers, "enterprise", limit=3, industry="A")) == 10
    assert [row["name"] for row in pages(answers, "enterprise", uscc="U7", industry="F")] == ["企业7"]
    assert not pages(answers, "enterprise", uscc="U7", industry="A")


def test_no_column_and_no_row_is_shown_that_the_flow_did_not_publish(
    answers: Answers, store: Store, city: Rehearsal
) -> None:
    resident(city, 900, "WIDOWED")  # a difference of one: held back
    tick(city, 1)
    catch_up(store, city)
    told: list[Any] = [answers.relations(ask())]
    for code in LISTED:
        told += [pages(answers, code, limit=1000), answers.sample(code, ask(number="n", size=1000)).rows]
        told += [answers.statistics(code, ask()), answers.dataset(code, ask())]
    text = json.dumps(told, ensure_ascii=False)
    for closed in ("SECRET", "legal_rep_id", "某人", "P0001", "WIDOWED"):
        assert closed not in text, closed
    with pytest.raises(Refusal) as refused:
        answers.rows("enterprise", ask(legal_rep_id="SECRET7"))
    assert refused.value.status == 400
    assert "SECRET7" not in json.dumps(refused.value.to_json())


def test_k1_a_column_that_the_catalogue_no_longer_names_is_closed_at_once(answers: Answers, store: Store) -> None:
    key = {"dataset": "enterprise", "row_no": "zz"}
    content = json.dumps({"uscc": "U99", "legal_rep_id": "SECRET99"})
    store.take([News(kind="dataset", key=key, row={**key, "content": content})], {})
    [shown] = pages(answers, "enterprise", uscc="U99")
    assert shown.keys() == LISTED["enterprise"].whole.table.columns.keys()
    assert "SECRET99" not in str(shown)


def test_k3_a_sample_is_drawn_again_by_its_number(answers: Answers, store: Store, city: Rehearsal) -> None:
    first = answers.sample("population", ask(number="2016-11-A", size=8))
    assert len(first.rows) == 8
    assert first.rows == answers.sample("population", ask(number="2016-11-A", size=8)).rows
    assert len({json.dumps(answers.sample("enterprise", ask(number=n, size=8)).rows) for n in range(20)}) > 10
    published = pages(answers, "population", limit=1000)
    assert all(row in published for row in first.rows)
    with pytest.raises(Refusal) as refused:
        answers.sample("population", ask(size=8))
    assert "number=" in refused.value.fix
    with pytest.raises(Refusal):
        answers.sample("population", ask(number="n", size=1001))


def test_k4_statistics_are_the_flows_own_and_blank_below_k(answers: Answers, city: Rehearsal) -> None:
    told = answers.statistics("enterprise", ask())
    assert told["rows"] == 40
    industries = next(column for column in told["columns"] if column["column"] == "industry")
    assert industries["top_values"] == [{"value": "F", "rows": 30}, {"value": "A", "rows": 10}]
    assert industries["distinct"] == 2
    assert {column["column"] for column in told["columns"]} == set(LISTED["enterprise"].whole.profile)


def test_k5_an_edge_has_its_evidence_and_leads_to_the_related_rows(answers: Answers) -> None:
    told = answers.relations(ask(), "enterprise")
    edge = next(edge for edge in told["relations"] if edge["to"]["dataset"] == "food_licence")
    assert edge["evidence"] == "50 % of enterprise.uscc occur in food_licence.uscc (20 of 40)"
    assert edge["to"]["title"] == LISTED["food_licence"].title
    assert edge["links"]["rows_of_a_value"] == "/datasets/food_licence/rows?uscc={value}"
    assert [row["uscc"] for row in pages(answers, "food_licence", uscc="U30")] == ["U30"]
    assert answers.relations(ask(), "enterprise_440106") == told, "a part's are its whole's"
    assert {edge["from"]["dataset"] for edge in answers.relations(ask())["relations"]} >= {"enterprise", "food_licence"}


def test_k6_a_map_has_its_cells_and_regions(answers: Answers) -> None:
    told = answers.heat("enterprise", ask())
    assert told["crs"] == "CGCS2000"
    assert [(cell["points"], cell["degrees"]) for cell in told["cells"]] == [(40, "0.01")]
    assert told["regions"] == [{"region": "440106", "points": 40}]
    with pytest.raises(Refusal) as refused:
        answers.heat("enterprise_440106", ask())
    assert refused.value.fix == "ask for /datasets/enterprise/heat"
    told = answers.heat("food_licence", ask())
    assert (told["crs"], told["cells"]) == (None, [])
    assert told["regions"] == [{"region": "440106", "points": 40}], "a set without coordinates has its districts"


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (lambda answers: answers.dataset("no_such_set", ask()), 404),
        (lambda answers: answers.heat("scope_item", ask()), 404),
        (lambda answers: answers.rows("enterprise", ask(limit="many")), 400),
        (lambda answers: answers.rows("enterprise", ask(limit=0)), 400),
        (lambda answers: answers.rows("enterprise", ask(nmae="x")), 400),
        (lambda answers: answers.catalogue(ask(departement="aic")), 400),
        (lambda answers: answers.rows("enterprise", Query([("uscc", "U1"), ("uscc", "U2")])), 400),
    ],
)
def test_what_cannot_be_answered_says_what_why_and_what_to_do(
    answers: Answers, question: Callable[[Answers], object], status: int
) -> None:
    with pytest.raises(Refusal) as refused:
        question(answers)
    assert refused.value.status == status
    assert all(refused.value.to_json().values())


def test_no_column_has_the_name_of_a_parameter_of_rows() -> None:
    columns = {column for listed in LISTED.values() for column in listed.whole.table.columns}
    assert not columns & {"limit", "after", "format"}


MANDATORY = {
    "dcat:Catalog": {"dct:title", "dct:description", "dct:publisher"},
    "dcat:Dataset": {"dct:title", "dct:description"},
    "dcat:Distribution": {"dcat:accessURL"},
    "dcat:DataService": {"dct:title", "dcat:endpointURL"},
    "foaf:Agent": {"foaf:name"},
    "skos:Concept": {"skos:prefLabel"},
    "skos:ConceptScheme": {"dct:title"},
    "vcard:Organization": {"vcard:fn"},
    "dct:LicenseDocument": {"dct:title"},
}
"""What DCAT-AP 3 makes mandatory by class, and by which a contact and a licence are of use at all."""
RANGES = {
    "dct:publisher": "foaf:Agent",
    "dcat:theme": "skos:Concept",
    "dcat:contactPoint": "vcard:Organization",
    "dct:license": "dct:LicenseDocument",
    "dcat:accessService": "dcat:DataService",
    "dct:isPartOf": "dcat:Dataset",
}
"""Properties whose values are nodes of this document, and of which class."""


def test_k7_the_dcat_catalogue_has_what_dcat_ap_3_asks_for(answers: Answers) -> None:
    told = dcat.catalogue("https://data.example", answers.states(), answers.terms, lambda listed: listed.title)
    top = {node["@id"]: node for node in told["@graph"]}
    assert len(top) == len(told["@graph"])
    inner = [each for node in top.values() for each in node.get("dcat:distribution", ())]
    nodes = {**top, **{node["@id"]: node for node in inner}}
    assert len(nodes) == len(top) + len(inner)
    by_type: dict[str, list[dict[str, Any]]] = {}
    for node in nodes.values():
        by_type.setdefault(node["@type"], []).append(node)
        assert MANDATORY[node["@type"]] <= node.keys(), node["@id"]
        for name, wanted in RANGES.items():
            assert name not in node or nodes[node[name]["@id"]]["@type"] == wanted, (node["@id"], name)
        for name in node:
            prefix = name.partition(":")[0]
            assert name.startswith("@") or prefix in told["@context"], name
    assert by_type.keys() == MANDATORY.keys()
    [catalogue] = by_type["dcat:Catalog"]
    assert {node["@id"] for node in catalogue["dcat:dataset"]} == {node["@id"] for node in by_type["dcat:Dataset"]}
    assert len(by_type["dcat:Dataset"]) == 200
    for node in by_type["dcat:Dataset"]:
        assert {"dct:publisher", "dcat:contactPoint", "dcat:theme", "dcat:keyword", "dcat:landingPage"} <= node.keys()
        files = [each for each in node["dcat:distribution"] if "dcat:downloadURL" in each]
        assert [each["dcat:downloadURL"]["@id"].rpartition("=")[2] for each in files] == ["csv", "json", "parquet"]
        assert all("dct:license" in each for each in node["dcat:distribution"])
    dated = {node["dct:identifier"] for node in by_type["dcat:Dataset"] if "dct:modified" in node}
    assert {"enterprise", "enterprise_440106", "population"} <= dated
    assert "credit_list" not in dated, "nothing was published of it"


def test_without_a_contract_at_hand_the_catalogue_still_answers(store: Store) -> None:
    told = Answers(store, directory([])).dataset("enterprise", ask())
    assert told["class"] is None
    assert told["rows"] == 40
