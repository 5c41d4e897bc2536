"""`mesh dlq`: the dead letters of feeds and grants: what there is, and what becomes of it.

A letter is named `<feed or grant>@<offset on its dead-letter topic>`, and a grant that is delivered through a later topic by its
edition too, as the topic is: `<grant>-2@<offset>`. What became of it stands on `mesh.letters`; the letter itself
stays where it is. **Retry** appends the original record to its `out` topic again, so that the subscriber's own lane delivers it, in
order, and the position guards newer rows at the target. A record that has a newer one of its key on the topic is superseded: it is
not appended, for an older change must not become the last of its key. A subscriber's letters go to that subscriber alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from ops.redelivery.replay import grant_of
from ops.settings import Settings
from ops.show.tail import View
from ops.trust.audit import audit
from schemas.agreement.directory import Directory
from schemas.change import Record
from schemas.errors import Misconfigured, Rejected
from schemas.feed import LETTERS, dead_letter_topic, first_edition, later_edition
from schemas.log.control.follower import read_directory
from schemas.log.control.records import publish, read_all
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds, partitions_of
from schemas.log.range import read_range, read_standing
from schemas.log.writer import Log
from schemas.registry.client import RegistryClient
from schemas.wire.codec import Codec
from schemas.wire.envelope_walk import moment_reader
from schemas.wire.schema import SchemaOf

RETRIES_MAX = 5
COUNT_HEADER = "mesh.replay.count"
DURABLE_WITHIN_SECONDS = 60.0

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of letters, or would."""

    states: Mapping[str, str]
    is_dry: bool

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"dry_run": self.is_dry, "letters": dict(self.states)}

    def lines(self) -> list[str]:
        """For people."""
        counts: dict[str, int] = {}
        for state in self.states.values():
            counts[state] = counts.get(state, 0) + 1
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "nothing to do"
        return [f"{'would be: ' if self.is_dry else ''}{told}"]


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


def _owner(name: str) -> str:
    """The feed or grant of a letter's name."""
    return first_edition(name.partition("@")[0])


def chosen(settings: Settings, names: Sequence[str], *, is_all: bool, reason: str | None) -> list[Letter]:
    """The waiting letters that were named: single ones, or with `is_all` every one of the feeds and grants."""
    owners = list(dict.fromkeys(map(_owner, names)))
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


def shown(settings: Settings, name: str, *, reveal: bool) -> dict[str, Any]:
    """One letter with its row as it may be seen: columns tagged PII are hidden unless revealed."""
    owner = _owner(name)
    found = next((letter for letter in letters(settings, [owner]) if letter.name == name), None)
    if found is None:
        raise Misconfigured(name, "there is no such letter", fix="`mesh dlq list` shows them")
    directory = read_directory(settings.kafka)
    feed = owner if owner in directory.feeds else directory.grants[owner].grant.feed
    view = View(contract=directory.feeds[feed].contract, is_revealed=reveal)
    told: dict[str, Any] = {**found.to_json(), "bytes": len(found.record.value or b"")}
    try:
        with closing(RegistryClient(settings.registry)) as registry:
            change = Codec(registry.schema).change(feed, found.record)
        if change is not None:
            told |= {"op": change.op.value, "key": view.row(change.key), "after": view.row(change.after)}
    except Rejected as error:
        told["unreadable"] = error.reason
        if reveal and found.record.value is not None:
            told["hex"] = found.record.value.hex()
    with closing(Log(settings.kafka, client_id="mesh-dlq")) as log:
        audit(log.append, "dlq show", name, revealed=reveal)
        log.flush(30)
    return told


def drop(settings: Settings, found: Sequence[Letter], *, dry_run: bool) -> Outcome:
    """Settle letters without delivering them; they stay on their topics, as a proof."""
    return _settle(settings, {letter.name: DROPPED for letter in found}, "dlq drop", dry_run=dry_run)


def retry(settings: Settings, found: Sequence[Letter], *, dry_run: bool) -> Outcome:
    """Have letters of a subscriber's target delivered again, in order. Raises Misconfigured for others, and without a grant."""
    directory = read_directory(settings.kafka)
    states: dict[str, str] = {}
    with closing(RegistryClient(settings.registry)) as registry:
        for owner in dict.fromkeys(letter.owner for letter in found):
            its = sorted((letter for letter in found if letter.owner == owner), key=lambda letter: letter.place)
            states |= _retry_grant(settings, directory, owner, its, registry.schema, dry_run=dry_run)
    return _settle(settings, states, "dlq retry", dry_run=dry_run)


