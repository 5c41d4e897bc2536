"""DeliveryPolicy: what a subscriber asks of how it is delivered to: how fast, at which hours, how long it is tried. Pure.

It stands as `delivery:` beside a sink's options and is the same for every kind of sink that is delivered to. What may not go out yet
waits on the grants' own topics, in order: a lane that waits reads no further, so however long it waits costs no memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from schemas.form import Between, Seconds, Written, needed, read

SHANGHAI = ZoneInfo("Asia/Shanghai")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_REASON = re.compile(r"[a-z][a-z0-9_]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From one time of day up to, and without, another, in Asia/Shanghai; over midnight where the second is earlier."""

    begins: time
    ends: time

    def covers(self, now: datetime) -> bool:
        """Whether it is quiet at this moment."""
        at = now.astimezone(SHANGHAI).time()
        if self.begins < self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends

    def until(self, now: datetime) -> datetime:
        """When the next quiet hours end, those of this moment if it is quiet."""
        here = now.astimezone(SHANGHAI)
        today = datetime.combine(here.date(), self.ends, SHANGHAI)
        return today if today > here else today + timedelta(days=1)

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"


def _quiet_hours(value: Any) -> QuietHours:
    match = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    begins, ends = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    if begins == ends:
        raise ValueError
    return QuietHours(begins, ends)


def _reason(value: Any) -> str:
    if not isinstance(value, str) or not _REASON.fullmatch(value):
        raise ValueError
    return value


Quiet = Annotated[QuietHours, Written(_quiet_hours, 'two times of Asia/Shanghai in quotes, such as "22:00-06:00"')]
Reason = Annotated[str, Written(_reason, "a reason as `mesh dlq list --by cause` prints it, such as sql_23514")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriedLetters:
    """Dead letters that are delivered again by themselves once their cause is gone (ops/redelivery/rule.py).

    Of each cause one letter is tried, after `every_seconds` and then ever more seldom; once it was taken the others follow. Letters
    older than `for_seconds` wait for a person.
    """

    reasons: Annotated[tuple[Reason, ...], Between(1)] = needed(
        "nobody knows which dead letters are meant",
        "add `reasons: [sql_23514]`, as `mesh dlq list --by cause` has them",
    )
    every_seconds: Annotated[Seconds, Between(1, 86_400)] = 600.0
    for_seconds: Annotated[Seconds, Between(60)] = 7 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """The entry `delivery:` of a sink; what is left out does not limit.

    `changes_per_second` is of the whole sink, tries included; a second's worth may go at once. `retry_wait_seconds` is the longest
    wait between tries of a target that is unwell. `retry_for_seconds` is how long one may be unwell without a break: then the
    sink stops until a person resumes it, and keeps its changes.
    """

    changes_per_second: Annotated[float, Between(0.1)] | None = None
    quiet: Quiet | None = None
    retry_wait_seconds: Annotated[Seconds, Between(0.1, 3600)] | None = None
    retry_for_seconds: Annotated[Seconds, Between(1)] | None = None
    retry_dead_letters: RetriedLetters | None = None

    @classmethod
    def of(cls, delivery: Mapping[str, Any], subject: str) -> DeliveryPolicy:
        """Read what stands at a sink. Raises Misconfigured with the subject."""
        return read(cls, delivery, subject, "entry of `delivery`")

    def explained(self) -> Iterator[str]:
        """What each limit does, for whoever checks a folder."""
        if self.changes_per_second is not None:
            yield f"{self.changes_per_second:g} changes a second at most; the others wait on their topics, in order"
        if self.quiet is not None:
            waits = "what changes meanwhile waits on its topic and follows in order, ends of grants do not wait"
            yield f"nothing is delivered from {self.quiet} of Asia/Shanghai: {waits}"
        if self.retry_wait_seconds is not None:
            yield f"while its target is unwell it is tried every {_words(self.retry_wait_seconds)} at the least"
        if self.retry_for_seconds is not None:
            stops = "it stops then, keeps its changes, and goes on by `mesh subscription resume`"
            yield f"its target may be unwell for {_words(self.retry_for_seconds)}: {stops}"
        if (letters := self.retry_dead_letters) is not None:
            which = f"dead letters by {', '.join(letters.reasons)}, up to {_words(letters.for_seconds)} old,"
            yield f"{which} are tried again by themselves, one of each after {_words(letters.every_seconds)}"


def _words(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {name}"
    return f"{seconds:g} s"
