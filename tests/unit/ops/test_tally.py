from ops.metrics.scrape import Samples, quantile
from ops.metrics.tally import Tally

DELIVERED = "mesh_delivered_total"
LATENCY = "mesh_delivery_latency_seconds"


def reading(value: float) -> Samples:
    return Samples([(DELIVERED, {"grant_id": "customs.aic.enterprise"}, value)])


def test_a_restarted_process_counts_from_zero_and_the_sum_goes_on():
    tally = Tally([DELIVERED])
    for value in (10, 25, 5, 7):  # killed between 25 and 5
        tally.take(reading(value))
    assert tally.total(DELIVERED) == 32
    assert tally.by(DELIVERED, "grant_id") == {"customs.aic.enterprise": 32}


def test_a_series_that_is_gone_for_one_reading_is_not_counted_twice():
    tally = Tally([DELIVERED])
    tally.take(reading(10))
    tally.take(Samples([]))
    tally.take(reading(12))
    assert tally.total(DELIVERED) == 12


def test_a_quantile_speaks_only_of_what_came_after_the_start():
    tally = Tally([f"{LATENCY}_bucket"])

    def latencies(fast: int, slow: int) -> Samples:
        counts = [("0.05", fast), ("1.0", fast + slow), ("+Inf", fast + slow)]
        return Samples([(f"{LATENCY}_bucket", {"subscriber": "boc", "le": le}, count) for le, count in counts])

    tally.take(latencies(0, 1000))  # a snapshot's backlog
    tally.start_anew(f"{LATENCY}_bucket")
    tally.take(latencies(100, 1000))
    assert quantile(tally.buckets(LATENCY), 0.99) <= 0.05
