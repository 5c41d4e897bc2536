"""Balance: everything that stands on `mesh.ledger`, as lines that people read: one for each feed, one for each subscription."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.ledger.handover import Difference, Handover, Standing, Statement
from schemas.agreement.directory import Directory
from schemas.change import Partition
from schemas.ledger.book import REDELIVERY, heartbeat_of, key_of

BADNESS: Mapping[Standing, int] = {"balanced": 0, "unread": 1, "behind": 2, "unsettled": 3, "red": 4}
"""A line is called by the worst of its partitions."""


def _badness(standing: Standing) -> int:
    return BADNESS[standing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One feed's or one subscription's. `name` is the feed, or the grant's id.

    `written` and `read` are counted since the ledger began. `is_written_here`: false for a derived feed; `is_read_here`: false for
    what another mesh reads by itself. Neither has two sides here. What a subscriber of ours reads by itself has its group's word.
    """

    name: str
    subscriber: str = ""
    feed: str = ""
    handovers: Sequence[Handover]
    is_written_here: bool = True
    is_read_here: bool = True

    @property
    def standing(self) -> Standing:
        """The worst of its partitions'."""
        if not self.is_written_here or not self.is_read_here:
            return "balanced"
        worst: Standing = "balanced"
        for handover in self.handovers:
            worst = max(worst, handover.standing, key=_badness)
        return worst

    @property
    def differences(self) -> list[Difference]:
        """Of all its partitions."""
        return [each for handover in self.handovers for each in handover.differences()] if self.is_written_here else []

    @property
    def written(self) -> int:
        """Records that the writer says it wrote."""
        sides = [side for each in self.handovers for side in (each.writer, each.beside) if side]
        return sum(side.sums.end.records for side in sides)

    @property
    def read(self) -> int:
        """Records that the reader says it read, or the subscriber's own group confirmed."""
        own = [each for each in self.handovers if each.confirmed is not None]
        if own:
            return sum(each.confirmed_records for each in own)
        return sum(each.reader.sums.end.records for each in self.handovers if each.reader)

    @property
    def adopted(self) -> int:
        """Records that were found after a restart, and nobody had accounted for."""
        return sum(each.writer.adopted for each in self.handovers if each.writer)

    def counted(self, name: str) -> int:
        """What readers counted under a name since they account for it; what one that was killed did twice may count twice."""
        return sum(each.reader.counts.get(name, 0) for each in self.handovers if each.reader)

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "balanced": self.standing == "balanced",
            "standing": self.standing,
            "written": self.written,
            "read": self.read,
            "adopted": self.adopted,
            "differences": [each.to_json() for each in self.differences],
        }


@dataclass(frozen=True, slots=True)
class Balance:
    """All lines."""

    feeds: Mapping[str, Line] = field(default_factory=dict[str, Line])
    subscriptions: Mapping[str, Line] = field(default_factory=dict[str, Line])

    def lines(self) -> Iterable[Line]:
        """Feeds, then subscriptions."""
        yield from self.feeds.values()
        yield from self.subscriptions.values()

    @property
    def red(self) -> list[Line]:
        """The lines that are red."""
        return [line for line in self.lines() if line.standing == "red"]


class Statements:
    """The records of `mesh.ledger`, by key."""

    def __init__(self, records: Mapping[str, Any]) -> None:
        self._records = records

    def of(self, hop: str, side: str, place: Partition) -> Statement | None:
        """What a side says of a partition."""
        record = self._records.get(key_of(hop, side, place))
        if record is None:
            return None
        heartbeat = self._records.get(heartbeat_of(hop, side, record["by"])) or record
        return Statement.from_json(record, heartbeat["at"])

    def accepted(self, place: Partition) -> int:
        """Below which offset a person accepted what is different."""
        record = self._records.get(accepted_key(place))
        return record["below"] if record else 0


def accepted_key(place: Partition) -> str:
    """Under which it stands that a person accepted a difference."""
    return f"accepted/{place[0]}/{place[1]}"


def balance_of(
    records: Mapping[str, Any],
    directory: Directory,
    read_elsewhere: Mapping[str, Mapping[Partition, int] | None],
    now: datetime,
) -> Balance:
    """The balance as of these records of `mesh.ledger`, without grants that are over.

    `read_elsewhere` has the grants whose subscriber reads the topic itself, with what its group confirmed, or None.
    """
    statements = Statements(records)

    def handovers(
        topic: str, partitions: int, writer: str, reader: str, confirmed: Mapping[Partition, int] | None = None
    ) -> list[Handover]:
        return [
            Handover(
                place=(topic, number),
                writer=statements.of(writer, "wrote", (topic, number)),
                reader=statements.of(reader, "read", (topic, number)),
                accepted=statements.accepted((topic, number)),
                beside=statements.of(REDELIVERY, "wrote", (topic, number)),
                confirmed=None if confirmed is None else confirmed.get((topic, number), 0),
            )
            for number in range(partitions)
        ]

    feeds = {
        name: Line(
            name=name,
            feed=name,
            handovers=handovers(name, entry.partitions, "capture", "streams"),
            is_written_here=directory.is_captured(name),
        )
        for name, entry in sorted(directory.feeds.items())
    }
    subscriptions = {
        grant_id: Line(
            name=grant_id,
            subscriber=entry.grant.subscriber,
            feed=entry.grant.feed,
            handovers=handovers(
                entry.topic,
                directory.feeds[entry.grant.feed].partitions,
                "streams",
                "delivery",
                read_elsewhere.get(grant_id),
            ),
            is_read_here=read_elsewhere.get(grant_id, ()) is not None,
        )
        for grant_id, entry in sorted(directory.grants.items())
        if entry.grant.feed in directory.feeds and not entry.grant.is_over(now)
    }
    return Balance(feeds, subscriptions)
