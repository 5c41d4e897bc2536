"""Letter: one dead letter of a feed or a grant, and which there are, by the names that people give.

A letter is named `<feed or grant>@<offset on its dead-letter topic>`, and a grant that is delivered through a later topic by its
edition too, as the topic is: `<grant>-2@<offset>`. What became of it stands on `mesh.letters`; the letter itself stays where it is.

Letters are read as they stand, one after the other: of two hundred thousand there is one in memory, and a byte each of what became
of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.settings import Settings
from schemas.agreement.directory import Directory
from schemas.change import Record
from schemas.dead_letter import CONNECT, OURS
from schemas.errors import Misconfigured
from schemas.feed import LETTERS, dead_letter_topic, first_edition, later_edition
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds, partitions_of
from schemas.log.range import read_range

WAITING, RETRIED, SUPERSEDED, DROPPED = STATES = "waiting", "retried", "superseded", "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. `owner` is the feed or the grant; `state` is waiting until something became of it."""

    owner: str
    offset: int
    record: Record
    headers: Mapping[str, str]
    state: str
    edition: int = 1

    @property
    def name(self) -> str:
        """How a person names it."""
        return f"{later_edition(self.owner, self.edition)}@{self.offset}"

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset of the original record."""
        told = self.headers
        return int(told.get(f"{CONNECT}partition", -1)), int(told.get(f"{CONNECT}offset", -1))

    @property
    def event(self) -> tuple[bytes | None, str]:
        """The same for every letter of one change."""
        return self.record.key, self.headers.get(f"{OURS}event.id", "")

    @property
    def hop(self) -> str:
        """Which hop could not take it."""
        return self.headers.get(f"{CONNECT}stage", "")

    @property
    def cause(self) -> str:
        """Why, as a short safe code."""
        return self.headers.get(f"{OURS}reason", "")

    @property
    def replays(self) -> int:
        """How often its change had been delivered again before."""
        return int(self.headers.get(f"{OURS}replay.count", 0))

    @property
    def original_headers(self) -> Sequence[tuple[str, bytes]]:
        """Those of the record that could not be taken."""
        return [header for header in self.record.headers or () if not header[0].startswith((CONNECT, OURS))]

    def to_json(self) -> dict[str, Any]:
        """For scripts: no value of a row."""
        return {
            "letter": self.name,
            "state": self.state,
            "reason": self.cause,
            "hop": self.hop,
            "position": self.headers.get(f"{OURS}event.id", ""),
            "detail": self.headers.get(f"{CONNECT}exception.message", ""),
            "attempts": int(self.headers.get(f"{OURS}attempts", 1)),
            "first_failed_at": self.headers.get(f"{OURS}first_failed_at", ""),
            "last_failed_at": self.headers.get(f"{OURS}last_failed_at", ""),
            "replays": self.replays,
            "at_ms": self.record.timestamp_ms,
        }


class LetterStates:
    """What became of letters, a byte for each, of some owners."""

    def __init__(self, kafka: Kafka, topics: Iterable[str]) -> None:
        self._codes = {topic: bytearray() for topic in topics}
        for _, key, record in read_all(kafka, [LETTERS]):
            topic, _, number = key.partition("@")
            if record and number.isdigit() and (codes := self._codes.get(topic)) is not None:
                if len(codes) <= (offset := int(number)):
                    codes.extend(bytes(offset + 1 - len(codes)))
                codes[offset] = STATES.index(record["state"])

    def of(self, topic: str, offset: int) -> str:
        """The state of a letter by the name before its `@` and its number."""
        codes = self._codes[topic]
        return STATES[codes[offset]] if offset < len(codes) else WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterBox:
    """The letters of one feed or grant."""

    kafka: Kafka
    owner: str
    topic: str
    edition: int
    states: LetterStates

    def bounds(self) -> tuple[int, int]:
        """The first letter and the next one to be written."""
        return bounds(self.kafka, self.topic, 0) if partitions_of(self.kafka, self.topic) else (0, 0)

    def read(self, start: int, end: int) -> Iterator[Letter]:
        """The letters from one number to another, oldest first."""
        name = later_edition(self.owner, self.edition)
        for batch in read_range(self.kafka, self.topic, 0, start, end) if end > start else ():
            for record in batch.records:
                headers = {key: value.decode("utf-8", "replace") for key, value in record.headers or () if value}
                yield Letter(
                    owner=self.owner,
                    offset=record.offset,
                    record=record,
                    headers=headers,
                    state=self.states.of(name, record.offset),
                    edition=self.edition,
                )


def boxes(settings: Settings, owners: Iterable[str] = (), directory: Directory | None = None) -> list[LetterBox]:
    """The boxes of these feeds and grants, or of all. Raises Misconfigured for an unknown name."""
    directory = directory or read_directory(settings.kafka)
    known = [*directory.feeds, *directory.grants]
    wanted = list(owners)
    for owner in wanted:
        if owner not in known:
            raise Misconfigured(owner, "is no feed and no grant", fix="`mesh status` lists both")
    editions = {owner: entry.edition if (entry := directory.grants.get(owner)) else 1 for owner in wanted or known}
    states = LetterStates(settings.kafka, [later_edition(owner, edition) for owner, edition in editions.items()])
    made: list[LetterBox] = []
    for owner, edition in editions.items():
        entry = directory.grants.get(owner)
        topic = dead_letter_topic(entry.topic if entry else owner)
        made.append(LetterBox(kafka=settings.kafka, owner=owner, topic=topic, edition=edition, states=states))
    return made


def letters(settings: Settings, owners: Iterable[str] = (), *, state: str | None = None) -> Iterator[Letter]:
    """The letters of these feeds and grants, or of all, oldest first. Raises Misconfigured for an unknown name."""
    for box in boxes(settings, owners):
        for letter in box.read(*box.bounds()):
            if state is None or letter.state == state:
                yield letter


def owner_of(name: str) -> str:
    """The feed or grant of a letter's name."""
    return first_edition(name.partition("@")[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which waiting letters are meant: `single` ones by name, all of the `whole` feeds and grants; of one `cause` if given."""

    single: frozenset[str]
    whole: frozenset[str]
    cause: str | None = None

    @property
    def name(self) -> str:
        """What was named, for the audit."""
        return ", ".join([*sorted(self.single)[:10], *sorted(self.whole)])

    @property
    def owners(self) -> list[str]:
        """The feeds and grants."""
        return sorted({*map(owner_of, self.single), *self.whole})

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant, and waits."""
        is_meant = letter.owner in self.whole or letter.name in self.single
        return is_meant and letter.state == WAITING and self.cause in {None, letter.cause}


def choice(names: Sequence[str], *, is_all: bool, reason: str | None) -> Choice:
    """What was named: single letters, or with `is_all` feeds and grants. Raises Misconfigured."""
    single = frozenset(name for name in names if "@" in name)
    whole = frozenset(map(owner_of, set(names) - single))
    if not names:
        fix = "name `<grant>@<number>`, or a grant with --all: `mesh dlq list`"
        raise Misconfigured("dlq", "names no letter", fix=fix)
    if whole and not is_all:
        raise Misconfigured(", ".join(sorted(whole)), "is not one letter", fix="add --all for every letter of it")
    return Choice(single=single, whole=whole, cause=reason)
