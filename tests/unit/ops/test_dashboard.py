from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.dashboards import overview
from ops.metrics.metric import METRICS
from ops.prometheus.configuration import JOB, RULES
from ops.watch.health import STATUSES

HOME = Path(overview.__file__).parent
DASHBOARD = overview.generate()
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(panel, target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
OTHERS = {
    "process_cpu_seconds_total": "prometheus-client's own, on every page",
    "up": "Prometheus' own, for each target",
}
_NAME = re.compile(r"\b[a-z_:][a-z0-9_:]*\b")
_KEYWORDS = {
    "by",
    "on",
    "le",
    "or",
    "and",
    "unless",
    "offset",
    "sum",
    "max",
    "rate",
    "increase",
    "histogram_quantile",
    "min_over_time",
}
_STRING = re.compile(r'"[^"]*"')


def metrics_in(expr: str) -> set[str]:
    """Metric names in PromQL of the simple kind used here: names that are neither functions, labels nor durations."""
    bare = _STRING.sub('""', expr)
    bare = re.sub(r"\{[^}]*\}", " ", bare)  # matchers
    bare = re.sub(r"\[[^\]]*\]", " ", bare)  # ranges
    bare = re.sub(r"\b(by|on)\s*\([^)]*\)", " ", bare)  # groupings
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    return {name for name in _NAME.findall(bare) if name not in _KEYWORDS and not re.fullmatch(r"e\d+", name)}


def family(name: str) -> str:
    return name.removesuffix("_bucket") if name.endswith("_bucket") else name


def labels_in(expr: str) -> Iterator[tuple[str, str]]:
    """(metric, label) for each matcher on a metric."""
    for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", _STRING.sub('""', expr)):
        for matcher in filter(None, matchers.split(",")):
            yield name, re.split(r"[=!~]", matcher)[0].strip()


def test_the_committed_json_is_what_the_generator_writes() -> None:
    assert overview.OUTPUT.read_text() == overview.render(), "run: python -m ops.dashboards.overview"


def test_the_dashboard_is_not_edited_by_hand_and_has_an_identity() -> None:
    assert DASHBOARD["editable"] is False
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_data_source_job_and_instance_are_variables() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for name in ("job", "instance", "feed", "subscriber"):
        assert variables[name]["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        (metric,) = metrics_in(re.sub(r"label_values\((.*), \w+\)", r"\1", variables[name]["query"]["query"]))
        assert metric in METRICS


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_says_what_it_shows_in_which_unit_from_the_templated_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for holder in (panel, *panel["targets"]):
        assert holder["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_a_query_asks_for_what_is_exported_of_the_chosen_processes(panel: dict[str, Any], expr: str) -> None:
    names = metrics_in(expr)
    assert names, expr
    for name in names:
        assert family(name) in METRICS or name in OTHERS, f"{name} is not exported"
        assert f"{name}{{{overview.WHO}" in expr, f"{name} lacks the job and instance matchers"
    for name, label in labels_in(expr):
        exported = METRICS.get(family(name))
        assert label in {"job", "instance"} or (exported and label in exported.labels), f"{name} has no label {label}"


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_counters_stand_under_rate_or_increase_and_gauges_do_not(panel: dict[str, Any], expr: str) -> None:
    for name in metrics_in(expr):
        exported = METRICS.get(family(name))
        kind = exported.kind if exported else "counter"
        under = re.search(r"(rate|increase)\(" + name + r"\{[^}]*\}\[(\$__rate_interval|\$__range)\]\)", expr)
        assert bool(under) == (kind != "gauge"), f"{name} is a {kind}"
        if under:
            assert under.group(2) == ("$__rate_interval" if under.group(1) == "rate" else "$__range")


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_queries_and_legends_group_by_labels_that_exist(panel: dict[str, Any], expr: str) -> None:
    groups = {name.strip() for group in re.findall(r"\bby \(([^)]*)\)", expr) for name in group.split(",")}
    known = {
        "le",
        "instance",
        *(label for name in metrics_in(expr) if family(name) in METRICS for label in METRICS[family(name)].labels),
    }
    assert groups <= known
    legend = next(target["legendFormat"] for target in panel["targets"] if target["expr"] == expr)
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= groups


def test_brackets_of_every_query_are_balanced() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            for pair in ("()", "{}", "[]"):
                assert target["expr"].count(pair[0]) == target["expr"].count(pair[1]), target["expr"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_exported_metric_is_on_a_panel() -> None:
    shown = {family(name) for panel in PANELS for target in panel["targets"] for name in metrics_in(target["expr"])}
    unseen = {
        "mesh_build_info": "a variable lists processes by it",
        "mesh_routed_total": "between suppressed and delivered; for a later page per grant",
        "mesh_routed_bytes_total": "the same",
    }
    assert set(METRICS) - shown == set(unseen)


def test_alerts_watch_what_is_exported_and_say_what_to_do() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])
    for rule in group["rules"]:
        names = metrics_in(rule["expr"])
        assert names
        assert all(name in METRICS or name in OTHERS for name in names), names
        for name, label in labels_in(rule["expr"]):
            assert label == "job" or label in METRICS[name].labels
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        groups = re.findall(r"\bby \(([^)]*)\)", rule["expr"]) or [""]
        carried = {label for name in names if name in METRICS for label in METRICS[name].labels} | {"instance"}
        assert used <= carried
        if groups[0] and "min_over_time" not in rule["expr"]:
            assert used <= {label.strip() for label in groups[0].split(",")}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["description"].endswith(".")
    assert f'up{{job="{JOB}"}}' in group["rules"][0]["expr"]
    statuses = re.findall(r'status="(\w+)"', RULES.read_text())
    assert statuses
    assert set(statuses) <= set(STATUSES)


def test_every_alert_has_a_firing_a_quiet_and_a_no_data_case_for_promtool() -> None:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for rule in group["rules"]}
    cases = yaml.safe_load(RULES.with_name("alerts_test.yml").read_text())["tests"]
    assert [case["name"] for case in cases] == ["trouble", "all well", "no data"]
    for case in cases:
        assert {rule["alertname"] for rule in case["alert_rule_test"]} == alerts, case["name"]
        for rule in case["alert_rule_test"]:
            assert bool(rule.get("exp_alerts")) == (case["name"] == "trouble")


def test_provisioning_files_are_what_grafana_reads() -> None:
    for name in ("dashboards", "datasource"):
        assert yaml.safe_load((HOME / "provisioning" / f"{name}.yml").read_text())["apiVersion"] == 1
    assert json.loads(overview.OUTPUT.read_text())["uid"] == "pearlmesh-overview"
