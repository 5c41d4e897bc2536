"""Owed: of a grant that was changed while it ran, what its subscriber does not have yet; the rest is not sent again.

The past goes by once more (streams/egress/backfill.py). A row that the former definition let through as it is let through now is
there already; one that enters the row filter, or whose added columns hold something, is sent, and one that left is removed. From its
first record on everything of such a row is sent, so that its last state is the last that comes: of the others nothing is. So what is
remembered grows with the difference, not with the feed.

Only where rows are shown as they were: with columns taken away or masked otherwise every row is another one. A truncate ends it: what
follows is sent whole, since the truncate itself takes away what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.agreement.directory import FeedEntry
from schemas.agreement.grant import Grant, Mask
from schemas.wire.scan import Scanner, Shape, Spans
from streams.egress.cut import Cut, ScopeUnknown

_DELETE, _TRUNCATE = ord("d"), ord("t")

Kept = Callable[[bytes, Spans], bool]
"""Whether the former filter held the row that an envelope has behind its change."""


@dataclass(eq=False, slots=True)
class Owed:
    """What a job has to send of one partition. `until`: from this offset on the former definition was not served.

    `sent` are the keys of rows of which something was sent; `is_over` after a truncate.
    """

    until: int
    added: frozenset[str]
    sent: set[bytes] = field(default_factory=set[bytes])
    is_over: bool = False


def owed_after(former: Mapping[str, Any], grant: Grant, feed: FeedEntry, until: int) -> Owed | None:
    """From the former definition (`streams.egress.egress.definition`) to the grant's; None where every row is another one."""
    masks = {column: str(mask) for column, mask in grant.mask.items() if mask is not Mask.FULL}
    had = {column for column in former["columns"] if former["mask"].get(column) != Mask.DROP}
    has = {column for column in grant.columns if grant.mask.get(column) is not Mask.DROP}
    added = frozenset(has - had - set(feed.contract.key))
    if not had <= has | set(feed.contract.key) or any(
        masks.get(column) != former["mask"].get(column) for column in had
    ):
        return None
    if {column: mask for column, mask in masks.items() if column in feed.contract.key} != {
        column: mask for column, mask in former["mask"].items() if column in feed.contract.key
    }:
        return None
    if added and feed.contract.rules:
        return None  # a mark of a rule may speak of a column that is null
    return Owed(until=until, added=added)


def boundaries_of(found: Owed, shape: Shape, key: tuple[str, ...]) -> frozenset[int]:
    """What it needs of a Scanner."""
    names = {*found.added, *key}
    return frozenset(at + end for at, name in enumerate(shape.columns) if name in names for end in (0, 1))


def cut_owed(found: Owed, cut: Cut, was_kept: Kept, scanner: Scanner, key: tuple[str, ...]) -> Cut:
    """The cut without what the subscriber has already."""
    slot, shape = scanner.slot, scanner.shape
    places = [(slot[at], slot[at + 1]) for name in key for at in [shape.columns.index(name)]]
    added = [slot[at] for at, name in enumerate(shape.columns) if name in found.added]

    def cut_what_lacks(b: bytes, s: Spans) -> bytes | None:
        op, x, y = s[0], s[1], s[2]
        if found.is_over:
            return cut(b, s)
        row = y if y is not None else x
        if row is None:  # a truncate, or a delete without its row
            found.is_over = op == _TRUNCATE
            return cut(b, s)
        identity = b"".join(b[row[start] : row[end]] for start, end in places)
        try:
            out = cut(b, s)
        except ScopeUnknown:  # what was delivered tells, and may be removed
            found.sent.add(identity)
            raise
        if out is None or identity in found.sent:
            return out
        if y is not None and out.__class__ is bytes and was_kept(b, s):
            is_whole = s[6] is None or not s[6].unchanged  # what the source did not send is no null
            if is_whole and all(b[y[at]] == 0 for at in added):
                return None
        if op == _DELETE:
            return None  # by either definition it is gone
        found.sent.add(identity)
        return out

    return cut_what_lacks
