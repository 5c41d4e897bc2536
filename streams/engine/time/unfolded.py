"""Unfolded: where a past is replayed, the flows that may not have folded all that follows from copied rows.

What subjects tell each other of a copied past is as old as that past, and says nothing of time; until it is folded, a flow's clock
stands still (streams/engine/runner.py). Right for one worker: none knows what another one has sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from schemas.change import Partition

LOOK_SECONDS = 1.0
"""What is read of a partition, and how far it goes, is known so much later at most."""
HEAD_SECONDS = 5.0
"""What is behind by less is as good as read, where event time is not that of commits."""


class Unfolded:
    """Moments are seconds since 1970, but for what was heard of partitions: milliseconds."""

    def __init__(self) -> None:
        self._sent_at: dict[str, float] = {}
        """By flow, when the last copied row was sent to the inbox."""
        self._taken: set[str] = set()
        """Flows whose copied rows are not sent yet."""
        self._folded_at = 0.0
        self._inboxes: set[Partition] = set()

    def __contains__(self, flow: str) -> bool:
        return flow in self._sent_at

    def take(self, *flows: str) -> None:
        """Copied rows of these flows are on their way to the inbox."""
        self._taken.update(flows)

    def sent(self, at: float) -> None:
        """What was taken lies in the inbox."""
        self._sent_at |= dict.fromkeys(self._taken, at)
        self._taken.clear()

    def folded(self, at: float) -> None:
        """Something of the inbox was folded, and what follows from it sent."""
        self._folded_at = at

    def read(self, inboxes: Collection[Partition], flows: Collection[str], at: float) -> None:
        """These partitions of the inbox are read here; nobody knows what lies in one that is new."""
        if set(inboxes) - self._inboxes:
            self._sent_at |= dict.fromkeys(flows, at)
        self._inboxes = set(inboxes)

    def look(self, unread: Collection[Partition], heard_ms: Mapping[Partition, int], at: float) -> None:
        """Let go of flows that have folded all. `unread` are the inbox's partitions that hold more than was heard of them."""
        # What was sent, here or by a fold, this very moment is not known to be unread yet.
        is_quiet = not unread and at - self._folded_at >= LOOK_SECONDS
        heard = [moment for place, moment in heard_ms.items() if place in self._inboxes]
        is_near = bool(heard) and all(is_near_end(heard_ms.get(place, 0), at) for place in unread)
        self._sent_at = {
            flow: sent_at
            for flow, sent_at in self._sent_at.items()
            if not (is_quiet and at - sent_at >= LOOK_SECONDS)
            and not (is_near and min(heard) > (sent_at + HEAD_SECONDS) * 1_000)
        }


def is_near_end(heard_ms: int, at: float) -> bool:
    """Whether a partition of which this was heard last was read to within seconds of its end."""
    return heard_ms > (at - HEAD_SECONDS) * 1_000
