"""What a member of a consumer group knows of its partitions."""

from __future__ import annotations

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID

from schemas.errors import ContractBroken
from schemas.log.group.reached import Reached
from schemas.log.group.start import Start

PLACE = ("out.g.a.b", 0)


def test_what_nobody_knows_begins_at_the_beginning_and_the_group_hears_of_the_first_record_only() -> None:
    start = Start(PLACE, OFFSET_BEGINNING, OFFSET_INVALID, low=7, high=9)
    assert (start.assigned().offset, start.told, start.is_behind) == (OFFSET_BEGINNING, 7, False)


@pytest.mark.parametrize("offset", [6, 10])
def test_a_start_outside_of_what_is_there_is_a_gap(offset: int) -> None:  # invariant 9
    with pytest.raises(ContractBroken, match=f"up to {offset}"):
        Start(PLACE, offset, offset, low=7, high=9).assigned()


def test_a_target_that_has_less_than_was_confirmed_is_behind() -> None:
    assert Start(PLACE, 7, 9, low=0, high=9).is_behind
    assert not Start(PLACE, 9, 7, low=0, high=9).is_behind


def test_news_are_told_once_unless_the_group_did_not_hear_them() -> None:
    reached = Reached()
    reached.begin(PLACE, 5, told=5)
    reached.done(PLACE, 5)
    assert reached.news([PLACE]) == {}
    reached.done(PLACE, 8)
    assert reached.news([]) == {}
    assert reached.news([PLACE]) == {PLACE: 8}
    assert reached.news([PLACE]) == {}
    reached.was_not_told(PLACE)
    assert reached.news([PLACE]) == {PLACE: 8}
    reached.forget(PLACE)
    assert reached.news([PLACE]) == {}
