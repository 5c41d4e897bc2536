"""Rule: dead letters that are delivered again by themselves once their cause is gone, as a sink's `retry_dead_letters` says.

Nobody can tell a target's constraint from outside, so of each cause one letter is tried, the probe. While it comes back as another
letter, the next try waits twice as long, a day at most; after RETRIES_MAX it has an end, and a person is told. Once the subscriber
has taken a probe, all others of the cause follow. What was tried how often stands in the letters themselves: a restart forgets
nothing but a probe that is under way, which is then tried again.

A run looks through a grant's letters one after the other and keeps one: it costs time by their number, and no memory.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.audit.audited_log import AuditedLog
from ops.audit.refused import note
from ops.host.look_on import look_on
from ops.redelivery.letter import WAITING, Choice, Letter, boxes
from ops.redelivery.newest import Moments
from ops.redelivery.retry import RETRIES_MAX, retry, retry_one
from ops.settings import Settings
from ops.watch.lag import delivery_group
from schemas.agreement.delivery_policy import RetriedLetters
from schemas.agreement.directory import Directory
from schemas.backoff import Backoff
from schemas.change import Partition
from schemas.dead_letter import OURS
from schemas.errors import Misconfigured
from schemas.log.offsets import bounds
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient

LOOK_EVERY_SECONDS = 5.0
LONGEST_SECONDS = 86_400.0
_logger = logging.getLogger(__name__)

AskConfirmed = Callable[[str, Partition], int]
"""How far a consumer group has confirmed a partition (ops/watch/offsets/confirmed.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A letter that is under way: its change, and where it was appended at the latest."""

    event: tuple[bytes | None, str]
    partition: int
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What waits of one cause: the letter that was tried most often, the oldest of those, and how many there are."""

    tried: Letter
    count: int


def due_at(rule: RetriedLetters, letter: Letter) -> float:
    """When a letter may be tried, in Unix seconds: longer after each time that it came back."""
    backoff = Backoff(first_seconds=rule.every_seconds, longest_seconds=LONGEST_SECONDS, jitter=0)
    return letter.record.timestamp_ms / 1000 + backoff.after(letter.replays + 1)


def first_failed_at(letter: Letter) -> float:
    """When its change failed first; a letter of before, when it was written."""
    told = letter.headers.get(f"{OURS}first_failed_at", "")
    return datetime.fromisoformat(told).timestamp() if told else letter.record.timestamp_ms / 1000


def standing(letters: Iterable[Letter], rule: RetriedLetters, now: float) -> Mapping[str, Standing]:
    """By cause, what waits and is not too old for the rule."""
    found: dict[str, Standing] = {}
    for letter in letters:
        if letter.state != WAITING or letter.hop != "deliver" or letter.cause not in rule.reasons:
            continue
        if now - first_failed_at(letter) > rule.for_seconds:
            continue
        former = found.get(letter.cause)
        tried = letter if former is None or letter.replays > former.tried.replays else former.tried
        found[letter.cause] = Standing(tried=tried, count=former.count + 1 if former else 1)
    return found


class LetterRules:
    """The rules of all sinks, looked at every few seconds by a thread of its own. `now` gives Unix seconds.

    Several workers may look: what one has settled does not wait for another, and a letter that two take at the same moment comes
    twice with one position.
    """

    def __init__(
        self,
        settings: Settings,
        directory: Callable[[], Directory],
        log: Log,
        confirmed: AskConfirmed,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._log = log
        self._trail = AuditedLog(settings.kafka, client_id="mesh-dlq-rules")
        self._confirmed = confirmed
        self._now = now
        self._probes: dict[tuple[str, str], Probe] = {}
        self._given_up: set[tuple[str, str]] = set()
        self._next: dict[str, tuple[int, float]] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until `stop`, in a thread."""
        look_on(self.look, stop, name="letter rules", every_seconds=LOOK_EVERY_SECONDS)

    def look(self) -> None:
        """Look once at the letters of every grant whose sink has a rule. Raises MeshError."""
        directory = self._directory()
        ruled = dict(_ruled(directory, datetime.fromtimestamp(self._now(), UTC)))
        self._probes = {key: probe for key, probe in self._probes.items() if key[0] in ruled}
        for box in boxes(self._settings, ruled, directory) if ruled else ():
            low, end = box.bounds()
            known, at = self._next.get(box.owner, (-1, 0.0))
            if end == known and self._now() < at:
                continue  # nothing came, and nothing is due
            found = standing(box.read(low, end), ruled[box.owner], self._now())
            times = [self._cause(directory, ruled[box.owner], each) for each in found.values()]
            for key in [key for key in self._probes if key[0] == box.owner and key[1] not in found]:
                if self._is_confirmed(directory, box.owner, self._probes[key]):
                    del self._probes[key]  # it was the last of its cause, and was taken
            self._next[box.owner] = (end, min(times, default=self._now() + LONGEST_SECONDS))

    def _cause(self, directory: Directory, rule: RetriedLetters, found: Standing) -> float:
        """Do what is due for the letters of one cause; when to look again."""
        letter = found.tried
        key, soon = (letter.owner, letter.cause), self._now() + LOOK_EVERY_SECONDS
        probe = self._probes.get(key)
        if probe is not None:
            if not self._is_confirmed(directory, letter.owner, probe):
                return soon
            del self._probes[key]
            if letter.event != probe.event:  # the subscriber has taken it, so it takes the others
                outcome = retry(
                    self._settings, Choice(single=frozenset(), whole=frozenset([key[0]]), cause=key[1]), dry_run=False
                )
                _logger.info("%s: the cause of %s is gone: %s", *key, ", ".join(outcome.lines()))
                return soon
        if letter.replays >= RETRIES_MAX:
            self._give_up(key, found.count)
            return self._now() + LONGEST_SECONDS
        if (at := due_at(rule, letter)) > self._now():
            return at
        self._try(directory, key, letter)
        return soon

    def _try(self, directory: Directory, key: tuple[str, str], letter: Letter) -> None:
        self._given_up.discard(key)
        topic, partition = directory.grants[letter.owner].topic, letter.place[0]
        with closing(RegistryClient(self._settings.registry)) as registry:
            is_due = retry_one(self._settings, directory, letter, Moments(registry.schema), self._log, self._trail)
        if not is_due:
            return  # superseded: nothing was tried, and nothing is learnt
        before = bounds(self._settings.kafka, topic, partition)[1]
        self._probes[key] = Probe(event=letter.event, partition=partition, before=before)

    def _is_confirmed(self, directory: Directory, owner: str, probe: Probe) -> bool:
        entry = directory.grants[owner]
        group = delivery_group(entry.grant.subscriber, entry.grant.sink)
        return self._confirmed(group, (entry.topic, probe.partition)) >= probe.before

    def _give_up(self, key: tuple[str, str], count: int) -> None:
        if key in self._given_up:
            return
        self._given_up.add(key)
        fix = f"mend the target, then `mesh dlq retry {key[0]} --all --reason {key[1]}`, or drop them"
        _logger.error(
            "%s: %d dead letters by %s came back %d times, and wait for a person; %s",
            key[0],
            count,
            key[1],
            RETRIES_MAX,
            fix,
        )
        note(self._settings, "dlq rule given up", key[0], reason=key[1], count=count)


def _ruled(directory: Directory, now: datetime) -> Iterator[tuple[str, RetriedLetters]]:
    """The grants whose sink has a rule, and which; of those that flow, and that nobody holds."""
    for name, entry in directory.trusted().grants.items():
        grant = entry.grant
        subscriber = directory.subscribers.get(grant.subscriber)
        sink = subscriber.sink(grant.sink) if subscriber else None
        if sink is None or not sink.delivery or not grant.is_active(now) or directory.pause_of(grant) is not None:
            continue
        try:
            rule = sink.policy(grant.subscriber).retry_dead_letters
        except Misconfigured:
            continue  # its lane says so
        if rule is not None:
            yield name, rule