def _retry_grant(
    settings: Settings,
    directory: Directory,
    owner: str,
    found: Sequence[Letter],
    schema_of: SchemaOf,
    *,
    dry_run: bool,
) -> dict[str, str]:
    others = [letter.name for letter in found if letter.headers.get("__connect.errors.stage") != "deliver"]
    if owner in directory.feeds or others:
        raise Misconfigured(
            ", ".join(others[:3]) or owner,
            "was refused before delivery: the same bytes would be refused again",
            fix="mend the row in its source, where its next change is a new record, then `mesh dlq drop` the letter",
        )
    entry = grant_of(directory, owner)
    earlier: dict[tuple[bytes | None, str], int] = {}
    for letter in letters(settings, [owner], state=RETRIED):
        earlier[letter.event] = earlier.get(letter.event, 0) + 1
    if worn := [letter.name for letter in found if earlier.get(letter.event, 0) >= RETRIES_MAX]:
        raise Misconfigured(
            ", ".join(worn[:3]), f"was retried {RETRIES_MAX} times already", fix="mend the target, or drop the letter"
        )
    topic = entry.topic
    states: dict[str, str] = {}
    for partition in dict.fromkeys(letter.place[0] for letter in found):
        its = [letter for letter in found if letter.place[0] == partition]
        newest = _Newest(settings.kafka, topic, partition, {letter.record.key for letter in its}, schema_of)
        newest.read(min(letter.place[1] for letter in its))
        due = [letter for letter in its if not newest.has_newer(letter)]
        states |= {letter.name: RETRIED if letter in due else SUPERSEDED for letter in its}
        if dry_run or not due:
            continue
        with closing(Log(settings.kafka, client_id="mesh-dlq")) as log:
            for letter in due:
                count = str(earlier.get(letter.event, 0) + 1).encode()
                default = [("grant_id", owner.encode()), ("purpose", entry.grant.purpose.encode())]
                headers = [*newest.headers.get(letter.place[1], default), (COUNT_HEADER, count)]
                log.append(topic, letter.record.key, letter.record.value, partition=partition, headers=headers)
                if newest.is_removal(letter):
                    log.append(topic, letter.record.key, None, partition=partition, headers=default)
            log.flush(DURABLE_WITHIN_SECONDS)
            # What egress appended between our look and our record has to be the last of its key again.
            while overtaken := newest.read_on(due):
                for record in overtaken:
                    log.append(topic, record.key, record.value, partition=partition, headers=record.headers)
                log.flush(DURABLE_WITHIN_SECONDS)
    return states


class _Newest:
    """The newest change of some keys in one partition of an `out` topic."""

    def __init__(
        self, kafka: Kafka, topic: str, partition: int, keys: set[bytes | None], schema_of: Callable[[int], Any]
    ) -> None:
        self._place = (kafka, topic, partition)
        self._keys = keys
        self._schema_of = schema_of
        self._readers: dict[int, Any] = {}
        self._tokens: dict[bytes | None, bytes] = {}
        self._end = 0
        self.headers: dict[int, Sequence[tuple[str, bytes]]] = {}

    def read(self, start: int) -> None:
        """Read from here to the present end."""
        low, end = bounds(*self._place)
        for batch in read_range(*self._place, max(low, start), end):
            for record in batch.records:
                if record.key in self._keys and record.value is not None:
                    self.headers[record.offset] = [h for h in record.headers or () if h[0] != COUNT_HEADER]
                    self._tokens[record.key] = max(self._tokens.get(record.key, b""), self._token(record))
        self._end = end

    def read_on(self, due: Sequence[Letter]) -> list[Record]:
        """The newer records that came before ours since the last look, and are not the last of their key for it."""
        ours = {letter.record.key: self._token(letter.record) for letter in due}
        last: dict[bytes | None, Record] = {}
        newest: dict[bytes | None, Record] = {}
        start, (_, end) = self._end, bounds(*self._place)
        for batch in read_range(*self._place, start, end) if end > start else ():
            for record in batch.records:
                if record.key in ours and record.value is not None:
                    last[record.key] = record
                    if self._token(record) >= self._token(newest.get(record.key, record)):
                        newest[record.key] = record
        self._end = end
        return [
            record
            for key, record in newest.items()
            if self._token(record) > ours[key] and self._token(last[key]) < self._token(record)
        ]

    def has_newer(self, letter: Letter) -> bool:
        """Whether the topic has a newer change of the letter's key."""
        return self._tokens.get(letter.record.key, b"") > self._token(letter.record)

    def is_removal(self, letter: Letter) -> bool:
        """Whether the letter removes its row."""
        moment = self._moment(letter.record)
        return moment is not None and moment.op == b"d"

    def _token(self, record: Record) -> bytes:
        moment = self._moment(record)
        return moment.token if moment else b""

    def _moment(self, record: Record) -> Any:
        value = record.value or b""
        schema_id = int.from_bytes(value[1:5], "big")
        try:
            if schema_id not in self._readers:
                self._readers[schema_id] = moment_reader(self._schema_of(schema_id))
            return self._readers[schema_id](value)
        except (Rejected, KeyError):
            return None


def _settle(settings: Settings, states: Mapping[str, str], what: str, *, dry_run: bool) -> Outcome:
    if states and not dry_run:
        with closing(Log(settings.kafka, client_id="mesh-dlq")) as log:
            for name, state in states.items():
                publish(log.append, LETTERS, name, {"letter": name, "state": state})
            for owner in dict.fromkeys(map(_owner, states)):
                its = [name for name in states if _owner(name) == owner]
                audit(log.append, what, owner, letters=its)
            log.flush(DURABLE_WITHIN_SECONDS)
    return Outcome(states=states, is_dry=dry_run)
