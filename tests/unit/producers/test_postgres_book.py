"""What is noted of a source's copies: a mark of a former copy, which is still under way, says nothing of the present one."""

from __future__ import annotations

from dataclasses import replace

from producers.postgresql.book import Book
from producers.postgresql.place import COPYING, LIVE, TablePlace
from producers.postgresql.snapshot.mark import Emptied, RangeDone
from producers.source import MemoryProgress, SourceSetting
from schemas.agreement.agency import Agency, SourceConfig

FEED = "a.t"


class Silent:
    def snapshot(self, *, feed: str, done_rows: int, total_rows: int) -> None: ...

    def retained(self, *, source: str, wal_bytes: int) -> None: ...


def book(place: TablePlace) -> Book:
    config = SourceConfig(name="main", kind="postgres")
    agency = Agency(agency="a", name="a", sources=(config,))
    opened = Book(
        SourceSetting(
            agency=agency, config=config, address="", feeds=dict, progress=MemoryProgress(), observer=Silent()
        )
    )
    opened.set(FEED, place)
    return opened


def test_marks_of_a_former_copy_are_not_taken_for_the_present_one() -> None:
    former = TablePlace(copy=1, filenode=7, columns=("id",))
    noted = book(former)
    noted.confirm(RangeDone(feed=FEED, copy=1, next_block=2_048, rows=10))
    assert noted.table(FEED).next_block == 2_048

    # The contract names a further column: the table is copied anew, while marks of the former copy are under way.
    noted.set(FEED, replace(noted.table(FEED).anew(), filenode=8, columns=("id", "name")))
    noted.confirm(RangeDone(feed=FEED, copy=1, next_block=4_096, rows=10))
    noted.confirm(RangeDone(feed=FEED, copy=1, next_block=None, rows=3))
    noted.confirm(Emptied(feed=FEED, copy=1))
    present = noted.table(FEED)
    assert (present.state, present.copy, present.next_block, present.rows) == (COPYING, 2, 0, 0)
    assert not present.is_emptied

    noted.confirm(Emptied(feed=FEED, copy=2))
    noted.confirm(RangeDone(feed=FEED, copy=2, next_block=None, rows=13))
    assert (noted.table(FEED).state, noted.table(FEED).rows) == (LIVE, 13)


def test_what_people_ask_to_be_copied_anew_is_taken_up_once() -> None:
    noted = book(TablePlace(copy=1, state=LIVE))
    assert not noted.heed({FEED: "first", "b.other": "first"}, [FEED])
    assert (noted.table(FEED).copy, noted.table(FEED).state) == (2, COPYING)
    assert not noted.heed({FEED: "first"}, [FEED])
    assert noted.table(FEED).copy == 2
    assert not noted.heed({FEED: "second"}, [FEED])
    assert noted.table(FEED).copy == 3


def test_a_source_that_is_to_be_copied_anew_is_opened_anew_unless_it_never_began() -> None:
    noted = book(TablePlace())
    assert not noted.heed({"a.main": "first"}, [FEED])
    noted.place = replace(noted.place, phase="ready")
    assert noted.heed({"a.main": "second"}, [FEED])
    assert noted.place.phase == "resync"
    assert not noted.heed({"a.main": "second"}, [FEED])
