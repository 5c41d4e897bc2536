"""Hop 3: the PostgreSQL sink beside what PostgreSQL takes without us, and the whole way of a change, by the clock.

Latency is what the mesh itself reports: the histogram of commit at the source to acknowledgement by the subscriber, over windows
in which the source commits at a steady rate and all three hops run as processes.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import psycopg

from ops.bench import subject
from ops.bench.figure import Figures
from ops.bench.growth import drain
from ops.bench.machine import Others, told
from ops.bench.scale import Scale
from ops.bench.sink import measure_debezium, measure_limit, measure_sink
from ops.bench.stage import Stage
from ops.metrics.scrape import Samples, gather, increase, quantile
from ops.run.hop import calm_collector
from schemas.errors import Transient

LATENCY = "mesh_delivery_latency_seconds"
DELIVERED = "mesh_delivered_total"
LIVE_TRANSACTION = 50
WARM_UP_SECONDS = 5.0
ARRIVES_WITHIN_SECONDS = 30.0
LIMIT = "COPY and upsert"
DEBEZIUM = "Debezium's JDBC sink"


def measure_sink_beside(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`sink_vs_limit` and `sink_vs_debezium`: every row inserted once and updated once.

    By our sink, by bare COPY and upsert, and by Debezium's JDBC sink, which is timed when it is warm.
    """
    calm_collector()  # as the delivery process does
    for run in range(1, scale.runs + 1):
        stage.say(f"sink, run {run} of {scale.runs}: {2 * scale.sink_rows:,} changes")
        sides = [
            ("mesh", lambda: measure_sink(stage.kafka, stage.dsn, rows=scale.sink_rows)),
            (LIMIT, lambda: measure_limit(stage.dsn, rows=scale.sink_rows)),
        ]
        rates: dict[str, float] = {}
        noise = 0.0
        for name, measure in sides if run % 2 else reversed(sides):
            stage.settle()
            others = Others()
            rate = measure()
            others.look(0)
            rates[name], share = rate.per_second, others.share()
            noise = max(noise, share)
            stage.say(f"  {name}: {rate.per_second:,.0f}/s, {rate.cpu_micros:.1f} us of our CPU each{told(share)}")
        figures.compare("sink_vs_limit", rates["mesh"], LIMIT, rates[LIMIT], others=noise)
        if scale.has_peers:
            stage.settle()
            theirs = measure_debezium(stage, f"jdbc{run}", rows=scale.sink_rows)
            stage.say(f"  {DEBEZIUM}: {theirs}")
            others = max(noise, theirs.others)
            figures.compare("sink_vs_debezium", rates["mesh"], DEBEZIUM, theirs.per_second, others=others)


def measure_latency(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`latency_p99_seconds` and `latency_p50_seconds`, one reading of each per window."""
    subject.create(stage.dsn)
    feed = stage.onboard_agency("live")
    try:
        stage.onboard_subscriber("subscriber", feed, is_cut=False)
        with ExitStack() as hops:
            running = [hops.enter_context(stage.hop(name)) for name in ("capture", "streams", "delivery")]
            drain(stage.console, "the first rows", lambda: _delivered(stage), subject.SEED_ROWS, running[-1])
            first = subject.SEED_ROWS + 1
            for run in range(scale.runs + 1):
                seconds = scale.live_seconds if run else WARM_UP_SECONDS
                window = f"window {run} of {scale.runs}" if run else "warming up"
                stage.say(f"latency, {window}: {scale.live_rate:,} changes/s for {seconds:g} s")
                transactions = int(scale.live_rate * seconds / LIVE_TRANSACTION)
                p50, p99, share = _window(stage, first, transactions, LIVE_TRANSACTION / scale.live_rate)
                first += transactions * LIVE_TRANSACTION // 2
                if run:
                    figures.note("latency_p50_seconds", p50, others=share)
                    figures.note("latency_p99_seconds", p99, others=share)
    finally:
        stage.drop_slots()
        stage.forget(feed)


def _window(stage: Stage, first: int, transactions: int, pause_seconds: float) -> tuple[float, float, float]:
    """p50 and p99 of the changes committed in a window, once all have arrived; and what share other work had."""
    stage.settle()
    before, others = _samples(stage), Others()
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        started = time.perf_counter()
        connection.execute("CALL live(%s, %s, %s, %s)", (first, transactions, LIVE_TRANSACTION, pause_seconds))
        took = time.perf_counter() - started
    changes = transactions * LIVE_TRANSACTION
    expected = before.total(DELIVERED) + changes
    deadline = time.monotonic() + ARRIVES_WITHIN_SECONDS
    while (after := _samples(stage)).total(DELIVERED) < expected:
        if time.monotonic() > deadline:
            missing = expected - after.total(DELIVERED)
            raise Transient(f"{missing:,.0f} changes were not delivered", fix=f"see {stage.directory / 'log'}")
        time.sleep(0.2)
    others.look(0)
    buckets = increase(before.buckets(LATENCY), after.buckets(LATENCY))
    p50, p99 = quantile(buckets, 0.5), quantile(buckets, 0.99)
    assert p50 is not None, "changes were delivered"
    assert p99 is not None, "changes were delivered"
    stage.say(
        f"  p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms; committed at {changes / took:,.0f}/s{told(others.share())}"
    )
    return p50, p99, others.share()


def _delivered(stage: Stage) -> float:
    return _samples(stage).total(DELIVERED)


def _samples(stage: Stage) -> Samples:
    return gather(stage.directory)[0]
