"""Figures: what a bench found, each with its bar; their medians, as a table and as flat JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from ops.bench.machine import QUIET


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What is asked of a figure: `at_least` or `at_most` (below). `unit` is that of both sides, of `ours` alone if no peer."""

    title: str
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether the figure meets the bar."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        if self.at_least is None and self.at_most is None:
            return ""
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


BARS: Mapping[str, Bar] = {
    "capture_vs_debezium": Bar(title="capture, streaming", unit="changes/s", at_least=4),
    "capture_vs_limit": Bar(title="capture, streaming", unit="changes/s", at_least=0.8),
    "snapshot_vs_debezium": Bar(title="capture, snapshot", unit="rows/s", at_least=5),
    "mysql_vs_debezium": Bar(title="capture of MariaDB, streaming", unit="changes/s", at_least=3),
    "mysql_changes_per_second": Bar(title="capture of MariaDB, changes/s", unit=""),
    "polled_rows_per_second": Bar(title="polled table, first reading, rows/s", unit="", at_least=5_000),
    "files_rows_per_second": Bar(title="dropped file, rows/s", unit="", at_least=5_000),
    "egress_vs_quix": Bar(title="egress, one grant", unit="records/s", at_least=5),
    "egress_extra_grant": Bar(title="egress, each further grant", unit="us CPU/record", at_most=0.15),
    "stateful_vs_quix": Bar(title="stateful merge", unit="records/s", at_least=5),
    "flows_vs_before": Bar(title="flows of the city, one core", unit="changes/s", at_least=4),
    "flows_changes_per_second": Bar(title="flows of the city, one core, changes/s", unit=""),
    "flows_cpu_per_change_us": Bar(title="flows of the city, us CPU/change", unit=""),
    "flows_growth": Bar(title="a change among so many subjects", unit="us CPU/change", at_most=1.5),
    "flows_state_bytes": Bar(title="state of a subject, bytes", unit=""),
    "flows_memory_mib": Bar(title="memory of a worker, MiB", unit=""),
    "flows_restored_per_second": Bar(title="state read back, entries/s", unit=""),
    "sink_vs_limit": Bar(title="PostgreSQL sink", unit="changes/s", at_least=0.6),
    "sink_vs_debezium": Bar(title="PostgreSQL sink", unit="changes/s", at_least=3),
    "ledger_capture": Bar(title="capture with the ledger", unit="us CPU/change", at_most=1.05),
    "ledger_egress": Bar(title="egress with the ledger", unit="us CPU/record", at_most=1.05),
    "ledger_delivery": Bar(title="delivery with the ledger", unit="us CPU/change", at_most=1.05),
    "latency_p99_seconds": Bar(title="commit to acknowledgement, p99", unit="s", at_most=0.1),
    "latency_p50_seconds": Bar(title="commit to acknowledgement, p50", unit="s", at_most=0.05),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run's reading: the figure, and the two rates or costs behind it if there are two.

    `others` is the share of the machine that other work took, the larger one of two measurements.
    """

    value: float
    ours: float | None = None
    peer: float | None = None
    against: str = ""
    others: float = 0.0


class Figures:
    """Collects readings by figure. Runs that other work disturbed do not count where there are quieter ones."""

    def __init__(self) -> None:
        self._readings: dict[str, list[Reading]] = {}

    def compare(self, key: str, ours: float, against: str, peer: float, *, others: float = 0.0) -> None:
        """A run in which we and somebody else did the same at these rates."""
        self._add(key, Reading(value=ours / peer, ours=ours, peer=peer, against=against, others=others))

    def growth(self, key: str, value: float, *, one: float, several: float, against: str, others: float = 0.0) -> None:
        """A run in which a cost grew from `one` to `several`, by `value` a step."""
        self._add(key, Reading(value=value, ours=several, peer=one, against=against, others=others))

    def note(self, key: str, value: float, *, others: float = 0.0) -> None:
        """A figure that stands for itself."""
        self._add(key, Reading(value=value, others=others))

    def _add(self, key: str, reading: Reading) -> None:
        self._readings.setdefault(key, []).append(reading)

    def _counted(self, key: str) -> list[Reading]:
        readings = self._readings[key]
        return [reading for reading in readings if reading.others <= QUIET] or readings

    def medians(self) -> dict[str, float]:
        """Each figure's median over the runs; only what was measured."""
        return {
            key: round(statistics.median(reading.value for reading in self._counted(key)), 4)
            for key in BARS
            if key in self._readings
        }

    def table(self) -> Table:
        """Measurement, both sides, median with its range, quiet runs of all runs, bar, and whether it holds."""
        headings = ("measurement", "ours", "peer", "", "median", "lowest to highest", "quiet runs", "bar", "")
        table = Table(*headings, box=None, header_style="bold")
        for index in (1, 2, 4):
            table.columns[index].justify = "right"
        for key, value in self.medians().items():
            readings, bar = self._counted(key), BARS[key]
            quiet = sum(reading.others <= QUIET for reading in readings)
            values = sorted(reading.value for reading in readings)
            table.add_row(
                bar.title,
                _shown([reading.ours for reading in readings], bar.unit),
                _shown([reading.peer for reading in readings], ""),
                readings[0].against,
                _figure(value),
                f"{_figure(values[0])} to {_figure(values[-1])}" if len(values) > 1 else "",
                f"{quiet} of {len(self._readings[key])}",
                str(bar),
                "" if not str(bar) else "ok" if bar.holds(value) else "missed",
                style=None if bar.holds(value) else "yellow",
            )
        return table


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _shown(values: Sequence[float | None], unit: str) -> str:
    present = [value for value in values if value is not None]
    if not present:
        return ""
    median = statistics.median(present)
    return f"{median:,.0f} {unit}".rstrip() if median >= 100 else f"{median:.1f} {unit}".rstrip()
