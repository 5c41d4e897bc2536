"""What the ledger costs: the same work of each hop with and without it, by the processor time of the hop's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ops.bench.capture import backlog, by_mesh, rotated
from ops.bench.figure import Figures
from ops.bench.growth import Drained, committed, drain
from ops.bench.relay import cut_by_mesh
from ops.bench.scale import Scale
from ops.bench.stage import Stage
from ops.settings import LEDGER
from schemas.log.offsets import end_offsets

WITH, WITHOUT = "with the ledger", "without"


def measure_ledger(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`ledger_capture`, `ledger_egress` and `ledger_delivery`: what a change costs with the ledger, against without."""
    sides = {WITH: stage, WITHOUT: replace(stage, variables={LEDGER: "off"})}

    def compare(key: str, run: int, work: Callable[[Stage, str], Drained]) -> None:
        cost: dict[str, Drained] = {}
        for name in rotated(list(sides), run):
            stage.settle()
            cost[name] = work(sides[name], f"{key.removeprefix('ledger_')}{run}{'w' if name == WITH else 'o'}")
            stage.say(f"{key}, run {run} of {scale.runs}, {name}: {cost[name]}")
        ours, peer = cost[WITH], cost[WITHOUT]
        others = max(ours.others, peer.others)
        figures.compare(key, ours.cpu_micros, WITHOUT, peer.cpu_micros, others=others)

    for run in range(1, scale.runs + 1):
        compare("ledger_capture", run, lambda side, name: _capture(side, scale, name))
    with backlog(stage, "ledger", scale.changes) as waiting:
        by_mesh(waiting)
        for run in range(1, scale.runs + 1):
            compare("ledger_egress", run, lambda side, name: cut_by_mesh(side, waiting.feed, scale, name, 1))
        for run in range(1, scale.runs + 1):
            compare("ledger_delivery", run, lambda side, name: _deliver(side, waiting.feed, name))


def _capture(stage: Stage, scale: Scale, name: str) -> Drained:
    with backlog(stage, name, scale.changes) as waiting:
        return by_mesh(waiting)


def _deliver(stage: Stage, feed: str, name: str) -> Drained:
    """The delivery process, with all that a subscriber of the whole feed is due."""
    topics = stage.onboard_subscriber(name, feed, is_cut=False)
    with stage.hop("streams") as running:
        expected = end_offsets(stage.kafka, [feed])[feed]
        drain(stage.console, "cut", lambda: sum(end_offsets(stage.kafka, topics).values()), expected, running)
    with stage.hop("delivery") as running:
        look = committed(stage.kafka, f"sub.{name}.main", topics)
        return drain(stage.console, "delivered", look, expected, running)
