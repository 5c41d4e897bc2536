"""Where the feeds of a stated source are: the source's record in `Progress`.

epoch, number   the statement up to which all is durable; the epoch rises whenever everything is stated anew
done            how many records' worth of the statement after it is durable: letters first, then changes
is_emptied      whether subscribers know that what an earlier epoch stated is gone
asked           the last request to state the feed anew that was taken up
is_gone         the feed was not among the source's when we last looked
last            what the last statement was, for people: name, rows, when, by when the next one is expected
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

_FORMAT = 1
_ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPlace:
    """See the top of this file."""

    epoch: int = 1
    number: int = 0
    done: int = 0
    is_emptied: bool = True
    asked: str | None = None
    is_gone: bool = False
    last: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def anew(self, asked: str | None) -> StatedPlace:
        """Everything is stated again, above all earlier positions."""
        return StatedPlace(epoch=self.epoch + 1, is_emptied=False, asked=asked, last=self.last)

    def told(self, done: int) -> StatedPlace:
        """So much of the next statement is durable."""
        return replace(self, done=done, is_emptied=True)

    def taken(self, number: int, last: Mapping[str, Any]) -> StatedPlace:
        """A statement is durable."""
        return replace(self, number=number, done=0, is_emptied=True, last=last)


def places_of(record: Mapping[str, Any] | None) -> dict[str, StatedPlace]:
    """By feed, from the source's record."""
    if record is None:
        return {}
    known = StatedPlace.__dataclass_fields__
    return {
        feed: StatedPlace(**{name: value for name, value in place.items() if name in known})
        for feed, place in record["feeds"].items()
    }


def record_of(places: Mapping[str, StatedPlace]) -> dict[str, Any]:
    """The source's record."""
    return {"format": _FORMAT, "feeds": {feed: asdict(place) for feed, place in places.items()}}


def last_words(record: Mapping[str, Any] | None, feed: str) -> str:
    """What the feed's last statement was, and by when the next one is expected; times in Asia/Shanghai."""
    place = places_of(record).get(feed, StatedPlace())
    last = place.last
    if not last:
        return "nothing yet"
    bad = f", {last['letters']:,} unreadable" if last["letters"] else ""
    text = f"{' '.join(str(last[name]) for name in ('name', 'encoding') if name in last)}: {last['rows']:,} rows{bad}"
    due = f", the next by {_shown(last['next_by'])}" if last.get("next_by") else ""
    return f"{text}, at {_shown(last['at'])}{due}"


def _shown(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, _ZONE):%Y-%m-%d %H:%M:%S}"
