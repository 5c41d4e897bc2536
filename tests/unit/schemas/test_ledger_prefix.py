"""Prefix sums: two sides that cut their work differently agree at every mark, and a difference is found between its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from schemas.change import Record
from schemas.ledger.prefix import GRAIN, PrefixSum, digests_of

OFFSETS = st.lists(st.integers(0, 3_000), unique=True, max_size=400).map(sorted)


def records_at(offsets: Sequence[int]) -> list[Record]:
    return [
        Record(offset, b"k%d" % offset, None if offset % 7 == 0 else b"v%d" % offset, None, 0) for offset in offsets
    ]


def one_by_one(records: Sequence[Record], begin: int = 0) -> PrefixSum:
    sums = PrefixSum(begin)
    for record in records:
        sums.add([record.offset], digests_of([record]))
    return sums


@given(OFFSETS, st.lists(st.integers(0, 400), max_size=8))
def test_whoever_adds_one_by_one_and_whoever_adds_runs_agree(offsets: list[int], cuts: list[int]) -> None:
    records = records_at(offsets)
    runs = PrefixSum(0)
    for start, end in pairwise([0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]):
        if start < end:
            runs.add_run(records[start:end])
    assert runs.points() == one_by_one(records).points()


@given(OFFSETS)
def test_a_mark_has_all_that_lies_below_it_and_stands_at_the_newest_multiple_of_each_power(offsets: list[int]) -> None:
    records = records_at(offsets)
    sums = one_by_one(records)
    for point in sums.points():
        below = [record for record in records if record.offset < point.offset]
        assert (point.records, point.total) == (
            len(below),
            sum(digests_of(below)),
        )
    end = sums.end.offset
    wanted = {end >> level << level for level in range(GRAIN, 13) if end >> level}
    assert wanted <= {point.offset for point in sums.points()}


@given(st.integers(0, 500), st.lists(st.integers(0, 300), max_size=8))
def test_whoever_adds_hashes_of_neighbours_agrees_too(begin: int, counts: list[int]) -> None:
    runs, offset, every = PrefixSum(0), begin, list[Record]()
    for count in counts:
        records = records_at(range(offset, offset + count))
        runs.add(range(offset, offset + count), digests_of(records))
        every += records
        offset += count + count % 3
    assert runs.points() == one_by_one(every).points()


@given(OFFSETS, st.integers(0, 3_000))
def test_what_comes_again_is_passed_over(offsets: list[int], back: int) -> None:
    records = records_at(offsets)
    sums = one_by_one(records)
    before = sums.points()
    sums.add_run([record for record in records if record.offset >= back])
    assert sums.points() == before


@given(OFFSETS, OFFSETS)
def test_what_was_written_down_goes_on_as_if_it_had_never_stopped(offsets: list[int], more: list[int]) -> None:
    later = [offset + 3_001 for offset in more]
    stopped = PrefixSum.from_json(one_by_one(records_at(offsets)).to_json())
    if later:
        stopped.add_run(records_at(later))
    assert stopped.points() == one_by_one(records_at(offsets + later)).points()
