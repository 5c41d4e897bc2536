from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ops.metrics.exporter import Exporter
from ops.metrics.flow_metrics import BoardMetrics, FlowMetrics
from ops.metrics.hop_metrics import CaptureMetrics, DeliveryMetrics, StreamMetrics
from ops.metrics.incident_metrics import CountedIncidents
from ops.metrics.metric import LATENCY_BUCKETS_SECONDS, METRICS
from ops.metrics.page import serve
from ops.metrics.scrape import Samples, gather, increase, parse, quantile, rate, scrape
from ops.prometheus.configuration import register, targets, unregister, write_prometheus_config
from ops.watch.health import DOWN, OK, STUCK, Health
from ops.watch.lag import TopicLag
from schemas.agreement.directory import Directory, GrantEntry
from schemas.agreement.grant import Grant
from schemas.errors import Misconfigured, Transient
from schemas.incident import MemoryIncidents


@pytest.fixture
def exporter() -> Exporter:
    return Exporter(clock=lambda: 0.0)


@pytest.fixture
def served(tmp_path: Path, exporter: Exporter) -> Iterator[tuple[Path, Exporter]]:
    page = serve(tmp_path, "delivery", exporter)
    yield tmp_path, exporter
    page.close()


def exported(exporter: Exporter) -> Samples:
    families = exporter.registry.collect()
    return Samples((sample.name, sample.labels, sample.value) for family in families for sample in family.samples)


def report_everything(exporter: Exporter) -> None:
    capture, streams, delivery = CaptureMetrics(exporter), StreamMetrics(exporter), DeliveryMetrics(exporter)
    capture.captured("police.resident", "c", 3, 300)
    capture.rejected("police.resident", "numeric_nan", 1)
    capture.lag("police.main", 0.5)
    capture.snapshot("police.resident", 10, 40)
    capture.connected("police.main", True)
    capture.retained("police.main", 1 << 20)
    streams.processed("police.resident", 3, 300)
    streams.rejected("police.resident", "rule_uscc_ok", 2)
    streams.routed("tax.police.resident", 2, 1, 200)
    streams.backfilled("tax.police.resident", 5)
    streams.lags({"police.resident": TopicLag(records=9, seconds=0.5, confirmed=3, by_partition={0: (9, 0.5)})})
    flows = FlowMetrics(exporter)
    flows.taken("person", 3)
    flows.emitted("person", "base.person", "c", 2, 200)
    flows.queued("person", "NAME_CONFLICT", 1)
    flows.clock("person", 1_477_872_000_000_000)
    flows.restored(0, 5, 10)
    flows.lag("person", 56_000, 700)
    flows.task_lag("0", 800, 12)
    boards = BoardMetrics(exporter)
    boards.figure("tax.rule_precision", "W1", "confirmed", 3)
    boards.figure("tax.rule_precision", "W2", "confirmed", 4)
    boards.figure("tax.rule_precision", "W2", "confirmed", None)
    delivery.delivered("tax.police.resident", 2, 200, [0.012, 0.2])
    delivery.dead("tax.police.resident", "constraint", 1)
    delivery.retried("tax", "main")
    delivery.lag("tax.police.resident", 1.5)
    delivery.parked("tax", "main", True)
    delivery.paused("tax.police.resident", "person")
    delivery.replayed("tax.police.resident")
    exporter.counter("mesh_promised_total")["tax", "police.resident", "yes"].inc()
    for name in TOLD_BY_WATCHES:
        exporter.gauge(name)[tuple(METRICS[name].labels)].set(1)
    CountedIncidents(MemoryIncidents(), exporter).begin("sink", "tax.main", state="parked", reason="it is away")


TOLD_BY_WATCHES = {
    name
    for name in METRICS
    if name.startswith(("mesh_contract", "mesh_grant", "mesh_ledger", "mesh_kafka", "mesh_disk", "mesh_certificate"))
} | {"mesh_promised_seconds", "mesh_hop"}
"""What tests/unit/ops/test_watched.py reads."""


def test_every_metric_of_the_list_is_exported_with_its_labels_and_no_other(exporter: Exporter) -> None:
    report_everything(exporter)
    found: dict[str, set[str]] = {}
    for family in exporter.registry.collect():
        for sample in family.samples:
            name = sample.name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
            if sample.name.startswith("mesh_"):
                found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert found == {name: set(metric.labels) for name, metric in METRICS.items()}


