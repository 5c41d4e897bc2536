r"""Entry: how a task's state is laid out, in the local store and on the changelog.

Entries of a subject lie side by side, one scan reads them:

    s flow \0 subject \0 h                       memory, timer; written first, so without it there is nothing else
                                               (but of a subject that waits to be asked, which has facts alone)
                          f feed \0 row id        a fact: position, event time, commit, row, earlier versions
                          r feed \0 row id        a row as published
                          t subject \0 tag \0 id  a tell; n subject \0 measure: a contribution; c measure: a sum
                          a                      the newest commit that any of its sums is of, milliseconds
    w flow \0 event time subject                  a timer; local only, since the header says the same
    k flow                                        the flow's event clock, and what holds it up
    c                                             how far a tick or a truncate is that is done in slices (sweep.py)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from streams.engine.inbox.message import pack, unpack
from streams.operators.flow import Fact, Flow, Fold, Row, Subject

TIMER_PREFIX = b"w"


class Live(msgspec.Struct):
    """A subject in memory, with what a fold does not see of it."""

    prefix: bytes
    flow: Flow
    fold: Fold
    subject: Subject
    wake_at: int | None = None
    tells: dict[tuple[str, str, str], Row] = {}
    contributions: dict[tuple[str, str], int] = {}
    caused_ms: int = 0
    """The newest commit of a source that it knows of, which its rows bear; `committed_at_ms` is the same by the flow's clock."""
    committed_at_ms: int = 0
    woken_ms: int = 0
    """While it is folded because time has passed a moment: the commit that told so."""

    @property
    def cause_ms(self) -> int:
        """The commit that what it says now follows from."""
        return max(self.caused_ms, self.woken_ms)

    def hear(self, fact: Fact) -> None:
        """Take note of a fact's commit."""
        self.caused_ms = max(self.caused_ms, fact.caused_ms)
        self.committed_at_ms = max(self.committed_at_ms, fact.committed_at_ms)


def restore(live: Live, rest: bytes, value: bytes) -> None:
    """Put one entry of a subject into place; `rest` is its key behind the subject's prefix."""
    kind, subject, content = rest[:1], live.subject, unpack(value)
    parts = rest[1:].decode().split("\0")
    match kind:
        case b"h":
            subject.memory, live.wake_at = content
        case b"f":
            fact = fact_of(parts[0], parts[1], content)
            subject.facts.setdefault(parts[0], {})[parts[1]] = fact
            live.hear(fact)
        case b"r":
            subject.published.setdefault(parts[0], {})[parts[1]] = content
        case b"t":
            live.tells[parts[0], parts[1], parts[2]] = content
        case b"a":
            live.caused_ms = max(live.caused_ms, content)
        case b"n":
            live.contributions[parts[0], parts[1]] = content
        case _:
            subject.counts[parts[0]] = content


def prefix_of(flow: str, subject: str) -> bytes:
    """What the keys of all entries of a subject start with."""
    return f"s{flow}\0{subject}\0".encode()


def subject_of(key: bytes) -> tuple[bytes, bytes]:
    """Of an entry of a subject: the key of messages to it, and what the keys of all its entries start with."""
    end = key.index(b"\0", key.index(b"\0") + 1)
    return key[1:end], key[: end + 1]


def timer(flow: str, due: int, subject: str) -> bytes:
    """The key of a timer: a flow's timers are in the order of their event times."""
    return f"w{flow}\0".encode() + max(due, 0).to_bytes(8, "big") + subject.encode()


def due_of(key: bytes, start: int) -> int:
    """A timer's event time; `start` is the length of the flow's prefix."""
    return int.from_bytes(key[start : start + 8], "big")


def fact_entry(fact: Fact) -> bytes:
    """A fact as an entry's value. The source's own commit comes last, and only where the flow's clock has another."""
    earlier = [[e.position, e.event_at, e.committed_at_ms, e.row, *_apart(e)] for e in fact.earlier]
    content = [fact.position, fact.event_at, fact.committed_at_ms, fact.row, earlier, fact.seen]
    if fact.source_ms is not None:
        content.append(fact.source_ms)
    return pack(content)


def _apart(fact: Fact) -> list[int]:
    return [] if fact.source_ms is None else [fact.source_ms]


def fact_of(feed: str, identity: str, content: Sequence[Any]) -> Fact:
    """A fact from an entry's value."""
    position, event_at, committed_at_ms, row, earlier, seen, *apart = content
    versions = tuple(Fact(feed, identity, e[3], e[0], e[1], e[2], source_ms=e[4] if e[4:] else None) for e in earlier)
    return Fact(feed, identity, row, position, event_at, committed_at_ms, versions, seen, apart[0] if apart else None)


def fact_heard(message: Sequence[Any]) -> Fact:
    """The fact in a FACT message."""
    _, feed, identity, position, event_at, commit_ms, row, _, *by_clock = message
    if not by_clock:
        return Fact(feed, identity, row, position, event_at, commit_ms)
    return Fact(feed, identity, row, position, event_at, by_clock[0], source_ms=commit_ms)


def timer_of(key: bytes, value: bytes | None) -> bytes | None:
    """The timer that a header entry stands for, to rebuild timers from a changelog; None for any other entry."""
    if value is None or not key.startswith(b"s") or not key.endswith(b"\0h") or key.count(b"\0") != 2:
        return None
    flow, _, subject = key[1:-2].decode().partition("\0")
    _, wake_at = unpack(value)
    return None if wake_at is None else timer(flow, wake_at, subject)


def newer(present: Fact | None, fact: Fact, *, keeps_history: bool) -> tuple[Fact | None, bool]:
    """What a row's fact becomes by this version of it, and whether a fold would see a difference; None if nothing changes.

    Positions only grow (invariant 2). Of a run of versions with equal rows only the first counts, the one that brought the
    row; the last is remembered as `seen`: a table whose other columns change every minute makes nobody fold or grow.
    """
    if present is None:
        return fact, True
    return _newest(present, fact) if not keeps_history else _history(present, fact)


def _newest(present: Fact, fact: Fact) -> tuple[Fact | None, bool]:
    if fact.position <= (present.seen or present.position):
        return None, False
    if not _is_same(present, fact):
        return fact, True
    return replace(present, seen=fact.position), False


def _history(present: Fact, fact: Fact) -> tuple[Fact | None, bool]:
    versions = [*present.earlier, replace(present, seen="", earlier=()), fact]
    if present.seen:
        versions.append(replace(present, position=present.seen, seen="", earlier=()))
    if len({version.position for version in versions}) < len(versions):
        return None, False
    versions.sort(key=lambda version: version.position)
    runs: list[Fact] = [versions[0]]
    for version in versions[1:]:
        if not _is_same(runs[-1], version):
            runs.append(version)
    last = versions[-1].position
    newest = replace(runs[-1], seen=last if last != runs[-1].position else "", earlier=tuple(runs[:-1]))
    if newest == present:
        return None, False
    return newest, replace(newest, seen="") != replace(present, seen="")


def _is_same(one: Fact, other: Fact) -> bool:
    """Whether two versions of a row differ in nothing but the commit."""
    return one.row == other.row and one.event_at == other.event_at


def newest_event(subject: Subject) -> int:
    """The event time of what a subject knows: the same after any interleaving, unlike the clock."""
    return max((fact.event_at for rows in subject.facts.values() for fact in rows.values()), default=0)
