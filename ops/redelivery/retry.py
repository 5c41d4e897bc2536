"""`mesh dlq retry`: dead letters are delivered again to their subscriber, in order and never over newer changes.

They go in runs of at most SEGMENT_MAX letters. Of a run three things are read one after the other, and none is kept: its letters for
their keys, the `out` topic for what is newer of those, and its letters again, RUN_MAX at a time, which are appended and settled. So
memory does not grow with their number; and whoever is killed in between has settled what was appended, or appends it again, which
the position makes harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import note, refusals_told
from ops.redelivery.again import Past, append_again, counted
from ops.redelivery.again_log import again_log
from ops.redelivery.dlq import RUN_MAX, Outcome, Progress, missing, settle
from ops.redelivery.letter import RETRIED, SUPERSEDED, Choice, Letter, LetterBox, boxes, owner_of
from ops.redelivery.newest import Moments, Newest
from ops.redelivery.replay import grant_of
from ops.settings import Settings
from schemas.agreement.directory import Directory, GrantEntry
from schemas.errors import Misconfigured
from schemas.log.control.follower import read_directory
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient

RETRIES_MAX = 5
SEGMENT_MAX = 50_000
WORN, UNREADY = "worn out", "refused before delivery"
_NOTES = {
    WORN: f"retried {RETRIES_MAX} times already: mend the target and replay the grant, or `mesh dlq drop` them",
    UNREADY: "the same bytes would be refused again: mend the row in its source, then `mesh dlq drop` the letter",
}


@dataclass(slots=True, kw_only=True)
class _Segment:
    """A run of letters: its numbers, the keys of each partition, and where the first of them stands there."""

    start: int
    end: int
    count: int = 0
    keys: dict[int, set[bytes | None]] = field(default_factory=dict[int, set[bytes | None]])
    firsts: dict[int, int] = field(default_factory=dict[int, int])


@refusals_told("dlq retry")
def retry(
    settings: Settings, chosen: Choice, *, dry_run: bool, progress: Progress = lambda _done, _of: None
) -> Outcome:
    """Have letters of a subscriber's target delivered again. Raises Misconfigured for others that are named, and without a grant."""
    directory = read_directory(settings.kafka)
    outcome = Outcome(is_dry=dry_run)
    with closing(RegistryClient(settings.registry)) as registry:
        moments = Moments(registry.schema)
        for box in boxes(settings, chosen.owners, directory):
            if box.owner in directory.feeds:
                raise Misconfigured(box.owner, "was refused before delivery", fix=_NOTES[UNREADY])
            entry = grant_of(directory, box.owner)
            with (
                again_log(settings, "mesh-dlq") as log,
                closing(AuditedLog(settings.kafka, client_id="mesh-dlq")) as trail,
            ):
                _Retry(settings, box, entry, chosen, outcome, moments, (log, trail)).run(progress)
    return outcome


def retry_one(
    settings: Settings, directory: Directory, letter: Letter, moments: Moments, log: Log, trail: AuditedLog
) -> bool:
    """Deliver one letter again; whether it was not superseded. For a rule (rule.py)."""
    entry = grant_of(directory, letter.owner)
    newest = Newest(settings.kafka, entry.topic, letter.place[0], [letter.record.key], moments)
    newest.read(letter.place[1])
    is_due = not newest.has_newer(letter.record.key, moments.token(letter.record))
    if is_due:
        append_again(log, newest, [_past(entry, letter)])
    state = RETRIED if is_due else SUPERSEDED
    settle(trail, "dlq rule", letter.owner, {letter.name: state}, reason=letter.cause, tried=letter.replays + 1)
    return is_due


def _past(entry: GrantEntry, letter: Letter) -> Past:
    default = [("grant_id", letter.owner.encode()), ("purpose", entry.grant.purpose.encode())]
    return Past(letter.record, counted(letter.original_headers or default, letter.replays + 1))


class _Retry:
    """The letters of one grant."""

    def __init__(
        self,
        settings: Settings,
        box: LetterBox,
        entry: GrantEntry,
        chosen: Choice,
        outcome: Outcome,
        moments: Moments,
        logs: tuple[Log, AuditedLog],
    ) -> None:
        self._settings = settings
        self._box = box
        self._entry = entry
        self._chosen = chosen
        self._outcome = outcome
        self._moments = moments
        self._log, self._trail = logs

    def run(self, progress: Progress) -> None:
        """All of them."""
        low, end = self._box.bounds()
        start, named = low, set[str]()
        while start < end:
            segment = self._look(start, end, named)
            if segment.count:
                self._segment(segment, lambda at: progress(at - low, end - low))
            start = segment.end
        missing(frozenset(name for name in self._chosen.single if owner_of(name) == self._box.owner), named)

    def _look(self, start: int, end: int, named: set[str]) -> _Segment:
        """The next run: which keys are in it. Raises Misconfigured for a named letter that cannot be retried."""
        segment = _Segment(start=start, end=end)
        for letter in self._box.read(start, end):
            named |= {letter.name} & self._chosen.single
            if not self._chosen.takes(letter):
                continue
            if (why := _unfit(letter)) is not None:
                if letter.name in self._chosen.single:
                    raise Misconfigured(letter.name, why, fix=_NOTES[why])
                self._outcome.count(letter, why)
                self._outcome.notes[why] = _NOTES[why]
                continue
            number, offset = letter.place
            segment.keys.setdefault(number, set()).add(letter.record.key)
            segment.firsts[number] = min(offset, segment.firsts.get(number, offset))
            segment.count += 1
            if segment.count >= SEGMENT_MAX:
                segment.end = letter.offset + 1
                break
        return segment

    def _segment(self, segment: _Segment, progress: Callable[[int], None]) -> None:
        newest = {
            number: Newest(self._settings.kafka, self._entry.topic, number, keys, self._moments)
            for number, keys in segment.keys.items()
        }
        for number, each in newest.items():
            each.read(segment.firsts[number])
        segment.keys.clear()
        its = (
            letter
            for letter in self._box.read(segment.start, segment.end)
            if self._chosen.takes(letter) and _unfit(letter) is None
        )
        if not self._outcome.is_dry:  # records on `out` topics are in no transaction with the audit
            span = f"{segment.start} to {segment.end - 1}"
            note(self._settings, "dlq retry begun", self._box.owner, numbers=span, count=segment.count)
        while run := list(islice(its, RUN_MAX)):
            self._run(run, newest)
            progress(run[-1].offset + 1)

    def _run(self, run: list[Letter], newest: Mapping[int, Newest]) -> None:
        """Append what is due of some letters, in the order of their places, and settle all of them."""
        states: dict[str, str] = {}
        due: dict[int, list[Past]] = {}
        for letter in sorted(run, key=lambda each: each.place):
            number = letter.place[0]
            is_newer = newest[number].has_newer(letter.record.key, self._moments.token(letter.record))
            states[letter.name] = SUPERSEDED if is_newer else RETRIED
            if not is_newer:
                due.setdefault(number, []).append(_past(self._entry, letter))
        if not self._outcome.is_dry:
            for number, changes in due.items():
                append_again(self._log, newest[number], changes)
            settle(self._trail, "dlq retry", self._box.owner, states, reason=self._chosen.cause)
        for letter in run:
            self._outcome.count(letter, states[letter.name])


def _unfit(letter: Letter) -> str | None:
    if letter.hop != "deliver":
        return UNREADY
    return WORN if letter.replays >= RETRIES_MAX else None