def test_observers_count_where_they_say(exporter: Exporter) -> None:
    report_everything(exporter)
    samples = exported(exporter)
    grant = {"subscriber": "tax", "feed": "police.resident", "grant_id": "tax.police.resident"}
    assert samples.total("mesh_events_total", feed="police.resident", op="c") == 3
    assert samples.total("mesh_rejected_total", hop="capture", reason="numeric_nan") == 1
    assert samples.total("mesh_rejected_total", hop="streams", reason="rule_uscc_ok") == 2
    assert samples.total("mesh_routed_total", **grant) == 2
    assert samples.total("mesh_suppressed_total", **grant) == 1
    assert samples.total("mesh_delivered_bytes_total", **grant) == 200
    assert samples.total("mesh_dead_total", reason="constraint", **grant) == 1
    assert samples.latest("mesh_parked", subscriber="tax", sink="main") == 1
    assert samples.latest("mesh_snapshot_rows_expected", feed="police.resident") == 40
    assert samples.total("mesh_delivery_latency_seconds_count", subscriber="tax") == 2
    assert samples.total("mesh_delivery_latency_seconds_sum", subscriber="tax") == pytest.approx(0.212)


def test_a_grant_of_a_second_purpose_is_counted_under_its_feed(exporter: Exporter) -> None:
    grant = Grant(
        grant_id="tax.police.person.resident.audit",
        subscriber="tax",
        feed="police.person.resident",
        columns=("name",),
        purpose="audit",
    )
    entry = GrantEntry(grant=grant, key_schema_id=1, value_schema_id=2, version=1)
    directory = Directory(grants={grant.grant_id: entry})
    StreamMetrics(exporter, lambda: directory).routed(grant.grant_id, 1, 0, 10)
    StreamMetrics(exporter).routed("tax.police.resident.audit", 1, 0, 10)
    samples = exported(exporter)
    assert samples.total("mesh_routed_total", feed="police.person.resident", subscriber="tax") == 1
    assert samples.total("mesh_routed_total", feed="police.resident", subscriber="tax") == 1


def test_a_page_is_served_and_found_by_prometheus_until_it_is_closed(tmp_path: Path, exporter: Exporter) -> None:
    write_prometheus_config(tmp_path)
    CaptureMetrics(exporter).captured("police.resident", "c", 7, 70)
    page = serve(tmp_path, "capture-police", exporter)
    groups = json.loads((tmp_path / "prometheus" / "targets.json").read_text())
    assert groups == [{"targets": [f"127.0.0.1:{page.port}"], "labels": {"instance": "capture-police"}}]
    samples, answered = gather(tmp_path)
    assert answered == {"capture-police"}
    assert samples.total("mesh_events_total", process="capture-police") == 7
    assert samples.latest("mesh_build_info") == 1
    assert samples.total("process_cpu_seconds_total") > 0
    page.close()
    assert json.loads((tmp_path / "prometheus" / "targets.json").read_text()) == []
    with pytest.raises(Transient):
        scrape(page.port)


def test_a_crashed_process_stays_a_target_and_its_successor_takes_its_place(tmp_path: Path) -> None:
    crashed = register(tmp_path, "streams", 1)
    register(tmp_path, "delivery", 2)
    _, answered = gather(tmp_path)
    assert answered == frozenset()
    successor = register(tmp_path, "streams", 3)
    unregister(tmp_path, crashed)
    assert [(target.process, target.port) for target in targets(tmp_path)] == [("delivery", 2), ("streams", 3)]
    unregister(tmp_path, successor)
    assert [target.process for target in targets(tmp_path)] == ["delivery"]


def test_a_process_name_cannot_lead_out_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        register(tmp_path, "../capture", 1)


