"""Check: the source's table at a fence, and the feed up to it, compared by ranges of hashed keys on a live feed.

The database computes a checksum of each range while the feed is folded; only of ranges that differ it sends its rows, as hashes.
Where it cannot write a row as the feed's reader does (a type without a form in common), all rows are read and encoded here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ops.proof.source.compared import KEYS_SHOWN, ComparedSource, DifferingKey
from ops.proof.source.fold import PARTIAL, STANDS, TWICE, FoldedFeed, Standing, in_ranges
from ops.proof.source.spill import PARTS, Spill
from producers.fenced.table import RANGES, WORD, FencedTable, RangeSum, key_digest, range_of
from schemas.agreement.directory import FeedEntry
from schemas.change import Batch
from schemas.dead_letter import OURS
from schemas.errors import Rejected, Transient
from schemas.feed import dead_letter_topic
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds_of, partitions_of
from schemas.log.range import read_ranges
from schemas.wire.schema import SchemaOf

PAUSE_SECONDS = 0.2
UNFIT_MAX = 100_000
"""Of how many differing rows it is asked whether capture can encode them: more are no dead letters but another fault."""
_EVENT = f"{OURS}event.id"


class Told(Protocol):
    """Who watches: phases in words, and how far the longest of them is."""

    def say(self, line: str, /) -> None:
        """A phase begins, or waits."""
        ...

    def count(self, done: int, total: int, /) -> None:
        """So many records of so many were read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSetting:
    """What a check works with. `record` reads the source's progress, `hashed` names a key by its hash, `deadline` by `monotonic`."""

    kafka: Kafka
    entry: FeedEntry
    salt: bytes
    schema_of: SchemaOf
    record: Callable[[], Mapping[str, Any] | None]
    hashed: Callable[[bytes], str]
    deadline: float
    told: Told


def check(setting: CheckSetting, table: FencedTable) -> ComparedSource:
    """Compare; the table stays open. Raises Transient where the feed does not reach the fence in time, or a side is away."""
    started = time.monotonic()
    with _beside(table.sums) as sums:
        _wait(setting, table)
        with closing(_folded(setting, table)) as feed:
            found = sums.result()
            feed.judge(table.latest())
            setting.told.say("compares the ranges")
            return _Comparison(setting, table, feed, found, started).outcome()


