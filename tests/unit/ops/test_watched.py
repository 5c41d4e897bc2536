"""What is told of beside the hops' own work: series that begin at zero, what is agreed, the host, Kafka."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops.ledger.balance import Balance, Line
from ops.metrics.directory_metrics import DirectoryMetrics, news_of
from ops.metrics.exporter import Exporter
from ops.metrics.hop_metrics import CaptureMetrics, DeliveryMetrics, StreamMetrics
from ops.metrics.host_metrics import HostMetrics
from ops.metrics.watch_metrics import KafkaMetrics, LedgerMetrics
from ops.watch.offsets.brokers import Brokers
from schemas.agreement.directory import Directory
from schemas.agreement.grant import Status
from schemas.contract import Contract
from tests.stage.secured import Authority
from tests.unit.ops.test_present import exported
from tests.unit.ops.test_status import FEED, GRANT, directory

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=3)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter(lambda: 0.0)


def promising(seconds: int) -> Directory:
    """The directory with a promise, a fatal rule, and a grant that ends."""
    present = directory()
    entry, granted = present.feeds[FEED], present.grants[GRANT]
    rules = [{"name": "known", "expr": "true", "onFailure": "DLQ"}, {"name": "odd", "expr": "true"}]
    record = dict(entry.contract.record)
    record["gov"] = {**record["gov"], "freshnessSloSeconds": seconds, "class": "CONDITIONAL", "rules": rules}
    feed = replace(entry, contract=Contract.parse(record, FEED), version=3)
    return Directory(feeds={FEED: feed}, grants={GRANT: replace(granted, grant=replace(granted.grant, valid_to=END))})


def test_what_is_known_begins_at_zero_and_is_counted_on(exporter: Exporter) -> None:
    present = promising(60)
    delivery = DeliveryMetrics(exporter, lambda: present)
    observers = (CaptureMetrics(exporter), StreamMetrics(exporter, lambda: present), delivery)
    delivery.dead(GRANT, "not_decodable", 2)
    for observer in observers:
        observer.known(present)
    samples = exported(exporter)
    assert [labels["op"] for labels, _ in samples.series("mesh_events_total", feed=FEED)] == list("cudrt")
    reasons = {(labels["hop"], labels["reason"]) for labels, _ in samples.series("mesh_rejected_total")}
    assert reasons == {("capture", "not_encodable"), ("streams", "not_decodable"), ("streams", "rule_known")}
    for name in ("mesh_routed_total", "mesh_suppressed_total", "mesh_delivered_total", "mesh_backfilled_total"):
        assert samples.series(name, grant_id=GRANT)[0][1] == 0, name
    for name in ("mesh_retries_total", "mesh_parked"):
        assert samples.series(name) == [({"subscriber": "tax", "sink": "main"}, 0)], name
    assert samples.total("mesh_delivery_latency_seconds_count", subscriber="tax", origin="captured") == 0
    assert samples.buckets("mesh_delivery_latency_seconds", subscriber="tax")
    assert samples.total("mesh_dead_total", grant_id=GRANT) == 2


def test_promises_are_kept_or_missed_by_what_the_contract_says(exporter: Exporter) -> None:
    present = promising(60)
    delivery = DeliveryMetrics(exporter, lambda: present)
    delivery.delivered(GRANT, 4, 400, [0.1, 59.9, 60.1])
    samples = exported(exporter)
    assert samples.total("mesh_promised_total", kept="yes", feed=FEED) == 2
    assert samples.total("mesh_promised_total", kept="no", subscriber="tax") == 1
    unpromised = DeliveryMetrics(other := Exporter(lambda: 0.0), directory)
    unpromised.delivered(GRANT, 1, 100, [900.0])
    assert exported(other).series("mesh_promised_total") == []


def test_what_is_agreed_is_on_the_page_as_long_as_it_is(exporter: Exporter) -> None:
    agreed = DirectoryMetrics(exporter)
    agreed.look(promising(60), NOW)
    samples = exported(exporter)
    told = {"feed": FEED, "agency": "police", "origin": "captured", "sharing": "CONDITIONAL"}
    assert samples.series("mesh_contract_version") == [(told, 3.0)]
    assert samples.latest("mesh_grant_ends_timestamp_seconds", grant_id=GRANT) == END.timestamp()
    assert samples.latest("mesh_promised_seconds", grant_id=GRANT) == 60
    assert samples.series("mesh_grants") == [({"subscriber": "tax", "status": "ACTIVE"}, 1.0)]
    agreed.look(promising(60), END)
    samples = exported(exporter)
    assert samples.series("mesh_grants") == [({"subscriber": "tax", "status": "EXPIRED"}, 1.0)]
    assert samples.series("mesh_grant_ends_timestamp_seconds") == samples.series("mesh_promised_seconds") == []
    agreed.look(directory(Status.SUSPENDED), NOW)
    assert exported(exporter).series("mesh_grants") == [({"subscriber": "tax", "status": "SUSPENDED"}, 1.0)]


def test_only_news_of_the_directory_is_taken_up() -> None:
    taken: list[Directory] = []
    present = [directory()]
    look = news_of(lambda: present[0], taken.append)
    look(), look()
    present[0] = directory()
    look()
    assert len(taken) == 2


def test_the_disk_and_the_certificates_of_a_host(exporter: Exporter, tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path / "authority").certificate("hub", days=12)
    (tmp_path / "none.pem").write_text("no certificate")
    named = {"MESH_TLS_CERTIFICATE": str(certificate), "MESH_KAFKA_CERTIFICATE": str(tmp_path / "none.pem")}
    HostMetrics(tmp_path, named, exporter).look()
    samples = exported(exporter)
    (found,) = samples.series("mesh_certificate_ends_timestamp_seconds")
    assert found[0]["certificate"] == "server"
    left = datetime.fromtimestamp(found[1], UTC) - datetime.now(UTC)
    assert timedelta(days=11) < left <= timedelta(days=12)
    assert 0 < samples.total("mesh_disk_free_bytes") <= samples.total("mesh_disk_size_bytes")


def partition(leader: int, in_sync: list[int]) -> SimpleNamespace:
    return SimpleNamespace(leader=leader, isrs=in_sync, replicas=[1, 2, 3])


def test_kafkas_metadata_say_what_is_wrong_and_its_silence_too(exporter: Exporter) -> None:
    partitions = {0: partition(1, [1, 2, 3]), 1: partition(1, [1]), 2: partition(-1, [])}
    metadata = SimpleNamespace(brokers={1: "a", 2: "b"}, topics={FEED: SimpleNamespace(partitions=partitions)})
    kafka = KafkaMetrics("mesh.streams", exporter)
    kafka.show(Brokers.of(metadata))
    samples = exported(exporter)
    assert samples.latest("mesh_kafka_brokers", group="mesh.streams") == 2
    states = {labels["state"]: value for labels, value in samples.series("mesh_kafka_partitions")}
    assert states == {"all": 3, "offline": 1, "under_replicated": 2}
    kafka.show(None)
    assert exported(exporter).latest("mesh_kafka_brokers") == 0
    assert exported(exporter).series("mesh_kafka_partitions") == []


def test_lines_of_the_ledger_leave_with_what_they_are_of(exporter: Exporter) -> None:
    ledger = LedgerMetrics(exporter)
    ledger.show(Balance({FEED: Line(name=FEED, handovers=())}, {GRANT: Line(name=GRANT, handovers=())}))
    samples = exported(exporter)
    assert samples.values("mesh_ledger_standing", "line") == [FEED, GRANT]
    assert samples.latest("mesh_ledger_records", line=FEED, side="written") == 0
    ledger.show(Balance({FEED: Line(name=FEED, handovers=())}))
    assert exported(exporter).values("mesh_ledger_records", "line") == [FEED]
