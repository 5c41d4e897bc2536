"""Counts: what the processes of the mesh counted while the demo plays, for showing volume, never for proving anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.demo.outcome import quantiles
from ops.metrics.metric import CAPTURED, origin_of
from ops.metrics.scrape import Samples, gather, quantile
from ops.metrics.tally import Tally
from schemas.agreement.directory import Directory

LATENCY = "mesh_delivery_latency_seconds"
COUNTED = (
    "mesh_events_total",
    "mesh_rejected_total",
    "mesh_routed_total",
    "mesh_suppressed_total",
    "mesh_delivered_total",
    "mesh_dead_total",
    "mesh_flow_messages_total",
    "mesh_flow_changes_total",
    f"{LATENCY}_bucket",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """How many changes were captured, processed, routed, and delivered or dead."""

    captured: float
    processed: float
    routed: float
    arrived: float

    @property
    def is_drained(self) -> bool:
        """Whether what was captured was processed, and what was routed was delivered."""
        return self.captured > 0 and self.processed >= self.captured and self.arrived >= self.routed


class Counts:
    """Counters of a mesh's directory, added up over the lives of its processes; `feeds` are the captured ones."""

    def __init__(self, directory: Path, feeds: Collection[str]) -> None:
        self._directory = directory
        self._captured_feeds = feeds
        self._tally = Tally(COUNTED)

    def read(self) -> Samples:
        """What the processes export now, added up with what they exported before."""
        samples, _ = gather(self._directory)
        self._tally.take(samples)
        return samples

    def start_latency_anew(self) -> None:
        """From now on, latency is of what happens from now on."""
        self.read()
        self._tally.start_anew(f"{LATENCY}_bucket")

    def progressed(self, samples: Samples) -> Progressed:
        """How far it all got, by the counters that the processes have now."""
        return Progressed(
            captured=samples.total("mesh_events_total", origin=CAPTURED),
            processed=sum(samples.total("mesh_processed_total", feed=feed) for feed in self._captured_feeds),
            routed=samples.total("mesh_routed_total"),
            arrived=samples.total("mesh_delivered_total") + samples.total("mesh_dead_total"),
        )

    def folded(self) -> float:
        """Messages that the flows have folded so far."""
        self.read()
        return self._tally.total("mesh_flow_messages_total")

    def latency(self, **where: str) -> dict[str, float | None]:
        """From commit to acknowledgement in seconds."""
        buckets = self._tally.buckets(LATENCY, **where)
        return {"p50": quantile(buckets, 0.5), "p99": quantile(buckets, 0.99)}

    def headline(self, committed: int) -> str:
        """The volume so far, in a line."""
        latency = f"; commit to subscriber {quantiles(self.latency(origin=CAPTURED))}"
        captured = self._tally.total("mesh_events_total", origin=CAPTURED)
        delivered = self._tally.total("mesh_delivered_total")
        return f"{committed:,} row changes committed, {captured:,.0f} captured, {delivered:,.0f} delivered{latency}"

    def flow(self, name: str) -> dict[str, float]:
        """What a flow took in and gave out."""
        return {
            "in": self._tally.total("mesh_flow_messages_total", flow=name),
            "out": self._tally.total("mesh_flow_changes_total", flow=name),
        }

    def feeds(self) -> dict[str, Mapping[str, float]]:
        """Rows captured and rejected, by feed."""
        return {
            feed: {
                "captured": self._tally.total("mesh_events_total", feed=feed),
                "rejected": self._tally.total("mesh_rejected_total", feed=feed),
            }
            for feed in sorted(self._captured_feeds)
        }

    def subscriptions(self, directory: Directory, grants: Iterable[str]) -> dict[str, Mapping[str, float | None]]:
        """What became of each grant's changes, and how long they took."""
        samples = gather(self._directory)[0]
        return {
            grant_id: {
                "delivered": self._tally.total("mesh_delivered_total", grant_id=grant_id),
                "suppressed": self._tally.total("mesh_suppressed_total", grant_id=grant_id),
                "dead": self._tally.total("mesh_dead_total", grant_id=grant_id),
                "lag_seconds": samples.latest("mesh_delivery_lag_seconds", grant_id=grant_id),
                **self.latency(
                    subscriber=directory.grants[grant_id].grant.subscriber,
                    origin=origin_of(directory, directory.grants[grant_id].grant.feed),
                ),
            }
            for grant_id in sorted(grants)
        }
