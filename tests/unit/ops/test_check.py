"""Every way to get a folder wrong is found, on its line, with words that say what to write instead."""

from __future__ import annotations

import json
from datetime import datetime
from io import StringIO

import pytest
from rich.console import Console

from ops.lint.check import check
from ops.lint.folder import SHANGHAI, load, resolved
from ops.lint.report import Severity, Standing
from schemas.agreement.agency import FLOW, Agency
from schemas.agreement.directory import Directory, FeedEntry, GrantEntry
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract
from schemas.errors import Misconfigured
from schemas.feed import key_subject, value_subject
from schemas.wire.compatibility import breaches
from schemas.wire.envelope import key_schema, value_schema

AGENCY = """\
agency: aic
name: 工商行政管理局
sources:
  - name: main
    kind: postgres
    connection: ${MESH_AIC_DSN}
"""
SUBSCRIBER = """\
subscriber: customs
name: 广州海关
sinks:
  - name: main
    kind: postgres
    connection: ${MESH_CUSTOMS_DSN}
grants:
  - feed: aic.enterprise
    columns: [ent_id, name]
    purpose: 报关单位核验
"""
CONTRACT = """\
{"type": "record", "name": "Enterprise", "namespace": "gz.aic", "doc": "商事主体登记信息",
 "gov": {"provider": "aic", "key": ["ent_id"], "table": "public.enterprise", "class": "UNCONDITIONAL",
   "rules": [{"name": "named", "expr": "name != null", "onFailure": "DLQ"}]},
 "fields": [
  {"name": "ent_id", "type": "string", "doc": "主体内部编号"},
  {"name": "name", "type": ["null", "string"], "default": null, "doc": "名称"},
  {"name": "capital", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}], "default": null,
   "doc": "注册资本", "gov": {"unit": "万元", "house": "kept and ignored"}},
  {"name": "legal_rep_id", "type": ["null", "string"], "default": null, "doc": "法定代表人证件号",
   "confluent:tags": ["PII", "L4"], "gov": {"class": "CONDITIONAL", "basis": "示例依据"}},
  {"name": "secret", "type": ["null", "string"], "default": null, "doc": "内部意见",
   "gov": {"class": "NOT_SHARED", "basis": "示例依据"}},
  {"name": "updated_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "更新时间"}]}
"""


def write(folder, *, agency=AGENCY, contract=CONTRACT, subscriber=SUBSCRIBER, stem="enterprise"):
    (folder / "aic").mkdir()
    (folder / "customs").mkdir()
    (folder / "aic" / "agency.yaml").write_text(agency)
    (folder / "aic" / f"{stem}.avsc").write_text(contract)
    (folder / "customs" / "subscriber.yaml").write_text(subscriber)
    return folder


