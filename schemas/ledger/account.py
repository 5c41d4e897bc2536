"""Account: what one side says of one partition, from its opening on.

An account is opened by the book's keeper, who knows what was said of the partition before: by an earlier run of this process, or
by another one that had it until now. What nobody has accounted for in between, since a process was killed before it could say so,
is read from the topic and taken over (`adopted`). Until then what comes is held.

A writer learns each record's offset from its delivery report. Offsets in between that were not reported are somebody else's, and
are not counted: only where others are known to write, or a delivery failed without saying whether it arrived, is the gap adopted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.change import Batch, Partition, Record
from schemas.ledger.prefix import PrefixSum, digests_of, offsets_of

AGAIN = "mesh_again"
"""The header of a record that was appended once more by whoever delivers again (ops/redelivery/again.py): accounted for there."""
LOOKS = 6
"""How often the keeper waits for a first report, where the topic has records that nobody accounted for."""
POSITIONS = frozenset({"from", "to", "settled"})
"""Counts that are offsets, and are not added up."""
HELD_MAX = 400_000
"""Records; the memory of an account that cannot be opened. Beyond it the account begins anew behind them."""


class Account:
    """`place` is its partition. Records are added by one thread at a time, in the order of their offsets.

    `expected`: opened even if nothing comes, up to where the topic ends.
    """

    def __init__(self, place: Partition, *, is_sole: bool = True) -> None:
        """`is_sole`: false where another side writes there as well, and adopts what nobody accounted for."""
        self.place = place
        self._is_sole = is_sole
        self.is_expected = False
        self.adopted = 0
        self.counts: dict[str, int] = {}
        """What else is said of the work on the partition, by name: in all that was accounted for, by whichever process."""
        self._has_former_counts = False
        self._lock = threading.Lock()
        self._open: PrefixSum | None = None
        self._known: PrefixSum | None = None
        """What stands until it is opened. Adopting adds to it, whoever adds a record never does."""
        self._held: list[tuple[Sequence[int], Sequence[int]]] = []
        """Offsets and hashes of runs that came before it was opened."""
        self._held_reads: list[tuple[int, int, Sequence[int]]] = []
        """Of those that were read: the first offset, the one behind, and where tombstones lie."""
        self._held_count = 0
        self._is_shared = False
        self._is_unsure = False
        self._ours_from: int | None = None
        """Where what was held began, if it is to be read."""
        self._begun_to = 0
        """Up to where it was read, to be opened."""
        self._is_from_start = False
        self._looks = 0
        self._goes_on_at: int | None = None

    # -- what is added -------------------------------------------------------------------------------------------------

    def wrote(self, offset: int, digests: Sequence[int]) -> None:
        """Records of ours with these hashes lie from this offset on, one behind the other."""
        offsets = range(offset, offset + len(digests))
        account = self._open
        if account is not None and not self._is_unsure:
            account.add(offsets, digests)
            return
        with self._lock:
            if self._open is not None and (not self._is_unsure or offset == self._open.end.offset):
                self._is_unsure = False
                self._open.add(offsets, digests)
            elif not self._is_shared:
                self._close()
                self._hold(offsets, digests)

    def read(self, batch: Batch) -> None:
        """Records that were read; `counts` say from which offset on, and how many of them are tombstones. Repeats count once."""
        read = _read_of(batch.records)
        account = self._open
        if account is not None:
            account.add_run(batch.records)
            self._count_read(*read)
            return
        with self._lock:
            if self._open is not None:  # just now
                self._open.add_run(batch.records)
                self._count_read(*read)
            else:
                self._hold(offsets_of(batch.records), digests_of(batch.records))
                self._held_reads.append(read)

    def _count_read(self, first: int, after: int, tombstones: Sequence[int]) -> None:
        counts = self.counts
        seen = counts.get("to", first)
        if after > seen:
            counts.setdefault("from", first)
            counts["tombstones"] = counts.get("tombstones", 0) + sum(offset >= seen for offset in tombstones)
            counts["to"] = after

    def count(self, name: str, number: int) -> None:
        """So many more."""
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + number

    def settled(self, next_offset: int) -> None:
        """Everything below the offset is at the subscriber, or among the dead letters."""
        with self._lock:
            self.counts["settled"] = next_offset

    def goes_on(self, offset: int) -> None:
        """Reading goes on here: what lies below was read and confirmed, also by one that was killed before it could say so."""
        with self._lock:
            self._goes_on_at = self.counts["settled"] = offset
            self.is_expected = True

    def failed(self) -> None:
        """A record may lie there or not: what comes next is taken for ours from the end on. What is held is read with the gap."""
        with self._lock:
            self._is_unsure = self._is_sole
            if self._held and self._is_sole:
                self._ours_from = self._held[0][0][0] if self._ours_from is None else self._ours_from
                self._drop_held()
                self.is_expected = True

    def share(self) -> None:
        """Others write there for us, who report no offsets: nothing is said of the partition until `unshare`."""
        with self._lock:
            self._is_shared = self._is_from_start = True
            self._close()
            self._drop_held()

    def unshare(self) -> None:
        """They have written it all: what lies there now is adopted."""
        with self._lock:
            self._is_shared = False
            self.is_expected = True

    def _hold(self, offsets: Sequence[int], digests: Sequence[int]) -> None:
        if self._held_count >= HELD_MAX:
            self._drop_held()
            self._known = None
        self._held.append((offsets, digests))
        self._held_count += len(digests)

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_reads.clear()
        self._held_count = 0

    def _close(self) -> None:
        self._known, self._open = self._open or self._known, None

    # -- opening -------------------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether it is to be opened."""
        return self._open is None and not self._is_shared and (self.is_expected or bool(self._held))

    def begin(
        self,
        former: PrefixSum | None,
        low: int,
        high: int,
        *,
        counts: Mapping[str, int] | None = None,
        adopts: bool = True,
    ) -> tuple[int, int] | None:
        """From where to where the topic is to be read, to open it; None where nothing is missing.

        `former` was said of it before, and `counts` with it; the topic has the offsets from `low` below `high`. `adopts`: false
        where that was the last word of who left in order: nothing behind it was its own.
        """
        with self._lock:
            first = self._first(high)
            known = self._known or former
            if not self._is_sole:
                self._known = known or PrefixSum(first)
                return None
            if known is None and self._ours_from is not None:
                known = self._known = PrefixSum(self._ours_from)
            is_waiting = not self._held and self._goes_on_at is None and high > low and self._looks < LOOKS
            if known is None and is_waiting:
                self._looks += 1  # what lies there may be ours, and its report on its way
                return None
            if known is None or not low <= known.end.offset <= high:  # removed before it was read, or a topic made anew
                known = PrefixSum(low if self._is_from_start else first)
            self._known, self._begun_to = known, first
            if known is former:
                self._go_on_from(counts or {})
            start = known.end.offset
            is_ours = adopts or known is not former or self._is_unsure
            return (start, first) if start < first and is_ours else None

    def _first(self, high: int) -> int:
        """From which offset on it is ours, as far as is known now."""
        if self._held:
            return self._held[0][0][0]
        return high if self._goes_on_at is None else self._goes_on_at

    def _go_on_from(self, counts: Mapping[str, int]) -> None:
        if self._has_former_counts:
            return
        self._has_former_counts, own = True, self.counts
        added = {name: counts.get(name, 0) + own.get(name, 0) for name in {*counts, *own} - POSITIONS}
        self.counts = {name: counts[name] for name in POSITIONS & counts.keys()} | own | added

    def adopt(self, records: Sequence[Record]) -> None:
        """What the topic has between what is known and what is held."""
        assert self._known is not None, "begun"
        ours = [record for record in records if AGAIN not in dict(record.headers or ())]
        self._known.add_run(ours)
        self.adopted += len(ours)
        if "to" in self.counts:  # read, by whoever could not say so
            self._count_read(*_read_of(records))

    def open(self) -> None:
        """What is held follows what is known."""
        with self._lock:
            known = self._known
            if known is None or self._is_shared:
                return
            if self._is_unsure and self._held and self._held[0][0][0] != self._begun_to:
                return  # it failed meanwhile: what lies before what is held was not read
            for run in self._held:
                known.add(*run)
            for read in self._held_reads:
                self._count_read(*read)
            self._is_unsure = self._is_unsure and not self._held
            self._drop_held()
            self._open = known

    # -- what is said --------------------------------------------------------------------------------------------------

    def statement(self) -> dict[str, Any] | None:
        """What is said of the partition now; None where nothing is known of it. Until it is open there may be more than is said."""
        account = self._open
        known = account or self._known
        if known is None:
            return None
        is_open = account is not None and not self._is_unsure
        counts = dict(self.counts)  # first: they never say more than the sums
        return {**known.to_json(), "is_open": is_open, "adopted": self.adopted, "counts": counts}


def _read_of(records: Sequence[Record]) -> tuple[int, int, Sequence[int]]:
    return records[0].offset, records[-1].offset + 1, [record.offset for record in records if record.value is None]
