"""Accounts: what is held until one is opened, what is adopted, and what is not taken for ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from schemas.change import Batch, Record
from schemas.ledger.account import LOOKS, Account
from schemas.ledger.prefix import PrefixSum, digests_of

PLACE = ("a.t", 0)


def records(offsets: Iterable[int]) -> list[Record]:
    return [Record(offset, b"k%d" % offset, b"v%d" % offset, None, 0) for offset in offsets]


def sums_of(offsets: Iterable[int], begin: int = 0) -> PrefixSum:
    sums = PrefixSum(begin)
    for record in records(offsets):
        sums.add([record.offset], digests_of([record]))
    return sums


def wrote(account: Account, offsets: Iterable[int]) -> None:
    for record in records(offsets):
        account.wrote(record.offset, digests_of([record]))


def opened(account: Account, former: PrefixSum | None, high: int, low: int = 0) -> tuple[int, int] | None:
    """Open it as the keeper does; what was read from the topic."""
    gap = account.begin(former, low, high)
    if gap is not None:
        account.adopt(records(range(*gap)))
    account.open()
    return gap


def said(account: Account) -> dict[str, Any]:
    statement = account.statement()
    assert statement is not None
    return statement


def test_what_comes_before_it_is_opened_is_held_and_counted_once() -> None:
    account = Account(PLACE)
    wrote(account, range(5))
    assert account.waits
    assert account.statement() is None
    assert opened(account, None, 5) is None
    wrote(account, range(5, 9))
    assert said(account)["end"] == list(sums_of(range(9)).end)
    assert not account.waits


def test_what_a_killed_process_did_not_account_for_is_adopted() -> None:
    account = Account(PLACE)
    wrote(account, range(12, 15))
    assert opened(account, sums_of(range(8)), 15) == (8, 12)
    assert (said(account)["end"], account.adopted) == (list(sums_of(range(15)).end), 4)


def test_it_is_adopted_also_where_nothing_more_is_written() -> None:
    account = Account(PLACE)
    account.is_expected = True
    assert opened(account, sums_of(range(8)), 10) == (8, 10)
    assert said(account)["end"] == list(sums_of(range(10)).end)


def test_records_of_somebody_else_in_between_are_not_counted() -> None:
    account = Account(PLACE)
    account.is_expected = True
    opened(account, None, 0)
    wrote(account, [0, 1, 3])
    assert said(account)["end"] == list(sums_of([0, 1, 3]).end)


def test_after_a_delivery_that_may_have_arrived_the_gap_is_adopted() -> None:
    account = Account(PLACE)
    account.is_expected = True
    opened(account, None, 0)
    wrote(account, range(3))
    account.failed()
    assert said(account)["is_open"] is False
    wrote(account, range(5, 7))
    assert opened(account, None, 7) == (3, 5)
    assert (said(account)["end"], said(account)["is_open"]) == (list(sums_of(range(7)).end), True)


def test_a_delivery_that_fails_before_the_account_is_open_is_adopted_also_behind_who_left_in_order() -> None:
    """A source that starts over says the last of its accounts; then the producer it wrote through dies, with records under way."""
    account = Account(PLACE)
    account.is_expected = True
    account.failed()
    assert account.begin(sums_of(range(5)), 0, 9, adopts=False) == (5, 9)
    account.adopt(records(range(5, 9)))
    account.open()
    assert said(account)["is_open"] is False, "more of it may arrive"
    wrote(account, range(9, 11))
    assert (said(account)["end"], said(account)["is_open"]) == (list(sums_of(range(11)).end), True)


@pytest.mark.parametrize("lost", [0, 4])
def test_a_delivery_that_fails_while_the_account_is_being_opened_is_adopted(lost: int) -> None:
    account = Account(PLACE)
    account.is_expected = True
    assert account.begin(sums_of(range(5)), 0, 5, adopts=False) is None
    account.failed()
    wrote(account, range(5 + lost, 11))
    account.open()
    opened(account, None, 11)
    assert (said(account)["end"], said(account)["is_open"]) == (list(sums_of(range(11)).end), True)


def test_a_delivery_that_fails_behind_what_is_held_is_adopted() -> None:
    account = Account(PLACE)
    wrote(account, range(5, 7))
    account.failed()
    wrote(account, range(9, 11))
    assert opened(account, sums_of(range(5)), 11) == (5, 9)
    assert said(account)["end"] == list(sums_of(range(11)).end)
    first = Account(PLACE)
    wrote(first, range(2))
    first.failed()
    wrote(first, range(4, 6))
    assert opened(first, None, 6) == (0, 4)
    assert said(first)["end"] == list(sums_of(range(6)).end)


def test_while_others_write_for_us_nothing_is_said_and_all_is_adopted_in_the_end() -> None:
    account = Account(PLACE)
    account.is_expected = True
    opened(account, None, 0)
    wrote(account, range(2))
    account.share()
    wrote(account, [4])  # one of ours among theirs
    assert said(account)["is_open"] is False
    assert not account.waits
    account.unshare()
    assert opened(account, None, 9) == (2, 9)
    assert said(account)["end"] == list(sums_of(range(9)).end)


def test_a_topic_made_anew_is_counted_from_its_start() -> None:
    account = Account(PLACE)
    wrote(account, range(3))
    assert opened(account, sums_of(range(500)), 3) is None
    assert said(account)["end"] == list(sums_of(range(3)).end)


def test_a_reader_that_goes_back_counts_nothing_twice() -> None:
    account = Account(PLACE)
    account.read(Batch(topic="a.t", partition=0, records=records(range(4, 8))))
    assert opened(account, sums_of(range(6)), 8) is None
    account.read(Batch(topic="a.t", partition=0, records=records(range(2, 10))))
    assert said(account)["end"] == list(sums_of(range(10)).end)
    assert said(account)["counts"] == {"from": 4, "to": 10, "tombstones": 0}


def test_the_first_records_of_a_topic_are_ours_also_where_their_reports_come_late() -> None:
    account = Account(PLACE)
    account.is_expected = True
    assert opened(account, None, 5) is None, "they lie there, and nothing is reported yet"
    assert account.waits
    wrote(account, range(7))
    assert opened(account, None, 7) is None
    assert (said(account)["begin"], said(account)["end"][1], account.adopted) == (0, 7, 0)


def test_a_topic_of_before_the_ledger_is_accounted_for_from_its_end_on() -> None:
    account = Account(PLACE)
    account.is_expected = True
    for _ in range(LOOKS + 1):
        opened(account, None, 5)
    assert said(account)["begin"] == 5


def test_behind_the_last_word_of_who_left_in_order_nothing_is_adopted() -> None:
    account = Account(PLACE)
    account.is_expected = True
    assert account.begin(sums_of(range(8)), 0, 9, adopts=False) is None
    account.open()
    wrote(account, [9])
    assert said(account)["end"] == list(sums_of([*range(8), 9]).end)


def test_what_is_counted_beside_the_sums_goes_on_where_the_former_process_left_it() -> None:
    """`mesh ledger` said of 79,380 records that were read that 11,290 were valid, once workers had started again."""

    def batch(first: int, after: int) -> Batch:
        found = [Record(n, b"k", None if n % 5 == 4 else b"v%d" % n, None, 0) for n in range(first, after)]
        return Batch(topic=PLACE[0], partition=PLACE[1], records=found)

    former = Account(PLACE)
    former.read(batch(0, 10))
    opened(former, None, 10)
    former.count("rejected", 1)
    former.settled(10)
    left = said(former)
    assert left["counts"] == {"from": 0, "to": 10, "tombstones": 2, "rejected": 1, "settled": 10}

    account = Account(PLACE)  # it was killed; the next reads some again, and some that the former had read and not said
    account.read(batch(15, 25))
    account.count("rejected", 2)
    gap = account.begin(PrefixSum.from_json(left), 0, 25, counts=left["counts"])
    assert gap == (10, 15)
    account.adopt(batch(*gap).records)
    account.open()
    account.read(batch(20, 30))
    assert said(account)["counts"] == {"from": 0, "to": 30, "tombstones": 6, "rejected": 3, "settled": 10}


def test_a_reader_that_goes_on_accounts_for_what_a_killed_one_confirmed_though_nothing_more_comes() -> None:
    account = Account(PLACE)
    account.goes_on(10)
    assert account.waits
    assert opened(account, sums_of(range(8)), 12) == (8, 10), "and no record that nobody confirmed"
    assert (said(account)["end"], said(account)["counts"]["settled"]) == (list(sums_of(range(10)).end), 10)
    account.read(Batch(topic="a.t", partition=0, records=records(range(10, 12))))
    assert said(account)["end"] == list(sums_of(range(12)).end)


def test_a_reader_that_goes_on_behind_one_that_said_nothing_begins_there() -> None:
    account = Account(PLACE)
    account.goes_on(6)
    assert opened(account, None, 6) is None
    assert said(account)["end"] == [6, 0, 0]


def test_a_reader_that_goes_back_behind_a_killed_one_adopts_nothing() -> None:
    account = Account(PLACE)
    account.goes_on(5)
    assert opened(account, sums_of(range(8)), 12) is None
    assert said(account)["end"] == list(sums_of(range(8)).end)


def test_behind_who_left_in_order_a_reader_that_was_moved_on_adopts_nothing() -> None:
    account = Account(PLACE)
    account.goes_on(10)
    assert account.begin(sums_of(range(8)), 0, 12, adopts=False) is None
    account.open()
    assert said(account)["end"] == list(sums_of(range(8)).end)