def changed(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def test_good_city_has_no_problems_and_loads(tmp_path):
    report = check(write(tmp_path))
    assert report.problems == []
    assert report.is_ok
    assert (report.grants, [feed.standing for feed in report.feeds]) == (1, [Standing.UNKNOWN])
    city = load(tmp_path)
    assert city.agencies[0].agency.name == "工商行政管理局"
    assert city.agencies[0].contracts[0].feed == "aic.enterprise"
    assert city.agencies[0].contracts[0].fields[2].gov["house"] == "kept and ignored"
    assert city.agencies[0].connections == {"main": "${MESH_AIC_DSN}"}
    assert city.subscribers[0].grants[0].grant_id == "customs.aic.enterprise"
    assert "MESH_CUSTOMS" not in repr(city.subscribers[0])
    assert Agency.from_json(city.agencies[0].agency.to_json()) == city.agencies[0].agency


def test_one_agency_or_one_subscriber_alone(tmp_path):
    write(tmp_path)
    assert check(tmp_path / "aic").is_ok
    alone = check(tmp_path / "customs")
    assert "no such feed" in alone.errors[0].message
    contract = Contract.parse(json.loads(CONTRACT), "aic.enterprise")
    running = Directory(feeds={"aic.enterprise": entry(contract)})
    assert check(tmp_path / "customs", directory=running).is_ok


def test_empty_folder_is_explained(tmp_path):
    assert "holds neither" in check(tmp_path).errors[0].message
    with pytest.raises(Misconfigured, match="holds neither"):
        load(tmp_path)


ERROR, WARNING = Severity.ERROR, Severity.WARNING
NAME = '{"name": "name", "type": ["null", "string"], "default": null, "doc": "名称"}'

OPTIONAL = '["null", "string"], "default": null, "doc": "名称"'
BASIS = '"CONDITIONAL", "basis": "示例依据"'
UNIT = '"gov": {"unit": "万元"'

CONTRACTS = [
    ("comma", '"doc": "名称"},', '"doc": "名称"}', ERROR, 7, "", "is no JSON"),
    ("bracket", '"doc": "更新时间"}]}', '"doc": "更新时间"}', ERROR, 13, "", "is no JSON"),
    ("twice", '"doc": "名称"}', '"doc": "名称", "doc": "名"}', ERROR, 6, "", "given twice"),
    ("type", NAME, '{"name": "name", "type": "strin", "doc": "名称"}', ERROR, 6, "name", "unknown type"),
    ("no key", '"key": ["ent_id"], ', "", ERROR, 2, "", "names no key"),
    ("key unknown", '["ent_id"]', '["entid"]', ERROR, 2, "entid", "is a key column but no field"),
    ("key nullable", '"ent_id", "type": "string"', '"ent_id", "type": ["null", "string"]', ERROR, 5, "ent_id", "may be null"),
    ("key float", '"ent_id", "type": "string"', '"ent_id", "type": "double"', ERROR, 5, "ent_id", "cannot be a key"),
    ("no precision", '"precision": 18, "scale": 2', '"scale": 2', ERROR, 7, "capital", "no precision"),
    ("scale", '"scale": 2', '"scale": 20', ERROR, 7, "capital", "scale is not between"),
    ("millis", "timestamp-micros", "timestamp-millis", ERROR, 13, "updated_at", "no source fills it"),
    ("typo", "timestamp-micros", "timestamp-micro", ERROR, 13, "updated_at", "readers would ignore it"),
    ("enum", OPTIONAL, '{"type": "enum", "name": "E", "symbols": ["A"]}, "doc": "名称"', ERROR, 6, "name", "Avro enum"),
    ("map", OPTIONAL, '{"type": "map", "values": "int"}, "doc": "名称"', ERROR, 6, "name", "no source fills map of int"),
    ("record", OPTIONAL, '{"type": "record", "name": "N", "fields": []}, "doc": "名称"', ERROR, 6, "name", "is a record"),
    ("wide union", 'e", "type": ["null", "string"]', 'e", "type": ["null", "string", "long"]', ERROR, 6, "name", "cannot tell apart"),
    ("only null", OPTIONAL, '"null", "doc": "名称"', ERROR, 6, "name", "can only be null"),
    ("default", '"name", "type": ["null", "string"]', '"name", "type": ["string", "null"]', ERROR, 6, "name", "does not fit"),
    ("name", '"name": "capital"', '"name": "注册资本"', ERROR, 7, "注册资本", "no legal Avro name"),
    ("column twice", '"name": "capital"', '"name": "name"', ERROR, 7, "name", "there twice"),
    ("source column twice", '"doc": "注册资本"', '"column": "name", "doc": "注册资本"', ERROR, 8, "capital", "as name does"),
    ("no basis", BASIS, '"CONDITIONAL"', ERROR, 10, "legal_rep_id", "without a legal basis"),
    ("no basis for all", '"class": "UNCONDITIONAL"', '"class": "NOT_SHARED"', ERROR, 2, "", "without a legal basis"),
    ("class", '"UNCONDITIONAL"', '"SHARED"', ERROR, 2, "", "gov.class is 'SHARED'"),
    ("rule", "name != null", "name != ", ERROR, 3, "", "rule named: expression"),
    ("rule column", "name != null", "nam != null", ERROR, 3, "", "has no column nam"),
    ("rule outcome", '"DLQ"', '"DROP"', ERROR, 3, "", "onFailure is 'DROP'"),
    ("provider", '"provider": "aic"', '"provider": "police"', ERROR, 2, "", "provider police is not aic"),
    ("source", '"provider": "aic"', '"provider": "aic", "source": "other"', ERROR, 2, "", "no source other"),
    ("table", '"public.enterprise"', '"enterprise"', ERROR, 2, "", "does not name schema and table"),
    ("tags", '["PII", "L4"]', '"PII"', ERROR, 10, "legal_rep_id", "no list of texts"),
    ("unknown tag", '["PII", "L4"]', '["PPI"]', WARNING, 10, "legal_rep_id", "unknown tags PPI"),
    ("untagged", '"confluent:tags": ["PII", "L4"], ', "", WARNING, 9, "legal_rep_id", "looks personal"),
    ("untagged english", '"doc": "名称"', '"doc": "mobile", "column": "mobile_no"', WARNING, 6, "name", "looks personal"),
    ("no doc", ', "doc": "名称"', "", WARNING, 6, "name", "no doc on name"),
    ("no record doc", ' "doc": "商事主体登记信息",', "", WARNING, 1, "", "no Chinese name"),
    ("no class", ', "class": "UNCONDITIONAL"', "", ERROR, 2, "", "how it is shared"),
    ("no code", '"provider": "aic"', '"code": "3/1/1", "provider": "aic"', ERROR, 2, "", "no resource code"),
    ("no related", '"provider": "aic"', '"related": ["tax.warning"], "provider": "aic"', ERROR, 2, "", "no list of resource codes"),
    ("no abstract", '"provider": "aic"', '"abstract": "", "provider": "aic"', ERROR, 2, "", "gov.abstract says nothing"),
    ("draft basis", BASIS, '"CONDITIONAL", "basis": "DRAFT: undecided"', WARNING, 10, "legal_rep_id", "only by the draft's choice"),
    ("values", UNIT, '"gov": {"values": ["A"], "unit": "万元"', ERROR, 8, "capital", "no list of codes"),
    ("values on number", UNIT, '"gov": {"values": {"1": "一"}, "unit": "万元"', WARNING, 7, "capital", "but is decimal"),
]  # fmt: skip


def record(name, **fields):
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def array(items):
    return {"type": "array", "items": items}


def of_one(**field):
    return array({"type": "record", "name": "R", "fields": [{"name": "a", "type": "string", **field}]})


DATE = {"type": "int", "logicalType": "date"}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
ENUM = {"type": "enum", "name": "E", "symbols": ["X"]}
# Of a feed that a flow writes: the type of `name`, and what is said of it; nothing for a good one.
NESTED = {
    "records": (array(record("R", a="int")), ""),
    "record": (["null", record("R", a=["null", "string"])], ""),
    "deeper": (record("R", a=array(record("S", b=DATE))), ""),
    "map": ({"type": "map", "values": ["null", "long"]}, ""),
    "plain array": (array("string"), ""),
    "enum within": (array(record("R", a=ENUM)), "a: is an Avro enum"),
    "logical within": ({"type": "map", "values": MILLIS}, "no source fills it"),
    "wide union within": (record("R", a=["null", "int", "string"]), "a: a field in a record holds one type"),
    "array of arrays": (array(array("int")), "array of arrays"),
    "map of records": ({"type": "map", "values": record("R", a="int")}, "more than plain values"),
    "no fields": (record("R"), "a record without fields"),
    "nulls": (array("null"), "array holds one type"),
    "wire name": (record("Value", a="int"), "hide the envelope's own"),
    "by name": (record("R", a=record("S", b="int"), c="S"), "c: refers to S by name"),
    "tag within": (of_one(**{"confluent:tags": ["PII"]}), "a is tagged PII, the column is not"),
    "personal within": (of_one(doc="手机号码"), "a looks personal"),
}


@pytest.mark.parametrize(("kind", "message"), NESTED.values(), ids=NESTED)
def test_a_flows_feed_may_hold_nested_columns_looked_into_to_the_end(tmp_path, kind, message):
    flow = changed(AGENCY, "kind: postgres\n    connection: ${MESH_AIC_DSN}", f"kind: {FLOW}")
    contract = changed(CONTRACT, OPTIONAL, f'{json.dumps(kind)}, "doc": "内容"')
    report = check(write(tmp_path, agency=flow, contract=contract))
    assert [(p.line, p.field) for p in report.problems] == ([(6, "name")] if message else [])
    assert message in "".join(p.message for p in report.problems)


@pytest.mark.parametrize("case", ["records", "record", "map"])
def test_a_table_cannot_hold_what_a_flow_may_write(tmp_path, case):
    contract = changed(CONTRACT, OPTIONAL, f'{json.dumps(NESTED[case][0])}, "doc": "内容"')
    report = check(write(tmp_path, contract=contract))
    assert [(p.line, p.field) for p in report.errors] == [(6, "name")]


@pytest.mark.parametrize(
    ("old", "new", "severity", "line", "field", "message"), [c[1:] for c in CONTRACTS], ids=[c[0] for c in CONTRACTS]
)
def test_contract_problem_is_found_on_its_line(tmp_path, old, new, severity, line, field, message):
    report = check(write(tmp_path, contract=changed(CONTRACT, old, new)))
    match = [problem for problem in report.problems if message in problem.message]
    assert match, report.problems
    assert (match[0].severity, match[0].file, match[0].line, match[0].field) == (
        severity,
        "aic/enterprise.avsc",
        line,
        field,
    )
    assert match[0].fix
    assert report.is_ok == (severity is WARNING)


GRANT = "    columns: [ent_id, name]\n"
FILTER = "    row_filter: "
FILES = [
    ("yaml", "customs", "grants:", "grants", ERROR, 8, "is no YAML"),
    ("no source", "aic", AGENCY[AGENCY.index("sources"):], "", ERROR, 1, "has no source"),
    ("no agency", "aic", "agency: aic\n", "", ERROR, 1, "has no agency"),
    ("unknown entry", "aic", "name: 工商行政管理局", "nmae: 工商行政管理局", ERROR, 2, "no field of an agency nmae"),
    ("source kind", "aic", "kind: postgres", "kind: postgresql", ERROR, 5, "no kind postgresql"),
    ("no connection", "aic", "    connection: ${MESH_AIC_DSN}\n", "", ERROR, 4, "has no connection"),
    ("literal", "aic", "${MESH_AIC_DSN}", "postgresql://u:p@h/d", WARNING, 6, "stands in the file"),
    ("sink kind", "customs", "kind: postgres", "kind: fax", ERROR, 5, "no kind fax"),
    ("sink entry", "customs", "    kind: postgres\n", "    kind: postgres\n    url: x\n", ERROR, 6, "no field of a subscriber url"),
    ("star", "customs", "[ent_id, name]", '"*"', ERROR, 9, "default deny"),
    ("star in list", "customs", "[ent_id, name]", '["*"]', ERROR, 9, "default deny"),
    ("no columns", "customs", GRANT, "", ERROR, 8, "default deny"),
    ("unknown column", "customs", "[ent_id, name]", "[ent_id, nmae]", ERROR, 9, "no column nmae"),
    ("not shared", "customs", "[ent_id, name]", "[ent_id, secret]", ERROR, 9, "NOT_SHARED"),
    ("conditional", "customs", "[ent_id, name]", "[ent_id, legal_rep_id]", ERROR, 8, "no legal basis for legal_rep_id"),
    ("no purpose", "customs", "    purpose: 报关单位核验\n", "", ERROR, 8, "has no purpose"),
    ("feed", "customs", "aic.enterprise", "aic.enterprises", ERROR, 8, "no such feed"),
    ("feed name", "customs", "aic.enterprise", "AIC", ERROR, 8, "is no feed name"),
    ("no feed", "customs", "  - feed: aic.enterprise\n    columns", "  - columns", ERROR, 8, "has no feed"),
    ("filter", "customs", GRANT, GRANT + FILTER + "name = 'x'\n", ERROR, 10, "something unreadable"),
    ("filter column", "customs", GRANT, GRANT + FILTER + "region == 'x'\n", ERROR, 10, "has no column region"),
    ("filter type", "customs", GRANT, GRANT + FILTER + "7\n", ERROR, 10, "row_filter is not a text"),
    ("mask", "customs", GRANT, GRANT + "    mask: {capital: HASH}\n", ERROR, 10, "which it does not grant"),
    ("mask kind", "customs", GRANT, GRANT + "    mask: {name: BLUR}\n", ERROR, 10, "mask.name is not one of"),
    ("mask list", "customs", GRANT, GRANT + "    mask: [name]\n", ERROR, 10, "mask is not an object"),
    ("mask key", "customs", GRANT, GRANT + "    mask: {ent_id: DROP}\n", ERROR, 10, "could not be told apart"),
    ("sink", "customs", GRANT, GRANT + "    sink: other\n", ERROR, 10, "no sink other"),
    ("ends", "customs", GRANT, GRANT + "    valid_from: 2026-02-01\n    valid_to: 2026-01-01\n", ERROR, 11, "ends before it begins"),
    ("date", "customs", GRANT, GRANT + "    valid_from: soon\n", ERROR, 8, "is no date"),
    ("zone", "customs", GRANT, GRANT + "    valid_from: 2026-02-01T08:00:00\n", ERROR, 8, "has no time zone"),
    ("grant entry", "customs", GRANT, GRANT + "    rows: all\n", ERROR, 10, "no field of a grant rows"),
    ("grant id", "customs", GRANT, GRANT + "    grant_id: other\n", ERROR, 8, "its id does not match"),
    ("grant topic", "customs", GRANT, GRANT + "    grant_id: customs.aic.enterprise.核验\n", ERROR, 10, "cannot name a topic"),
    ("twice", "customs", GRANT, GRANT + "    purpose: 统计\n  - feed: aic.enterprise\n" + GRANT, ERROR, 11, "is there twice"),
    ("key twice", "customs", GRANT, GRANT + "    feed: aic.other\n", ERROR, 10, "given twice"),
    ("no grants", "customs", SUBSCRIBER[SUBSCRIBER.index("grants"):], "", WARNING, 1, "has no grants"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "old", "new", "severity", "line", "message"), [f[1:] for f in FILES], ids=[f[0] for f in FILES]
)
def test_file_problem_is_found_on_its_line(tmp_path, where, old, new, severity, line, message):
    text = changed(AGENCY if where == "aic" else SUBSCRIBER, old, new)
    report = check(write(tmp_path, **{"agency" if where == "aic" else "subscriber": text}))
    match = [problem for problem in report.problems if message in problem.message]
    assert match, report.problems
    assert (match[0].severity, match[0].line) == (severity, line)
    assert match[0].fix
    if severity is WARNING:
        assert report.is_ok


def test_star_is_answered_with_the_list_to_paste(tmp_path):
    report = check(write(tmp_path, subscriber=changed(SUBSCRIBER, "[ent_id, name]", '"*"')))
    assert "columns: [ent_id, name, capital, legal_rep_id, secret, updated_at]" in report.errors[0].fix


def test_filter_on_a_keyed_only_feed_names_the_statement(tmp_path):
    text = changed(SUBSCRIBER, GRANT, GRANT + FILTER + "name == 'x'\n")
    contract = Contract.parse(json.loads(CONTRACT), "aic.enterprise")
    directory = Directory(feeds={"aic.enterprise": entry(contract, is_keyed_only=True)})
    report = check(write(tmp_path, subscriber=text), directory=directory)
    assert "ALTER TABLE public.enterprise REPLICA IDENTITY FULL" in report.errors[0].fix
    by_key = changed(SUBSCRIBER, GRANT, GRANT + FILTER + "ent_id != 'x'\n")
    (tmp_path / "customs" / "subscriber.yaml").write_text(by_key)
    assert check(tmp_path, directory=directory).is_ok


def test_same_table_or_agency_twice(tmp_path):
    write(tmp_path)
    (tmp_path / "aic" / "firm.avsc").write_text(CONTRACT)
    (tmp_path / "zz").mkdir()
    (tmp_path / "zz" / "agency.yaml").write_text(AGENCY)
    messages = [problem.message for problem in check(tmp_path).errors]
    assert any("has a contract in enterprise.avsc already" in message for message in messages)
    assert any("is defined in" in message for message in messages)


def test_file_name_that_cannot_be_a_feed(tmp_path):
    assert "is no feed name" in check(write(tmp_path, stem="Enterprise-2")).errors[0].message


def test_dates_mean_midnight_in_shanghai_and_masks_are_read(tmp_path):
    more = GRANT + "    mask: {name: MASK}\n    valid_from: 2026-01-01\n    valid_to: '2026-06-01T08:00:00+08:00'\n"
    city = load(write(tmp_path, subscriber=changed(SUBSCRIBER, GRANT, more)))
    grant = city.subscribers[0].grants[0]
    assert grant.valid_from == datetime(2026, 1, 1, tzinfo=SHANGHAI)
    assert grant.valid_to == datetime(2026, 6, 1, 8, tzinfo=SHANGHAI)
    assert grant.mask == {"name": Mask.MASK}


def test_connection_comes_from_the_environment():
    assert resolved("${MESH_X}", {"MESH_X": "dsn"}, "agency x") == "dsn"
    assert resolved("postgresql://h/d", {}, "agency x") == "postgresql://h/d"
    with pytest.raises(Misconfigured, match="MESH_X"):
        resolved("${MESH_X}", {}, "agency x")


class Running:
    """A registry that holds the versions of one contract, judged by the real rules."""

    def __init__(self, contract):
        self._schemas = {
            value_subject(contract.feed): value_schema(contract),
            key_subject(contract.feed): key_schema(contract),
        }

    def latest(self, subject):
        return (1, 1, self._schemas[subject]) if subject in self._schemas else None

    def breaches(self, subject, schema):
        return breaches([self._schemas[subject]], schema, "FULL_TRANSITIVE")


def entry(contract, *, is_keyed_only=False):
    return FeedEntry(
        contract=contract, version=1, key_schema_id=1, value_schema_id=2, partitions=4, is_keyed_only=is_keyed_only
    )


def against_running(folder, contract_text, *grants):
    running = Contract.parse(json.loads(CONTRACT), "aic.enterprise")
    entries = {g.grant_id: GrantEntry(grant=g, key_schema_id=3, value_schema_id=4, version=1) for g in grants}
    directory = Directory(feeds={"aic.enterprise": entry(running)}, grants=entries)
    write(folder, contract=contract_text)
    return check(folder, Running(running), directory)


CUSTOMS = Grant(
    grant_id="customs.aic.enterprise",
    subscriber="customs",
    feed="aic.enterprise",
    columns=("ent_id", "capital"),
    purpose="核验",
)
BOC = Grant(
    grant_id="boc.aic.enterprise",
    subscriber="boc",
    feed="aic.enterprise",
    columns=("ent_id",),
    purpose="授信",
    row_filter="capital > 100",
)


def test_unchanged_and_added_column_are_fine(tmp_path):
    (tmp_path / "a").mkdir()
    report = against_running(tmp_path / "a", CONTRACT)
    assert (report.is_ok, report.feeds[0].standing) == (True, Standing.UNCHANGED)
    (tmp_path / "b").mkdir()
    more = changed(
        CONTRACT, NAME, NAME + ',\n  {"name": "region", "type": ["null", "string"], "default": null, "doc": "区"}'
    )
    report = against_running(tmp_path / "b", more, CUSTOMS)
    assert (report.is_ok, report.feeds[0].standing, report.feeds[0].added) == (True, Standing.SUCCESSOR, ["region"])


def test_another_table_than_the_feed_runs_on_is_told(tmp_path):
    table = json.loads(CONTRACT)
    table["gov"]["table"] = "public.firms"
    report = against_running(tmp_path, json.dumps(table))
    assert (report.is_ok, report.feeds[0].standing) == (True, Standing.SUCCESSOR)
    told = [(problem.message, problem.fix) for problem in report.warnings if "public.firms" in problem.message]
    assert told == [
        (
            "names table public.firms, and aic.enterprise runs on public.enterprise: its rows are copied anew from there",
            "where that is not meant, put the contract that runs here: `mesh follow aic.enterprise --contract` prints it",
        )
    ]


def test_changed_type_is_told_in_words_with_who_breaks(tmp_path):
    report = against_running(tmp_path, changed(CONTRACT, '"scale": 2', '"scale": 4'), CUSTOMS, BOC)
    messages = {problem.message for problem in report.errors}
    assert "decimal(18,2) becomes decimal(18,4); the same bytes would mean another value" in messages
    assert "changes for customs (grant customs.aic.enterprise, 核验)" in messages
    assert {(problem.field, problem.line) for problem in report.errors} == {("capital", 7)}
    assert report.feeds[0].standing is Standing.BREAKING
    assert report.feeds[0].broken_grants == ["boc.aic.enterprise", "customs.aic.enterprise"]


def test_dropped_column_breaks_those_who_receive_it_or_filter_by_it(tmp_path):
    start, end = CONTRACT.index('  {"name": "capital"'), CONTRACT.index('  {"name": "legal_rep_id"')
    report = against_running(tmp_path, CONTRACT[:start] + CONTRACT[end:], CUSTOMS, BOC)
    messages = [problem.message for problem in report.errors]
    assert any("customs receives it" in message for message in messages)
    assert any("boc filters rows by it" in message for message in messages)
    assert report.feeds[0].dropped == ["capital"]


def test_dropped_column_that_nobody_has_is_fine(tmp_path):
    start, end = CONTRACT.index('  {"name": "secret"'), CONTRACT.index('  {"name": "updated_at"')
    report = against_running(tmp_path, CONTRACT[:start] + CONTRACT[end:], CUSTOMS)
    assert (report.is_ok, report.feeds[0].dropped) == (True, ["secret"])


def test_key_is_for_life(tmp_path):
    text = changed(CONTRACT, '"key": ["ent_id"]', '"key": ["ent_id", "updated_at"]')
    report = against_running(tmp_path, text)
    assert any("for life" in problem.message for problem in report.errors)
    assert report.feeds[0].standing is Standing.BREAKING


def test_report_reads_well_and_as_json(tmp_path):
    report = check(write(tmp_path, contract=changed(CONTRACT, '"scale": 2', '"scale": 20')))
    out = StringIO()
    report.render(Console(file=out, width=60))
    text = out.getvalue()
    assert "aic/enterprise.avsc:7  error  capital: the scale is not between" in text
    assert "fix: correct the two numbers" in text
    assert "1 errors, 0 warnings" in text
    assert json.loads(json.dumps(report.to_json()))["problems"][0]["line"] == 7