@contextmanager
def _beside(work: Callable[[], Any]) -> Iterator[Future[Any]]:
    """Work in a thread, so that database and feed are read at the same time; whoever closes the table ends it."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="fence")
    try:
        yield pool.submit(work)
    finally:
        pool.shutdown(wait=False)


def _wait(setting: CheckSetting, table: FencedTable) -> None:
    """Until all up to the fence is in the feed."""
    feed = setting.entry.feed
    setting.told.say(f"waits until capture has brought {feed} up to {table.at}")
    while not table.is_reached(setting.record()):
        if time.monotonic() > setting.deadline:
            raise Transient(
                f"{feed}: capture has not come up to the fence at {table.at} within the time",
                fix="`mesh status` says how far behind it is and why; run it again with a longer `--within`",
            )
        time.sleep(PAUSE_SECONDS)


def _folded(setting: CheckSetting, table: FencedTable) -> FoldedFeed:
    feed = setting.entry.feed
    folded = FoldedFeed(table, setting.schema_of, setting.salt, is_keyed_only=setting.entry.is_keyed_only)
    try:
        for batch in _batches(setting.kafka, feed, setting.told):
            folded.take(batch)
    except BaseException:
        folded.close()
        raise
    return folded


def _batches(kafka: Kafka, topic: str, told: Told) -> Iterator[Batch]:
    """All that stands in a topic."""
    places = [(topic, number) for number in range(partitions_of(kafka, topic))]
    ranges = bounds_of(kafka, places)
    total, done = sum(end - start for start, end in ranges.values()), 0
    told.say(f"reads {topic}: {total:,} records")
    for batch in read_ranges(kafka, ranges):
        yield batch
        done += len(batch.records)
        told.count(done, total)


class _Comparison:
    """One comparison, part by part."""

    def __init__(
        self,
        setting: CheckSetting,
        table: FencedTable,
        feed: FoldedFeed,
        sums: Mapping[int, RangeSum] | None,
        started: float,
    ) -> None:
        self._setting = setting
        self._table = table
        self._feed = feed
        self._sums = sums
        self._started = started
        self._found = self._partial = 0
        self._differing: dict[str, list[tuple[bytes, str]]] = {"missing": [], "surplus": [], "different": []}
        self._counts = dict.fromkeys(self._differing, 0)
        self._unfit = self._rows = self._sent = 0

    def outcome(self) -> ComparedSource:
        """Compare, and say what was found."""
        differing = self._ranges()
        if differing:
            self._look(differing)
        notes: list[str] = []
        if self._unfit:
            notes.append(
                f"{self._unfit:,} rows whose last change is a dead letter: `mesh dlq list {self._setting.entry.feed}`"
            )
        if self._partial:
            notes.append(
                f"{self._partial:,} rows compared by key alone: the source does not send rows as they were (REPLICA IDENTITY FULL)"
            )
        shown = [
            DifferingKey(hash=self._setting.hashed(key), how=how, place=place)
            for how, keys in self._differing.items()
            for key, place in keys
        ]
        return ComparedSource(
            feed=self._setting.entry.feed,
            position=self._table.position,
            at=self._table.at,
            how=self._table.how,
            rows=self._rows,
            found=self._found,
            **self._counts,
            dead_letters=self._unfit,
            partial=self._partial,
            ranges=RANGES,
            ranges_differing=len(differing) if self._sums is not None else 0,
            sent=self._sent,
            records=self._feed.records,
            seconds=time.monotonic() - self._started,
            keys=shown[:KEYS_SHOWN],
            unreadable=self._feed.unreadable,
            foreign=self._feed.foreign,
            fix=self._fix(),
            notes=notes,
        )

    def _fix(self) -> str:
        feed, source = self._setting.entry.feed, self._setting.entry.contract.source_name
        if self._feed.foreign:
            return f"copy all of the source's feeds anew, with positions above all others: `mesh resync {source}`"
        is_exact = not (sum(self._counts.values()) or self._feed.unreadable)
        return "" if is_exact else f"copy the feed anew, and subscribers get what differs: `mesh resync {feed}`"

    def _ranges(self) -> frozenset[int]:
        """The ranges of which the feed's sums are not the table's; all where the table has none."""
        sums = self._sums
        differing: set[int] = set()
        for number, rows in self._feed.parts():
            self._found += len(rows)
            if sums is None:
                continue
            own: dict[int, list[int]] = {}
            odd = {range_of(key) for key, row in rows.items() if row.state != STANDS}
            for key, row in rows.items():
                total = own.setdefault(range_of(key), [0, 0, 0])
                total[0] += 1
                total[1] += int.from_bytes(key[:8], "big")
                total[2] += int.from_bytes(row.row, "big")
            width = RANGES // PARTS
            for each in range(number * width, (number + 1) * width):
                rows_of, keys, values = own.get(each, (0, 0, 0))
                if each in odd or (rows_of, keys % WORD, values % WORD) != sums.get(each, (0, 0, 0)):
                    differing.add(each)
        if sums is None:
            return frozenset(range(RANGES))
        self._rows = sum(each.rows for each in sums.values())
        return frozenset(differing)

    # ── row by row ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, ranges: frozenset[int]) -> None:
        """Compare the rows of these ranges."""
        self._setting.told.say(f"reads the rows of {len(ranges):,} ranges")
        with closing(Spill(">16s8sB24s")) as table:
            for row in self._table.rows(ranges):
                self._sent += 1
                if row.key:
                    table.add(row.key[0], table.pack(row.key, row.row, bool(row.row), row.place.encode()))
                else:
                    self._unfit += 1
            if self._sums is None:
                self._rows = self._sent
            letters = _Letters(self._setting, self._feed)
            for number in sorted({each * PARTS // RANGES for each in ranges}):
                self._part(dict(in_ranges(self._feed.part(number), ranges)), table.part(number), letters)

    def _part(self, feed: dict[bytes, Standing], table: Iterable[tuple[Any, ...]], letters: _Letters) -> None:
        odd: dict[bytes, tuple[str, bytes, str]] = {}
        for key, row, is_fit, place in table:
            found = feed.pop(key, None)
            at = place.rstrip(b"\0").decode()
            if not is_fit:
                self._unfit += 1
            elif found is None:
                odd[key] = "missing", b"", at
            elif found.state == PARTIAL:
                self._partial += 1
            elif found.row != row or found.state == TWICE:
                odd[key] = "different", found.token, at
        odd |= {
            key: ("surplus", row.token, f"partition {row.partition}, offset {row.offset}") for key, row in feed.items()
        }
        for key, (how, at) in self._unexplained(odd, letters).items():
            self._counts[how] += 1
            if len(self._differing[how]) < KEYS_SHOWN:
                self._differing[how].append((key, f"row {at}" if how != "surplus" and at else at))

    def _unexplained(
        self, odd: Mapping[bytes, tuple[str, bytes, str]], letters: _Letters
    ) -> dict[bytes, tuple[str, str]]:
        """Those of which no dead letter says why they differ."""
        if not odd:
            return {}
        places = [place for how, _, place in odd.values() if how != "surplus" and place]
        unfit = self._table.unfit(places) if len(places) <= UNFIT_MAX else set[str]()
        left: dict[bytes, tuple[str, str]] = {}
        for key, (how, token, place) in odd.items():
            if (how != "surplus" and place in unfit) or letters.after(key, token):
                self._unfit += 1
            else:
                left[key] = how, place
        return left


class _Letters:
    """Dead letters of capture that name their key: records that were too large. Read when first asked for."""

    def __init__(self, setting: CheckSetting, feed: FoldedFeed) -> None:
        self._setting = setting
        self._feed = feed
        self._last: dict[bytes, bytes] | None = None

    def after(self, key: bytes, token: bytes) -> bool:
        """Whether a change of this key, later than the one at this position, was set aside."""
        if self._last is None:
            self._last = self._read()
        return self._last.get(key, b"") > token

    def _read(self) -> dict[bytes, bytes]:
        last: dict[bytes, bytes] = {}
        setting = self._setting
        for batch in _batches(setting.kafka, dead_letter_topic(setting.entry.feed), setting.told):
            for record in batch.records:
                event = dict(record.headers or ()).get(_EVENT, b"")
                if record.key is None or record.value is not None or not event:
                    continue
                try:
                    key = key_digest(setting.salt, self._feed.key_text(record.key))
                except Rejected:
                    continue
                last[key] = max(last.get(key, b""), event)
        return last
