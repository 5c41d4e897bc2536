"""Trail: the lines that stand on `mesh.audit`, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ops.audit.chain import Head, Line, canonical, digest, is_linked, line_of
from schemas.feed import AUDIT
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range

BACK_OFFSETS = 64
"""How far before the end the last linked line is looked for first; eight times as far at each further try."""


AT_ITS_END = {"fetch.wait.max.ms": "10"}
"""Behind the last line stands the mark of its transaction alone: there is nothing to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A line where it stands. `value` is what is written there, byte for byte; `key` is no other line's."""

    offset: int
    key: bytes
    value: bytes

    @property
    def line(self) -> Line:
        """The line."""
        return line_of(self.value)

    @property
    def text(self) -> bytes:
        """As it is exported and verified: a linked line byte for byte, any other in canonical form."""
        line = self.line
        return self.value if is_linked(line) else canonical(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where the trail ends: the head of its chain, offsets and hashes of lines that are not taken up yet, and the next offset."""

    head: Head
    loose: tuple[tuple[int, str], ...]
    offset: int
    keys: frozenset[bytes] = field(default_factory=frozenset[bytes])
    """Of the lines that were read to find it."""


def read_trail(kafka: Kafka) -> Iterator[Standing]:
    """Every line that stands there now, from the first. Raises Transient."""
    low, high = bounds(kafka, AUDIT, 0)
    yield from _lines(kafka, low, high)


def end_of_trail(kafka: Kafka, known: End | None = None) -> End:
    """Where the trail ends now; read on from where it was `known` to end, else back from its end. Raises Transient."""
    low, high = bounds(kafka, AUDIT, 0)
    if known is not None and low <= known.offset <= high:
        return _behind(known, _lines(kafka, known.offset, high), high)
    back = BACK_OFFSETS
    while True:
        start = max(low, high - back)
        found = list(_lines(kafka, start, high))
        last = next((line for each in reversed(found) if is_linked(line := each.line)), None)
        if start == low or (last is not None and last["seen"] >= start):
            return _behind(End(head=Head(), loose=(), offset=start), found, high)
        back = max(back * 8, high - int(last["seen"]) if last else 0)


def _behind(before: End, found: Iterable[Standing], offset: int) -> End:
    head, loose, keys = before.head, list(before.loose), set[bytes]()
    for each in found:
        line = each.line
        keys.add(each.key)
        if is_linked(line):
            head = Head(line["seq"], line["hash"])
            # What came while it was written it has not seen: that is the next writer's.
            loose = [one for one in loose if one[0] >= line["seen"]]
        else:
            loose.append((each.offset, digest(line)))
    return End(head=head, loose=tuple(loose), offset=offset, keys=frozenset(keys))


def _lines(kafka: Kafka, start: int, end: int) -> Iterator[Standing]:
    if start < end:
        for batch in read_range(kafka, AUDIT, 0, start, end, AT_ITS_END):
            for record in batch.records:
                yield Standing(offset=record.offset, key=record.key or b"", value=record.value or b"")
