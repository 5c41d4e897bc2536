"""The demo's outcome: figures while the city lived, and what the databases say at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from ops.verify import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The demo's report; `to_json` is what `--report` writes."""

    feeds: Mapping[str, Mapping[str, float]]
    flows: Mapping[str, Mapping[str, float]]
    subscriptions: Mapping[str, Mapping[str, float | None]]
    latency: Mapping[str, float | None]
    latency_derived: Mapping[str, float | None]
    verified: Verified
    committed: int
    kills: Mapping[str, int]
    seconds: Mapping[str, float]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The report, in the names that scripts rely on."""
        return {
            "exact": self.verified.is_exact,
            "feeds": self.feeds,
            "flows": self.flows,
            "subscriptions": self.subscriptions,
            "latency": self.latency,
            "latency_derived": self.latency_derived,
            "committed": self.committed,
            "comparisons": self.verified.to_json()["subscriptions"],
            "kills": self.kills,
            "seconds": self.seconds,
            "seed": self.seed,
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
    outcome.verified.render()
