"""Feed position: how far a stream is, of all partitions of all granted topics at once, as one text (SK-18).

    1;1764450000;aic.enterprise:0=12,3=7;civil.marriage:1=40

A version, when it was told (Unix seconds), and by topic, without what all of a subscriber's topics begin with, the next offset
to read of each partition. A partition that is not named has not been read; number -1 says that the end of a grant was told.
Subscribers take it for a word without meaning.

A topic keeps every change for a week; of what is older only the last change of each key stays, and of a removal nothing. So a
position is good while it was told not long ago, or while nothing of what came after it is old.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from schemas.change import Partition
from schemas.log.offsets import Extent
from sinks.ending import OUTSIDE

_TOPIC = re.compile(r"([a-z0-9_.\-]{1,249}):(-?\d{1,9}=\d{1,18}(?:,-?\d{1,9}=\d{1,18})*)")
TEXT_MAX = 48 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """The next offset of each partition that was read, and when that was told."""

    told_at: int
    offsets: Mapping[Partition, int]

    def text(self, prefix: str) -> str:
        """As it is told; `prefix` is what the names of all topics begin with."""
        by_topic: dict[str, list[str]] = {}
        for (topic, number), offset in sorted(self.offsets.items()):
            by_topic.setdefault(topic.removeprefix(prefix), []).append(f"{number}={offset}")
        return ";".join(
            ["1", str(self.told_at), *(f"{topic}:{','.join(entries)}" for topic, entries in by_topic.items())]
        )

    @classmethod
    def parse(cls, text: str, prefix: str) -> FeedPosition:
        """Read one. Raises ValueError."""
        version, told_at, *topics = text.split(";") if len(text) <= TEXT_MAX else ""
        if version != "1":
            raise ValueError(version)
        offsets: dict[Partition, int] = {}
        for entry in topics:
            found = _TOPIC.fullmatch(entry)
            if found is None:
                raise ValueError("a topic")
            for pair in found[2].split(","):
                number, offset = pair.split("=")
                offsets[prefix + found[1], int(number)] = int(offset)
        return cls(told_at=int(told_at), offsets=offsets)

    def of(self, topics: Collection[str]) -> FeedPosition:
        """What it says of records on these topics: others of before are of grants that ended."""
        kept = {place: offset for place, offset in self.offsets.items() if place[0] in topics and place[1] != OUTSIDE}
        return FeedPosition(told_at=self.told_at, offsets=kept)

    def fault(self, extents: Mapping[Partition, Extent], old_before: float) -> str:
        """Why nothing can resume from it, empty if it is good. `old_before`: Unix seconds; `extents` reach back as far."""
        for place, offset in self.offsets.items():
            extent = extents.get(place)
            if extent is None or offset > extent.end:
                return "a topic was made anew since"
            if offset < extent.first:
                return "changes that came after it are no longer there"
            if self.told_at < old_before and offset < extent.since:
                return "it is too old: removals that came after it may no longer be there"
        return ""

    def is_beyond(self, extents: Mapping[Partition, Extent]) -> bool:
        """Whether it names what is not there yet."""
        return any(place not in extents or offset > extents[place].end for place, offset in self.offsets.items())
