"""`mesh bench`: the mesh and its peers side by side on the same machine in the same run, with the bars of `figure.py`.

A figure is the median over the runs of each run's own ratio. Everything runs in a temporary directory, which is gone at the end,
as is every process, also after Ctrl-C. The exit status is 0 if all that was asked for could be measured, bars met or not.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from ops.bench import machine, subject
from ops.bench.capture import measure_snapshot, measure_stream
from ops.bench.delivery import measure_latency, measure_sink_beside
from ops.bench.figure import Figures
from ops.bench.flows.growth import measure_growth
from ops.bench.flows.measure import measure_flows
from ops.bench.ledger import measure_ledger
from ops.bench.relay import measure_egress
from ops.bench.scale import QUICK, Scale
from ops.bench.sources.maria import measure_mariadb
from ops.bench.sources.told import measure_files, measure_polled
from ops.bench.stage import Stage, stage
from ops.bench.stateful.fold import measure_stateful
from schemas.errors import MeshError, Misconfigured

MEASUREMENTS: Mapping[str, Callable[[Stage, Figures, Scale], None]] = {
    "capture": measure_stream,
    "snapshot": measure_snapshot,
    "mariadb": measure_mariadb,
    "polled": measure_polled,
    "files": measure_files,
    "egress": measure_egress,
    "stateful": measure_stateful,
    "flows": measure_flows,
    "growth": measure_growth,
    "sink": measure_sink_beside,
    "ledger": measure_ledger,
    "latency": measure_latency,
}


def bench(report: Path | None, *, runs: int, only: Sequence[str], is_quick: bool = False) -> int:
    """Measure, print the table, write the medians to `report` as one flat JSON object. Returns the exit status.

    `is_quick`: once, small, and without peers, whatever `runs` says. Raises Misconfigured for a measurement that there is not, or
    fewer runs than one.
    """
    if unknown := sorted(set(only) - set(MEASUREMENTS)):
        raise Misconfigured("--only", f"there is no measurement {unknown[0]}", fix=f"use {', '.join(MEASUREMENTS)}")
    if runs < 1:
        raise Misconfigured("--runs", "asks for no run", fix="ask for 1 or more; the bars are medians of 3")
    logging.basicConfig(level=logging.ERROR)  # a client's retries while servers start are nobody's concern
    figures = Figures()
    console = Console(stderr=True, highlight=False)
    try:
        with _ending_by_signal():
            scale = QUICK if is_quick else Scale(runs=runs)
            failed = measure(figures, scale, only or list(MEASUREMENTS), console)
    except KeyboardInterrupt:
        console.print("interrupted; everything that was started is stopped")
        return 130
    if report:
        report.write_text(json.dumps(figures.medians(), indent=2) + "\n")
    _tell(figures, Console(highlight=False, width=None if sys.stdout.isatty() else 150))
    for name, error in failed.items():
        console.print(f"{name} could not be measured: {error}", style="red", soft_wrap=True, markup=False)
    return 1 if failed else 0


def measure(figures: Figures, scale: Scale, names: Sequence[str], console: Console) -> Mapping[str, MeshError]:
    """Run measurements on servers of their own; what could not be measured, and why: the others go on."""
    console.print(machine.description())
    failed: dict[str, MeshError] = {}
    console.print("starting Kafka, PostgreSQL and the registry")
    with stage(console, patience_seconds=scale.patience_seconds, warm_up_records=scale.warm_up_records) as ours:
        for name in names:
            try:
                MEASUREMENTS[name](ours, figures, scale)
            except MeshError as error:
                failed[name] = error
                console.print(f"{name}: {error}", style="red", soft_wrap=True, markup=False)
    return failed


def _tell(figures: Figures, console: Console) -> None:
    console.print()
    console.print(f"{machine.description()}; table: {subject.DESCRIPTION}", soft_wrap=True)
    console.print(figures.table())


@contextmanager
def _ending_by_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP end us as Ctrl-C does: whatever was started is stopped on the way out."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
