from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaModel

from ops.dashboards import all as dashboards
from ops.dashboards.all import DASHBOARDS, file_of, render
from ops.dashboards.panel import Dashboard
from ops.dashboards.variable import DATA_SOURCE, WHO
from ops.dashboards.variable import QUERIES as VARIABLES
from ops.metrics.metric import METRICS
from ops.prometheus.configuration import JOB, RULES
from ops.watch.health import STATUSES
from schemas.guard.table import TABLE

HOME = Path(dashboards.__file__).parent
MODELS = {dashboard.name: dashboard.model() for dashboard in DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}-{panel['title']}")
    for name, model in MODELS.items()
    for panel in model["panels"]
    if panel["type"] != "row"
]
QUERIES = [
    pytest.param(panel.values[0], target["expr"], id=f"{panel.id}-{target['refId']}")
    for panel in PANELS
    for target in panel.values[0]["targets"]
]
EVERY = [pytest.param(dashboard, id=dashboard.name) for dashboard in DASHBOARDS]
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
RECORDED = {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
OTHERS = {
    "process_cpu_seconds_total": "prometheus-client's own, on every page",
    "process_resident_memory_bytes": "the same",
    "process_open_fds": "the same",
    "process_max_fds": "the same",
    "process_start_time_seconds": "the same",
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
    "min",
    "count",
    "changes",
    "bool",
    "time",
    "vector",
    "absent",
    "label_replace",
    "group_left",
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
    bare = name.removesuffix("_bucket").removesuffix("_count")
    return bare if METRICS.get(bare, METRICS["mesh_board"]).kind == "histogram" else name


def labels_in(expr: str) -> Iterator[tuple[str, str]]:
    """(metric, label) for each matcher on a metric."""
    for name, matchers in re.findall(r"([a-z_:0-9]+)\{([^}]*)\}", _STRING.sub('""', expr)):
        for matcher in filter(None, matchers.split(",")):
            yield name, re.split(r"[=!~]", matcher)[0].strip()


def lost(given: Any, back: Any, where: str = "") -> Iterator[str]:
    """What of one JSON value is not in another."""
    if isinstance(given, dict):
        for key, value in given.items():
            if isinstance(back, dict) and key in back:
                yield from lost(value, back[key], f"{where}/{key}")
            else:
                yield f"{where}/{key}"
    elif isinstance(given, list):
        if not isinstance(back, list) or len(back) != len(given):
            yield where
        else:
            for number, (one, other) in enumerate(zip(given, back, strict=True)):
                yield from lost(one, other, f"{where}/{number}")
    elif given != back:
        yield f"{where}: {given!r} became {back!r}"


@pytest.mark.parametrize("dashboard", EVERY)
def test_the_committed_json_is_what_the_code_writes(dashboard: Dashboard) -> None:
    assert file_of(dashboard).read_text() == render(dashboard), "run: python -m ops.dashboards"


def test_there_is_no_other_file_for_grafana() -> None:
    assert {path.name for path in (HOME / "json").iterdir()} == {f"{name}.json" for name in MODELS}


@pytest.mark.parametrize("dashboard", EVERY)
def test_grafanas_own_model_takes_all_of_it(dashboard: Dashboard) -> None:
    register_default_plugins()
    given = json.loads(file_of(dashboard).read_text())
    back = json.loads(JSONEncoder().encode(GrafanaModel.from_json(given)))
    assert list(lost(given, back)) == []
    given["panels"][1]["fieldConfig"]["defaults"]["unknownToGrafana"] = 1
    back = json.loads(JSONEncoder().encode(GrafanaModel.from_json(given)))
    assert list(lost(given, back)) == ["/panels/1/fieldConfig/defaults/unknownToGrafana"]


@pytest.mark.parametrize("dashboard", EVERY)
def test_a_dashboard_is_not_edited_by_hand_and_has_an_identity(dashboard: Dashboard) -> None:
    model = MODELS[dashboard.name]
    assert model["editable"] is False
    assert model["title"]
    assert model["description"].endswith(".")
    assert len({panel["id"] for panel in model["panels"]}) == len(model["panels"])
    assert len({other["uid"] for other in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("dashboard", EVERY)
def test_what_is_chosen_is_a_variable_and_what_is_a_variable_is_used(dashboard: Dashboard) -> None:
    model = MODELS[dashboard.name]
    variables = {variable["name"]: variable for variable in model["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    used = {name for target in targets(model) for name in re.findall(r"\$([a-z_]+)", target["expr"])}
    assert used - {"__rate_interval", "__range"} == set(variables) - {"datasource", "console"}
    for name in set(variables) & set(VARIABLES):
        assert variables[name]["datasource"] == DATA_SOURCE
        (metric,) = metrics_in(re.sub(r"label_values\((.*), \w+\)", r"\1", variables[name]["query"]["query"]))
        assert metric in METRICS


def targets(model: dict[str, Any]) -> list[dict[str, Any]]:
    return [target for panel in model["panels"] for target in panel.get("targets", ())]


@pytest.mark.parametrize("panel", PANELS)
def test_a_click_leads_to_a_dashboard_that_takes_it(panel: dict[str, Any]) -> None:
    for link in panel["fieldConfig"]["defaults"].get("links", ()):
        found = re.fullmatch(r"/d/(pearlmesh-\w+)\?.*&var-(\w+)=\$\{__field\.labels\.(\w+)\}", link["url"])
        if found is None:
            of_console = re.fullmatch(
                r"\$\{console\}(/(?:grants/\$\{__field\.labels\.grant_id\})?)(?:#(\w+))?", link["url"]
            )
            assert of_console, link
            page, anchor = of_console[1].replace("${__field.labels.grant_id}", "{grant}"), of_console[2]
            assert f"GET {page}" in TABLE["console"]
            board = (HOME.parent / "console" / "templates" / "home_board.html").read_text()
            assert anchor is None or f'id="{anchor}"' in board
            continue
        uid, variable, label = found.groups()
        (there,) = [model for model in MODELS.values() if model["uid"] == uid]
        assert variable in {each["name"] for each in there["templating"]["list"]}
        assert any(f"{{{{{label}}}}}" in target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_from_the_templated_source(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for holder in (panel, *panel["targets"]):
        assert holder["datasource"] == DATA_SOURCE
    assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_a_query_asks_for_what_is_exported_of_the_chosen_processes(panel: dict[str, Any], expr: str) -> None:
    names = metrics_in(expr)
    assert names, expr
    for name in names - RECORDED:
        assert family(name) in METRICS or name in OTHERS, f"{name} is not exported"
        assert f"{name}{{{WHO}" in expr, f"{name} lacks the job and instance matchers"
    for name, label in labels_in(expr):
        if name in RECORDED:
            continue
        exported = METRICS.get(family(name))
        assert label in {"job", "instance"} or (exported and label in exported.labels), f"{name} has no label {label}"


@pytest.mark.parametrize(("panel", "expr"), QUERIES)
def test_counters_stand_under_rate_or_increase_and_gauges_do_not(panel: dict[str, Any], expr: str) -> None:
    for name in metrics_in(expr) - RECORDED:
        exported = METRICS.get(family(name))
        kind = exported.kind if exported else "counter" if name.endswith("_total") else "gauge"
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
        "provider",
        *(["subscriber"] if RECORDED & metrics_in(expr) else []),
        *(label for name in metrics_in(expr) if family(name) in METRICS for label in METRICS[family(name)].labels),
    }
    assert groups <= known
    legend = next(target["legendFormat"] for target in panel["targets"] if target["expr"] == expr)
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= (groups or known)


def test_brackets_of_every_query_are_balanced() -> None:
    for model in MODELS.values():
        for target in targets(model):
            for pair in ("()", "{}", "[]"):
                assert target["expr"].count(pair[0]) == target["expr"].count(pair[1]), target["expr"]


@pytest.mark.parametrize("dashboard", EVERY)
def test_panels_do_not_overlap(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in MODELS[dashboard.name]["panels"]:
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
    shown = {
        family(name) for model in MODELS.values() for target in targets(model) for name in metrics_in(target["expr"])
    }
    assert set(METRICS) - shown == set()


def test_a_share_has_an_end_of_its_scale_and_a_count_has_none() -> None:
    for panel in (param.values[0] for param in PANELS):
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults.get("max", 1) == 1
        assert "max" not in defaults or defaults["unit"] == "percentunit", panel["title"]


def test_provisioning_files_are_what_grafana_reads() -> None:
    for name in ("dashboards", "datasource"):
        assert yaml.safe_load((HOME / "provisioning" / f"{name}.yml").read_text())["apiVersion"] == 1


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_watches_what_is_exported_and_says_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    names = metrics_in(rule["expr"])
    assert names
    assert all(metric in RECORDED or family(metric) in METRICS or metric in OTHERS for metric in names), names
    for metric, label in labels_in(rule["expr"]):
        assert label == "job" or label in METRICS[family(metric)].labels
    used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    carried = {label for metric in names if metric in METRICS for label in METRICS[metric].labels}
    assert used <= carried | {"instance"} | ({"subscriber"} if names & RECORDED else set())
    groups = re.findall(r"\bby \(([^)]*)\)", rule["expr"])
    if groups and "min_over_time" not in rule["expr"]:
        assert used <= {label.strip() for label in groups[0].split(",")}
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["description"].endswith(".")
    for kind, status in re.findall(r'(status)="(\w+)"', rule["expr"]):
        assert status in STATUSES, kind


def test_what_is_absent_is_told_of_this_mesh() -> None:
    assert f'up{{job="{JOB}"}}' in ALERTS["MeshProcessDown"]["expr"]
    assert f'absent(up{{job="{JOB}"}})' in ALERTS["MeshNotWatched"]["expr"]


def test_every_alert_has_a_firing_a_quiet_and_a_no_data_case_for_promtool() -> None:
    files = (RULES.with_name(f"{name}_test.yml") for name in ("alerts", "objectives"))
    cases = [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
    assert {case["name"].partition(":")[0] for case in cases} == {"trouble", "all well", "no data"}
    for kind in ("trouble", "all well", "no data"):
        tested = [rule for case in cases if case["name"].startswith(kind) for rule in case["alert_rule_test"]]
        assert {rule["alertname"] for rule in tested} == set(ALERTS), kind
        for rule in tested:
            fires_without = kind == "no data" and rule["alertname"] == "MeshNotWatched"
            assert bool(rule.get("exp_alerts")) == (kind == "trouble" or fires_without), rule


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    home = HOME.parent / "runbooks"
    assert {path.stem for path in home.glob("*.md")} == set(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"ops/runbooks/{name}.md"
        text = (home / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        for heading in ("## What it means", "## What to look at", "## What to do"):
            assert text.count(f"\n{heading}\n") == 1, (name, heading)
        assert re.search(r"`mesh [a-z]", text), f"{name}: no command"
