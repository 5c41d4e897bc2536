"""Handovers: what two sides say of one partition, compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ops.ledger.handover import HEARD_AFTER_MS, Handover, Statement
from schemas.change import Record
from schemas.ledger.prefix import PrefixSum, digests_of

PLACE = ("a.t", 0)


def records(offsets: Iterable[int]) -> list[Record]:
    return [Record(offset, b"k%d" % offset, b"v%d" % offset, None, 0) for offset in offsets]


def side(of: Sequence[Record], *, begin: int = 0, at_ms: int = 0, heard_at_ms: int = 0) -> Statement:
    sums = PrefixSum(begin)
    for record in of:
        sums.add([record.offset], digests_of([record]))
    return Statement(sums=sums, at_ms=at_ms, heard_at_ms=heard_at_ms, is_open=True, adopted=0, counts={})


def handover(writer: Statement | None, reader: Statement | None) -> Handover:
    return Handover(place=PLACE, writer=writer, reader=reader)


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_sides_that_saw_the_same_are_balanced_or_behind_wherever_they_stand(written: int, read: int) -> None:
    of = handover(side(records(range(written))), side(records(range(min(read, written)))))
    assert of.standing == ("balanced" if read >= written else "behind")
    assert of.differences() == []


@given(st.integers(200, 3_000), st.data())
def test_a_record_that_is_not_as_it_was_written_is_found_between_its_neighbouring_marks(
    count: int, data: st.DataObject
) -> None:
    offset = data.draw(st.integers(0, count - 1))
    read = records(range(count))
    if data.draw(st.booleans()):
        read[offset] = read[offset]._replace(value=b"other")
    else:
        del read[offset]
    of = handover(side(records(range(count))), side(read))
    if not read or read[-1].offset != count - 1:  # the last one is missing: the reader has not come to it yet
        assert of.standing == "behind"
        return
    (difference,) = of.differences()
    assert difference.start <= offset < difference.end
    assert of.standing == "red"


@given(st.integers(1, 3_000), st.integers(1, 500))
def test_a_side_that_began_later_is_compared_from_there_on(count: int, begin: int) -> None:
    reader = side(records(range(min(begin, count), count)), begin=min(begin, count))
    assert handover(side(records(range(count))), reader).differences() == []


def test_what_nobody_wrote_is_red_once_its_writer_has_spoken_since() -> None:
    writer = side(records(range(100)), heard_at_ms=1_000)
    reader = side(records(range(101)), at_ms=1_000)
    assert handover(writer, reader).standing == "unsettled"
    heard = replace(writer, heard_at_ms=1_000 + HEARD_AFTER_MS)
    (difference,) = handover(heard, reader).differences()
    assert (difference.start, difference.end, difference.written, difference.read) == (100, 101, 0, 1)
    assert "offsets 100 to 100" in str(difference)
    assert handover(replace(heard, is_open=False), reader).standing == "unsettled"


def test_a_partition_without_records_is_balanced_and_one_that_nobody_reads_is_unread() -> None:
    assert handover(side([]), None).standing == "balanced"
    assert handover(side(records(range(3))), None).standing == "unread"
    assert handover(None, side(records(range(3)))).standing == "unsettled"


def test_what_a_person_accepted_is_compared_anew_from_there_on() -> None:
    read = records(range(100))
    read[3] = read[3]._replace(value=b"other")
    writer, reader = side(records(range(100))), side(read)
    assert handover(writer, reader).standing == "red"
    assert replace(handover(writer, reader), accepted=100).standing == "balanced"


def test_what_nobody_wrote_is_balanced_once_it_is_accepted() -> None:
    writer, reader = side(records(range(100)), heard_at_ms=HEARD_AFTER_MS), side(records(range(101)))
    assert handover(writer, reader).standing == "red"
    assert replace(handover(writer, reader), accepted=101).standing == "balanced"


@given(st.integers(1, 1_000), st.sets(st.integers(0, 1_200), max_size=30))
def test_what_was_appended_once_more_is_the_writers_and_its_own(count: int, again: set[int]) -> None:
    every = max(count, *again, 0) + 1
    once_more = sorted(again)
    writer = side(records(offset for offset in range(every) if offset not in again), heard_at_ms=HEARD_AFTER_MS)
    reader = side(records(range(every)))
    beside = side(records(once_more), begin=once_more[0]) if once_more else None
    of = replace(handover(writer, reader), beside=beside)
    assert (of.standing, of.differences()) == ("balanced", [])