def test_a_taken_port_says_what_to_do(tmp_path: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MESH_METRICS_PORT", str(taken.getsockname()[1]))
        with pytest.raises(Misconfigured, match="free port"):
            serve(tmp_path, "capture", exporter)
    monkeypatch.setenv("MESH_METRICS_PORT", "many")
    with pytest.raises(Misconfigured, match="MESH_METRICS_PORT"):
        serve(tmp_path, "capture", exporter)


def test_prometheus_configuration_finds_targets_and_rules_beside_it(tmp_path: Path) -> None:
    config = yaml.safe_load(write_prometheus_config(tmp_path).read_text())
    home = tmp_path / "prometheus"
    (scrape_config,) = config["scrape_configs"]
    assert all((home / name).is_file() for name in config["rule_files"])
    assert all((home / name).is_file() for name in scrape_config["file_sd_configs"][0]["files"])
    assert json.loads((home / "targets.json").read_text()) == []


def test_latencies_fall_into_the_buckets_that_prometheus_expects(served: tuple[Path, Exporter]) -> None:
    directory, exporter = served
    DeliveryMetrics(exporter).delivered("tax.police.resident", 4, 1, [0.005, 0.0051, 9.9, 601.0])
    DeliveryMetrics(exporter).delivered("health.police.resident", 1, 1, [0.3])
    samples, _ = gather(directory)
    buckets = dict(samples.buckets("mesh_delivery_latency_seconds", subscriber="tax"))
    assert list(buckets) == [*LATENCY_BUCKETS_SECONDS, float("inf")]
    assert (buckets[0.005], buckets[0.01], buckets[7.5], buckets[600.0], buckets[float("inf")]) == (1, 2, 2, 3, 4)
    assert dict(samples.buckets("mesh_delivery_latency_seconds"))[float("inf")] == 5


def test_quantiles_agree_with_the_values_within_a_bucket(exporter: Exporter) -> None:
    latencies = [index / 1000 for index in range(1, 1001)]  # 1 ms to 1 s, evenly
    DeliveryMetrics(exporter).delivered("tax.police.resident", 1000, 1, latencies)
    buckets = exported(exporter).buckets("mesh_delivery_latency_seconds")
    for q in (0.01, 0.5, 0.95, 0.99, 1.0):
        assert quantile(buckets, q) == pytest.approx(q, rel=0.02)


def test_quantile_of_nothing_is_none_and_beyond_the_last_bound_is_that_bound() -> None:
    inf = float("inf")
    assert quantile([], 0.5) is None
    assert quantile([(1.0, 0), (inf, 0)], 0.5) is None
    assert quantile([(1.0, 1), (10.0, 1), (inf, 10)], 0.99) == 10.0


def test_rates_survive_a_restart_of_one_process_among_others() -> None:
    name = "mesh_events_total"
    before = Samples([(name, {"process": "a"}, 1000.0), (name, {"process": "b"}, 500.0)], at_seconds=10)
    after = Samples([(name, {"process": "a"}, 30.0), (name, {"process": "b"}, 600.0)], at_seconds=12)
    assert rate(before, after, name) == (30 + 100) / 2
    assert rate(None, after, name) == 0
    assert rate(after, after, name) == 0


def test_increase_of_a_histogram_is_what_came_since() -> None:
    assert increase([(1.0, 2), (2.0, 3)], [(1.0, 2), (2.0, 5)]) == [(1.0, 0), (2.0, 2)]
    assert increase([(1.0, 2), (2.0, 3)], [(1.0, 1), (2.0, 1)]) == [(1.0, 1), (2.0, 1)]


def test_lag_that_does_not_move_is_stuck_even_when_reports_have_ceased() -> None:
    now = 1000.0
    health = Health(lambda: now)
    health.lag("grant", "hangs", 5.0)
    health.lag("grant", "waits", 5.0)
    health.lag("grant", "crawls", 5.0)
    health.lag("grant", "idle", 0.0)
    for _ in range(4):
        now += 30
        health.lag("grant", "waits", now - 995.0)  # its oldest change is always the same one
        health.lag("grant", "crawls", 5.0 + (now - 1000.0) / 2)  # falls behind, and moves
    assert dict((name, status) for _, name, status in health.statuses()) == {
        "hangs": STUCK,
        "waits": STUCK,
        "crawls": OK,
        "idle": OK,
    }


def test_health_on_the_page_is_one_hot(exporter: Exporter) -> None:
    CaptureMetrics(exporter).connected("police.main", False)
    series = exported(exporter).series("mesh_entity_health", kind="source", entity="police.main")
    assert {labels["status"]: value for labels, value in series} == {OK: 0, STUCK: 0, DOWN: 1}
    CaptureMetrics(exporter).connected("police.main", True)
    assert exported(exporter).latest("mesh_entity_health", status=OK) == 1


def test_pages_parse_label_values_that_need_escaping() -> None:
    page = '# TYPE a counter\na_total{reason="x\\"y\\\\z"} 3.0\n'
    assert list(parse(page)) == [("a_total", {"reason": 'x"y\\z'}, 3.0)]
