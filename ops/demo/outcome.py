"""The demo's outcome: figures while the city lived, and what the databases say at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.city.course import Course
from ops.proof.verify import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The demo's report; `to_json` is what `--report` writes."""

    feeds: Mapping[str, Mapping[str, float]]
    flows: Mapping[str, Mapping[str, float]]
    courses: Mapping[str, Course]
    subscriptions: Mapping[str, Mapping[str, float | None]]
    latency: Mapping[str, float | None]
    latency_derived: Mapping[str, float | None]
    verified: Verified
    ledger: Mapping[str, Mapping[str, Any]]
    """By feed and by grant id what `mesh ledger` says."""
    committed: int
    kills: Mapping[str, int]
    seconds: Mapping[str, float]
    seed: int
    scale: float
    """Thousandths of the real city."""

    @property
    def red(self) -> list[str]:
        """The lines of the ledger that are red."""
        return sorted(name for name, line in self.ledger.items() if line["standing"] == "red")

    def to_json(self) -> dict[str, Any]:
        """The report, in the names that scripts rely on."""
        return {
            "exact": self.verified.is_exact,
            "feeds": self.feeds,
            "flows": self.flows,
            "courses": {flow: course.to_json() for flow, course in self.courses.items()},
            "subscriptions": self.subscriptions,
            "latency": self.latency,
            "latency_derived": self.latency_derived,
            "committed": self.committed,
            "comparisons": self.verified.to_json()["subscriptions"],
            "ledger": self.ledger,
            "kills": self.kills,
            "seconds": self.seconds,
            "seed": self.seed,
            "scale": self.scale,
        }


def quantiles(latency: Mapping[str, float | None]) -> str:
    """Latencies in words."""
    return ", ".join(f"{name} " + ("-" if value is None else f"{value:.3f} s") for name, value in latency.items())


def tell(outcome: Outcome, console: Console) -> None:
    """Print it."""
    console.print(
        f"{outcome.committed:,} row changes committed while live; "
        f"latency {quantiles(outcome.latency)}; of derived feeds {quantiles(outcome.latency_derived)}"
    )
    console.print(_courses(outcome.courses))
    outcome.verified.render()
    unbalanced = sorted(name for name, line in outcome.ledger.items() if not line["balanced"])
    console.print(
        f"ledger: {len(outcome.ledger) - len(unbalanced)} lines balanced"
        + "".join(f"\n✗ {name}" for name in unbalanced)
    )


def _courses(courses: Mapping[str, Course]) -> Table:
    """What each system asked and what came of it."""
    table = Table("System 业务系统", box=None)
    names = ("asked", "reached", "answered", "decided", "told", "pending")
    for name in (*names, "seconds"):
        table.add_column(name, justify="right")
    for flow, course in courses.items():
        counts = (f"{getattr(course, name):,}" for name in names)
        table.add_row(flow, *counts, "-" if course.seconds is None else f"{course.seconds:g}")
    return table
