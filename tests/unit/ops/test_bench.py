from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from ops.bench import subject
from ops.bench.capture import rotated
from ops.bench.figure import BARS, Figures
from ops.bench.growth import Drained
from ops.bench.run import MEASUREMENTS, bench
from ops.lint.folder import load
from schemas.errors import Misconfigured
from schemas.expression.expression import parse
from schemas.expression.predicate import predicate

KEYS_THAT_SCRIPTS_READ = {
    "capture_vs_debezium",
    "capture_vs_limit",
    "snapshot_vs_debezium",
    "egress_vs_quix",
    "egress_extra_grant",
    "sink_vs_limit",
    "latency_p99_seconds",
}


def rendered(figures: Figures) -> str:
    console = Console(width=160)
    with console.capture() as text:
        console.print(figures.table())
    return text.get()


def test_a_figure_is_the_median_of_the_runs_own_ratios() -> None:
    figures = Figures()
    for ours, peer in ((50.0, 10.0), (90.0, 10.0), (10.0, 10.0)):
        figures.compare("capture_vs_debezium", ours, "Debezium", peer)

    assert figures.medians() == {"capture_vs_debezium": 5.0}


def test_a_run_that_other_work_disturbed_counts_only_where_none_was_quiet() -> None:
    figures = Figures()
    for ours, others in ((9.0, 0.8), (40.0, 0.02), (42.0, 0.1)):
        figures.compare("capture_vs_debezium", ours, "Debezium", 10.0, others=others)
    figures.note("latency_p99_seconds", 0.4, others=0.9)

    assert figures.medians() == {"capture_vs_debezium": 4.1, "latency_p99_seconds": 0.4}
    text = rendered(figures)
    assert "2 of 3" in text
    assert "0 of 1" in text


def test_the_report_is_flat_and_names_only_what_was_measured() -> None:
    figures = Figures()
    figures.note("latency_p99_seconds", 0.123456)
    figures.compare("egress_vs_quix", 7.0, "Quix Streams", 2.0)

    assert figures.medians() == {"egress_vs_quix": 3.5, "latency_p99_seconds": 0.1235}
    assert Figures().medians() == {}


def test_every_name_that_scripts_read_has_a_bar() -> None:
    assert set(BARS) >= KEYS_THAT_SCRIPTS_READ


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [("capture_vs_limit", 0.8, 0.79), ("egress_extra_grant", 0.15, 0.16), ("latency_p99_seconds", 0.1, 0.11)],
)
def test_a_bar_is_a_floor_for_ratios_and_a_ceiling_for_costs(key: str, good: float, bad: float) -> None:
    assert BARS[key].holds(good)
    assert not BARS[key].holds(bad)


def test_the_table_shows_both_sides_the_spread_and_whether_the_bar_holds() -> None:
    figures = Figures()
    for ours in (60_000.0, 80_000.0, 70_000.0):
        figures.compare("capture_vs_debezium", ours, "Debezium", 20_000.0)
    figures.growth("egress_extra_grant", 0.1, one=10.0, several=18.0, against="one grant")

    text = rendered(figures)

    missed = next(line for line in text.splitlines() if "Debezium" in line)
    for part in ("70,000 changes/s", "20,000", "3.5", "3 to 4", "≥ 4", "missed"):
        assert part in missed
    held = next(line for line in text.splitlines() if "one grant" in line)
    assert "18.0 us CPU/record" in held
    assert held.rstrip().endswith("ok")


def test_what_has_no_bar_neither_holds_nor_misses_one() -> None:
    figures = Figures()
    figures.note("flows_changes_per_second", 4_321.0)
    [line] = [line for line in rendered(figures).splitlines() if "flows of the city" in line]
    assert "4,321" in line
    assert "≤" not in line
    assert not line.rstrip().endswith(("ok", "missed"))


def test_rate_and_cost_count_the_same_records() -> None:
    drained = Drained(records=1_000, seconds=0.5, cpu_seconds=0.02)

    assert drained.per_second == 2_000
    assert drained.cpu_micros == pytest.approx(20.0)


def test_each_contender_is_first_once_in_as_many_runs() -> None:
    orders = [rotated(["a", "b", "c"], run) for run in (1, 2, 3)]

    assert {order[0] for order in orders} == {"a", "b", "c"}
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


@pytest.mark.parametrize("changes", [100, 1_200, 24_000])
def test_half_of_the_feed_passes_a_grant_and_the_count_is_exact(changes: int) -> None:
    regions = subject.regions_of(3)
    ids = list(range(1, subject.SEED_ROWS + 1))
    for first in range(subject.SEED_ROWS + 1, subject.SEED_ROWS + changes // 2 + 1, 50):
        ids += [*range(first, first + 50), *range(first - 50, first)]
    expected = sum(subject.REGIONS[number % 12] in regions for number in ids)

    assert subject.passing(changes, regions) == expected
    assert expected == pytest.approx(len(ids) / 2, rel=0.02)


def test_no_two_grants_are_the_same(tmp_path: Path) -> None:
    subject.write_agency(tmp_path / "bench", "bench", "${DSN}")
    subject.write_subscriber(tmp_path / "reader", "reader", "bench.subject", "${DSN}", grants=5, is_cut=True)

    folder = load(tmp_path)

    [contract] = folder.agencies[0].contracts
    assert [field.name for field in contract.fields] == list(subject.COLUMNS)
    grants = folder.subscribers[0].grants
    assert len({grant.grant_id for grant in grants}) == 5
    assert len({grant.columns for grant in grants}) == 5
    assert {len(grant.columns) for grant in grants} == {subject.PROJECTED}
    for grant in grants:
        assert grant.row_filter
        predicate(parse(grant.row_filter), contract)


def test_an_unknown_measurement_is_refused_before_anything_starts(tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    with pytest.raises(Misconfigured, match="warp") as refused:
        bench(report, runs=1, only=["capture", "warp"])

    assert all(name in refused.value.fix for name in MEASUREMENTS)
    assert not report.exists()


def test_no_run_at_all_is_refused() -> None:
    with pytest.raises(Misconfigured, match="run"):
        bench(None, runs=0, only=[])
