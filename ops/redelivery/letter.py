"""Letter: one dead letter of a feed or a grant, and which there are, by the names that people give.

A letter is named `<feed or grant>@<offset on its dead-letter topic>`, and a grant that is delivered through a later topic by its
edition too, as the topic is: `<grant>-2@<offset>`. What became of it stands on `mesh.letters`; the letter itself stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ops.audit.refused import refusals_told
from ops.settings import Settings
from schemas.change import Record
from schemas.errors import Misconfigured
from schemas.feed import LETTERS, dead_letter_topic, first_edition, later_edition
from schemas.log.control.follower import read_directory
from schemas.log.control.records import read_all
from schemas.log.offsets import partitions_of
from schemas.log.range import read_standing

WAITING, RETRIED, SUPERSEDED, DROPPED = "waiting", "retried", "superseded", "dropped"


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
        return int(told.get("__connect.errors.partition", -1)), int(told.get("__connect.errors.offset", -1))

    @property
    def event(self) -> tuple[bytes | None, str]:
        """The same for every letter of one change."""
        return self.record.key, self.headers.get("mesh.errors.event.id", "")

    def to_json(self) -> dict[str, Any]:
        """For scripts: no value of a row."""
        return {
            "letter": self.name,
            "state": self.state,
            "reason": self.headers.get("mesh.errors.reason", ""),
            "hop": self.headers.get("__connect.errors.stage", ""),
            "position": self.headers.get("mesh.errors.event.id", ""),
            "detail": self.headers.get("__connect.errors.exception.message", ""),
            "at_ms": self.record.timestamp_ms,
        }


def letters(settings: Settings, owners: Iterable[str] = (), *, state: str | None = None) -> list[Letter]:
    """The letters of these feeds and grants, or of all, oldest first. Raises Misconfigured for an unknown name."""
    directory = read_directory(settings.kafka)
    known = [*directory.feeds, *directory.grants]
    wanted = list(owners)
    for owner in wanted:
        if owner not in known:
            raise Misconfigured(owner, "is no feed and no grant", fix="`mesh status` lists both")
    states = {key: record["state"] for _, key, record in read_all(settings.kafka, [LETTERS]) if record}
    found: list[Letter] = []
    for owner in wanted or known:
        entry = directory.grants.get(owner)
        topic, edition = dead_letter_topic(entry.topic if entry else owner), entry.edition if entry else 1
        for partition in range(partitions_of(settings.kafka, topic)):
            for batch in read_standing(settings.kafka, topic, partition):
                found += [_letter(owner, edition, record, states) for record in batch.records]
    return [letter for letter in found if state is None or letter.state == state]


def _letter(owner: str, edition: int, record: Record, states: Mapping[str, str]) -> Letter:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers or ()}
    letter = Letter(owner=owner, offset=record.offset, record=record, headers=headers, state=WAITING, edition=edition)
    return replace(letter, state=states.get(letter.name, WAITING))


def owner_of(name: str) -> str:
    """The feed or grant of a letter's name."""
    return first_edition(name.partition("@")[0])


@refusals_told("dlq")
def chosen(settings: Settings, names: Sequence[str], *, is_all: bool, reason: str | None) -> list[Letter]:
    """The waiting letters that were named: single ones, or with `is_all` every one of the feeds and grants."""
    owners = list(dict.fromkeys(map(owner_of, names)))
    if not owners:
        raise Misconfigured(
            "dlq", "names no letter", fix="name `<grant>@<number>`, or a grant with --all: `mesh dlq list`"
        )
    found = letters(settings, owners)
    wanted = {name for name in names if "@" in name}
    whole = {name for name in names if "@" not in name}
    if whole and not is_all:
        raise Misconfigured(", ".join(sorted(whole)), "is not one letter", fix="add --all for every letter of it")
    if unknown := wanted - {letter.name for letter in found}:
        raise Misconfigured(", ".join(sorted(unknown)), "there is no such letter", fix="`mesh dlq list` shows them")
    return [
        letter
        for letter in found
        if letter.state == WAITING
        and (letter.name in wanted or letter.owner in whole)
        and reason in {None, letter.headers.get("mesh.errors.reason")}
    ]
