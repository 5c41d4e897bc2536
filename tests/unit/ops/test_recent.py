from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ops.metrics.exporter import Exporter
from ops.metrics.hop_metrics import CaptureMetrics, DeliveryMetrics
from ops.metrics.page import serve
from ops.metrics.recent import WINDOW_SECONDS, Recent
from ops.metrics.scrape import WITHIN_SECONDS, Samples, gather, gather_recent, rate
from ops.watch.status import StatusReader
from schemas.agreement.directory import Directory


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Path]:
    """A mesh of five processes that take a question and never answer it."""
    home = tmp_path / "prometheus" / "process"
    home.mkdir(parents=True)
    with ExitStack() as opened:
        for number in range(5):
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            entry = {"process": f"deaf-{number}", "port": listener.getsockname()[1], "pid": os.getpid()}
            (home / f"deaf-{number}.json").write_text(json.dumps(entry))
        yield tmp_path


def test_processes_that_hang_are_waited_for_at_once_and_not_one_after_the_other(deaf: Path) -> None:
    exporter = Exporter()
    CaptureMetrics(exporter).captured("police.resident", "c", 7, 70)
    with closing(serve(deaf, "capture", exporter)):
        started = time.monotonic()
        status = StatusReader(deaf, Directory, lambda _groups: {}, time.time).read()
        took_seconds = time.monotonic() - started
    assert took_seconds < 2 * WITHIN_SECONDS
    states = {process.process: process.state for process in status.processes}
    assert states.pop("capture") == "up"
    assert set(states.values()) == {"silent"}


def test_the_window_keeps_what_is_as_old_as_it_is_long_and_no_more() -> None:
    now, counted = 100.0, 0

    def render() -> bytes:
        return b"%d" % counted

    recent = Recent(render, lambda: now)
    recent.take()
    assert recent.oldest() == (0.0, b"0")
    for _ in range(10):
        now, counted = now + WINDOW_SECONDS / 2, counted + 1
        recent.take()
    age_seconds, page = recent.oldest()
    assert (age_seconds, page) == (WINDOW_SECONDS, b"8")


def test_one_look_tells_a_rate_and_a_latency(tmp_path: Path) -> None:
    exporter = Exporter()
    with closing(serve(tmp_path, "hop", exporter)):
        CaptureMetrics(exporter).captured("police.resident", "c", 500, 70)
        DeliveryMetrics(exporter).delivered("tax.police.resident", 1, 1, [0.02])
        before, (after, _) = gather_recent(tmp_path), gather(tmp_path)
    assert before.total("mesh_events_total") == 0
    assert rate(before, after, "mesh_events_total", feed="police.resident") > 50
    assert before.buckets("mesh_delivery_latency_seconds") == []


def test_what_a_process_counted_before_anybody_knows_when_is_no_rate() -> None:
    name = "mesh_events_total"
    before = Samples([(name, {"process": "told"}, 10.0)], at_seconds=50, ages={"told": 10.0})
    after = Samples([(name, {"process": "told"}, 40.0), (name, {"process": "new"}, 1e6)], at_seconds=50)
    assert rate(before, after, name) == 3
