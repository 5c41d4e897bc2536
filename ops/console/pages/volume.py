"""Volume: how many records a feed got in each part of the last hour, as Kafka's own log tells; drawn as a line in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.log.kafka import Kafka
from schemas.log.offsets import written_between

PARTS = 30
PART = timedelta(minutes=2)
WIDTH, HEIGHT = 600, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Counts, the oldest first."""

    counts: Sequence[int]
    since: datetime

    @property
    def total(self) -> int:
        """Of the whole hour."""
        return sum(self.counts)

    @property
    def most(self) -> int:
        """In one part."""
        return max(self.counts)

    @property
    def line(self) -> str:
        """The points of the line, from left to right, in a box of WIDTH by HEIGHT; the most is at its top."""
        most, step = max(self.most, 1), WIDTH / (len(self.counts) - 1)
        return " ".join(
            f"{number * step:.1f},{HEIGHT - 2 - count / most * (HEIGHT - 6):.1f}"
            for number, count in enumerate(self.counts)
        )

    @property
    def area(self) -> str:
        """The same down to the ground."""
        return f"0,{HEIGHT} {self.line} {WIDTH},{HEIGHT}"


def volume(kafka: Kafka, feed: str, now: datetime) -> Volume:
    """Of the last hour. Raises Transient."""
    since = now - PARTS * PART
    moments = [since + number * PART for number in range(PARTS)]
    counts = written_between(kafka, feed, [*moments, now + timedelta(days=1)])
    return Volume(counts=counts, since=since)
