"""A row that cannot be encoded, as the record for the feed's dead letters (invariant 3)."""

from __future__ import annotations

from producers.source import Outgoing
from schemas.dead_letter import DeadLetter
from schemas.errors import Rejected
from schemas.feed import dead_letter_topic


def rejected(feed: str, value: bytes, error: Rejected, position: str) -> Outgoing:
    """The record with the source's own bytes."""
    letter = DeadLetter(
        topic=feed,
        partition=-1,
        offset=-1,
        key=None,
        value=value,
        hop="capture",
        reason=error.reason,
        detail=str(error),
        position=position,
    )
    return dead_letter_topic(feed), letter.key, letter.value, -1, letter.headers()
