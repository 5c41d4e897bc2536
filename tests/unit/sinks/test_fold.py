"""Folding by key: the newest token wins, whatever the order."""

from __future__ import annotations

import pytest

from schemas.errors import Rejected
from sinks.table.fold import RunFold
from sinks.table.reading import Taken


def change(op: str, token: int, *cells: bytes, unchanged: tuple[str, ...] = ()) -> Taken:
    return Taken(cells or None, op.encode(), b"%04d" % token, unchanged)


def test_the_newest_row_of_a_key_wins() -> None:
    fold = RunFold(["a"])
    for token in (3, 1, 2):
        fold.take(b"k", change("u", token, b"%d" % token))
    assert fold.whole[b"k"].cells == (b"3",)


def test_a_removal_and_a_row_outdo_each_other_by_token() -> None:
    fold = RunFold(["a"])
    fold.take(b"k", change("c", 1, b"1"))
    fold.take(b"k", change("d", 2))
    assert (fold.whole, fold.removed) == ({}, {b"k": b"0002"})
    fold.take(b"k", change("c", 1, b"1"))
    assert fold.removed == {b"k": b"0002"}
    fold.take(b"k", change("c", 3, b"3"))
    assert (list(fold.whole), fold.removed) == ([b"k"], {})
    fold.take(b"k", change("d", 2))
    assert list(fold.whole) == [b"k"]


def test_absent_columns_are_filled_from_earlier_changes_of_the_batch() -> None:
    fold = RunFold(["a", "b"])
    fold.take(b"k", change("c", 1, b"a1", b"b1"))
    fold.take(b"k", change("u", 2, b"", b"b2", unchanged=("a",)))
    assert fold.whole[b"k"] == change("u", 2, b"a1", b"b2")
    fold.take(b"l", change("u", 1, b"", b"b1", unchanged=("a",)))
    fold.take(b"l", change("u", 2, b"a2", b"", unchanged=("b",)))
    assert fold.partial[b"l"] == change("u", 2, b"a2", b"b1")


def test_a_snapshot_row_of_equal_position_wins_and_a_duplicate_does_not() -> None:
    fold = RunFold(["a"])
    fold.take(b"k", change("u", 1, b"old"))
    fold.take(b"k", change("u", 1, b"duplicate"))
    assert fold.whole[b"k"].cells == (b"old",)
    fold.take(b"k", change("r", 1, b"wider"))
    assert fold.whole[b"k"].cells == (b"wider",)


def test_a_truncate_takes_only_what_is_older() -> None:
    fold = RunFold(["a"])
    fold.take(b"old", change("c", 1, b"1"))
    fold.take(b"new", change("c", 9, b"9"))
    fold.take(b"", change("t", 5))
    fold.take(b"late", change("c", 4, b"4"))
    assert list(fold.whole) == [b"new"]
    assert fold.truncated == b"0005"


@pytest.mark.parametrize(("op", "key"), [("x", b"k"), ("c", b"k"), ("c", b"")])
def test_what_is_no_change_of_a_row_is_rejected(op: str, key: bytes) -> None:
    with pytest.raises(Rejected):
        RunFold([]).take(key, change(op, 1))
