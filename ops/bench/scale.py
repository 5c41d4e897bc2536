"""Scale: how much is measured, so that a test may measure little."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`has_peers`: also what must be downloaded, Debezium and Quix Streams; without them only our own side is measured.

    Before each contender starts, the machine is given `patience_seconds` to become quiet.
    """

    runs: int = 3
    has_peers: bool = True
    patience_seconds: float = 15.0
    warm_up_records: int = 1_000_000
    changes: int = 300_000
    rows: int = 1_000_000
    told_rows: int = 200_000
    sink_rows: int = 100_000
    live_rate: int = 5_000
    live_seconds: float = 20.0
    further_grants: tuple[int, ...] = (2, 5)
    town: float = 1 / 1_000
    """How large the city is whose flows are measured, against Guangzhou."""
    living: int = 60_000
    """Changes behind the opening day that the flows fold."""
    subjects: tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    """Among how many subjects a change is folded, to see whether that costs more where there are many."""


QUICK = Scale(
    runs=1,
    has_peers=False,
    patience_seconds=2.0,
    warm_up_records=100_000,
    changes=60_000,
    rows=200_000,
    told_rows=30_000,
    sink_rows=30_000,
    live_seconds=8.0,
    further_grants=(2,),
    town=1 / 10_000,
    living=5_000,
    subjects=(10_000, 100_000),
)
"""Every measurement once, small, and without peers: whether all of it still works, and no figure is far from what it was."""
