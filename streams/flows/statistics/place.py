"""Place: where something is counted, in the boundaries of its time (AS_THEN) and in those of today (TODAY), HANDBOOK L1.

A code is read as of the day on which it was recorded. What became of it, or what it had been before, comes from the table of
regions; where that is not one code, the place is unknown rather than guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from streams.flows.regions import city_regions
from streams.operators.flow import Fact, Outcome, Row, queue_item

AS_THEN, TODAY = "AS_THEN", "TODAY"
UNKNOWN_REGION, OUTSIDE = "000000", "999999"
_CITY_PREFIX = "4401"
QUEUE = "city.queue"


@dataclass(frozen=True, slots=True)
class Place:
    """A region code as it was recorded, and the day that it is to be read as of."""

    code: str | None
    as_of: int

    def on(self, day: int) -> str:
        """The region in the boundaries of a day; 000000 where that is not known, 999999 outside the city."""
        return _region_on(self.code, self.as_of, day) if self.code else UNKNOWN_REGION

    @property
    def trouble(self) -> str | None:
        """What a person should look at: a code of the city that never was one, or no longer was one when it was recorded."""
        if not self.code or not self.code.startswith(_CITY_PREFIX):
            return None
        if self.code not in city_regions().codes:
            return "REGION_UNKNOWN"
        return None if city_regions().is_valid(self.code, self.as_of) else "REGION_ABOLISHED"


@lru_cache(maxsize=100_000)
def _region_on(code: str, as_of: int, day: int) -> str:
    if code not in city_regions().codes:
        return UNKNOWN_REGION if code.startswith(_CITY_PREFIX) else OUTSIDE
    return city_regions().translate(code, as_of, day) or UNKNOWN_REGION


def named(text: str, day: int) -> str | None:
    """The code of the one district of the city whose name, as of a day, is part of a text such as an office's name."""
    table = city_regions()
    found = {
        code
        for code in table.codes
        if code.startswith(_CITY_PREFIX) and not code.endswith("00")
        if (region := table.find(code, day)) is not None and region.name in text
    }
    return found.pop() if len(found) == 1 else None


def report(place: Place, subject_key: str, fact: Fact, outcome: Outcome) -> None:
    """Put a place that is not in order on the queue; it is counted as far as it can be all the same."""
    if kind := place.trouble:
        item: Row = queue_item(f"{subject_key}|{kind}", kind, [subject_key], [fact], opened_at=fact.event_at)
        outcome.publish(QUEUE, item)
