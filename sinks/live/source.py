"""Live source: what a live feed is served from: the shelf, and the subscriber's topics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sinks.live.position import FeedPosition
from sinks.live.refusal import LiveRefusal
from sinks.live.shelf import Shelf
from sinks.live.stream import FeedStream
from sinks.sink import Granted


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSource:
    """`open_stream` and `is_there` ask the broker: for a stream from a position, and whether a position can have been told.

    `prefix` is what the names of the subscriber's topics begin with.
    """

    label: str
    prefix: str
    shelf: Shelf
    granted: Granted
    open_stream: Callable[[FeedPosition], FeedStream]
    is_there: Callable[[FeedPosition], bool]
    refused: Callable[[str, str], None] = field(default=lambda _reason, _address: None)
    """Told why somebody was refused, and from which address the attempt came."""

    def position(self, text: str) -> FeedPosition:
        """The position that a subscriber gives; the beginning for none. Raises LiveRefusal."""
        if not text:
            return FeedPosition(told_at=int(time.time()), offsets={})
        try:
            return FeedPosition.parse(text, self.prefix)
        except ValueError:
            fix = "give the last `id` as it came; or begin anew: empty your copy, and ask without Last-Event-ID"
            raise LiveRefusal(409, "this is no position of this feed", fix) from None
