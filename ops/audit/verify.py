"""Verify: whether a trail of the audit is whole, or which line of it was changed, removed, moved, put in or cut off.

Needs nothing but the lines: neither a server nor a key. What no chain can say of itself is whether its end is missing: for that there
is a head that somebody noted down, or the running mesh.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import click

from ops.audit.chain import GENESIS, Head, canonical, digest, is_linked, taken_up
from schemas.errors import Misconfigured

FAULTS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where: the number of the line in the file, from 1, or its offset in the topic; None where it lacks."""

    kind: str
    place: int | None
    said: str

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        return {"kind": self.kind, "place": self.place, "said": self.said}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found: linked lines, lines of before, those at the end that the next linked one will take up, the head, the faults."""

    lines: int
    before: int
    waiting: int
    head: Head
    faults: Sequence[Fault]

    @property
    def is_intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """For scripts."""
        counts = {"lines": self.lines, "before": self.before, "waiting": self.waiting}
        faults = [fault.to_json() for fault in self.faults]
        return {"intact": self.is_intact, **counts, "head": str(self.head), "faults": faults}

    def render(self) -> None:
        """For people."""
        beside = f", and {self.before} of before the chain" if self.before else ""
        if self.waiting:
            beside += f"; {self.waiting} at the end, which the next line takes up"
        if self.is_intact:
            click.echo(f"intact: {self.lines} lines{beside}\nhead {self.head}")
            return
        for fault in self.faults[:FAULTS_SHOWN]:
            click.echo(f"{fault.kind}: {fault.said}")
        if len(self.faults) > FAULTS_SHOWN:
            click.echo(f"and {len(self.faults) - FAULTS_SHOWN} more: --json has all")
        click.echo(f"BROKEN: {self.lines} lines{beside}")


@dataclass(frozen=True, slots=True)
class _Link:
    place: int
    seq: int
    hash: bytes
    previous: bytes


@dataclass(slots=True)
class _Found:
    links: list[_Link] = field(default_factory=list[_Link])
    faults: list[Fault] = field(default_factory=list[Fault])
    loose: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    """Not taken up so far: place, hash, and how many linked lines stood before it."""
    before: int = 0
    seen: int = -1
    missed: list[int] = field(default_factory=list[int])
    """Places of lines that no line took up that was written behind them."""
    group: int = 0
    """How many linked lines stood where the present writer had not begun."""


def verify(lines: Iterable[tuple[int, bytes]], noted: Head | None = None, running: Head | None = None) -> Verified:
    """Verify lines, each with its place. `noted`: a head that must be among them; `running`: the one that they must end with."""
    found = _Found()
    for place, text in lines:
        _take(found, place, text)
    faults = [*found.faults, *_order(found.links), *_links(found.links)]
    if all(fault.kind != "removed" for fault in faults):  # else a line that is gone may have taken them up
        faults += [Fault("inserted", at, f"line {at} stands in the chain and is not of it") for at in found.missed]
    last = max(found.links, key=lambda link: link.seq, default=None)
    head = Head(last.seq, last.hash.hex()) if last else Head()
    faults += _end(found.links, head, noted, running)
    return Verified(
        lines=len(found.links),
        before=found.before,
        waiting=len(found.loose),
        head=head,
        faults=sorted(faults, key=lambda fault: -1 if fault.place is None else fault.place),
    )


def _take(found: _Found, place: int, text: bytes) -> None:
    line = _read(text)
    if line is None:
        found.faults.append(Fault("unreadable", place, f"line {place} is no line of an audit"))
    elif not is_linked(line):
        found.loose.append((place, digest(line), len(found.links)))
        found.before += 1
    else:
        _take_linked(found, place, text, line)


def _take_linked(found: _Found, place: int, text: bytes, line: Mapping[str, Any]) -> None:
    try:
        link = _Link(place, int(line["seq"]), bytes.fromhex(line["hash"]), bytes.fromhex(line["previous"]))
        seen, taken = int(line["seen"]), line.get("taken_up", {"lines": 0, "hash": ""})
        count, their_hash = int(taken["lines"]), str(taken["hash"])
    except (KeyError, TypeError, ValueError):
        found.faults.append(Fault("unreadable", place, f"line {place} lacks what links it"))
        return
    if canonical(line) != text or digest(line) != line["hash"]:
        found.faults.append(
            Fault("changed", place, f"line {link.seq} ({_what(line)}) was changed: its hash is another's")
        )
    if seen != found.seen:
        found.seen, found.group = seen, len(found.links)
        _take_up(found, place, link.seq, count, their_hash)
    found.links.append(link)


def _take_up(found: _Found, place: int, seq: int, count: int, their_hash: str) -> None:
    """A writer begins: it has seen whatever stood before the last line of the one before, and some of what came then."""
    taken, found.loose = found.loose[:count], found.loose[count:]
    if count and (len(taken) < count or taken_up(each for _, each, _ in taken)["hash"] != their_hash):
        said = f"line {seq} takes up {count} lines of before the chain, which were changed, removed, moved or added to"
        found.faults.append(Fault("changed", taken[0][0] if taken else place, said))
    found.missed += [at for at, _, linked_before in found.loose if linked_before < found.group]
    found.loose = [each for each in found.loose if each[2] >= found.group]


def _order(links: Sequence[_Link]) -> Iterator[Fault]:
    """Numbers that come twice, come late, or do not come."""
    highest, numbers = 0, {link.seq for link in links}
    seen: dict[int, int] = {}
    for link in links:
        if link.seq in seen:
            said = f"line {link.seq} stands there twice, at {seen[link.seq]} and {link.place}: one of them was put in"
            yield Fault("inserted", link.place, said)
        elif link.seq < highest:
            yield Fault("reordered", link.place, f"line {link.seq} stands behind line {highest}")
        seen.setdefault(link.seq, link.place)
        highest = max(highest, link.seq)
    missing = [number for number in range(1, highest) if number not in numbers] if len(numbers) < highest else []
    for _, run in groupby(enumerate(missing), lambda each: each[1] - each[0]):
        gone = [number for _, number in run]
        which = f"line {gone[0]} was" if len(gone) == 1 else f"lines {gone[0]} to {gone[-1]} were"
        yield Fault(
            "removed", seen.get(gone[-1] + 1), f"{which} removed{' from the beginning' if gone[0] == 1 else ''}"
        )


def _links(links: Sequence[_Link]) -> Iterator[Fault]:
    """Whether each line holds the one before."""
    known: dict[int, list[_Link]] = {}
    for link in links:
        known.setdefault(link.seq, []).append(link)
    for link in links:
        if link.seq == 1 and link.previous.hex() != GENESIS:
            yield Fault("removed", link.place, "line 1 has one before it, which was removed")
        before = known.get(link.seq - 1, [])
        if before and all(each.hash != link.previous for each in before):
            said = f"line {link.seq - 1} is not the one that line {link.seq} was written behind: one of the two was replaced"
            yield Fault("changed", before[0].place, said)


def _end(links: Sequence[_Link], head: Head, noted: Head | None, running: Head | None) -> Iterator[Fault]:
    hashes = {link.hash.hex() for link in links} | {GENESIS}
    if noted is not None and noted.hash not in hashes:
        if noted.seq > head.seq:
            yield Fault(
                "truncated",
                None,
                f"the end is missing: the noted head is of line {noted.seq}, the last here is {head.seq}",
            )
        else:
            yield Fault(
                "truncated",
                None,
                f"the noted head {noted.hash} is of no line here: the end is missing, or it is another chain",
            )
    if running is not None and running != head:
        if running.seq > head.seq:
            yield Fault(
                "truncated",
                None,
                f"the end is missing: the running mesh is at line {running.seq}, the last here is {head.seq}",
            )
        else:
            yield Fault(
                "truncated", None, f"the running mesh is at {running}: its end is missing, or this is another chain"
            )


def _read(text: bytes) -> Mapping[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None  # pyright: ignore[reportUnknownVariableType]


def _what(line: Mapping[str, Any]) -> str:
    return f"{line.get('what', '?')} at {line.get('when', '?')}"


def lines_of(text: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines of an export. Raises Misconfigured for an empty one."""
    number = 0
    for number, line in enumerate(text, start=1):
        yield number, line.rstrip(b"\r\n")
    if not number:
        raise Misconfigured("the export", "is empty", fix="`mesh audit export FILE` writes one")
