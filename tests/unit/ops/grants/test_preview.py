"""What a dry run counts: different things in bounded memory, and how many rows look alike."""

from __future__ import annotations

import random

import pytest

from ops.grants.preview.distinct import Distinct, hash_of
from ops.grants.preview.groups import Groups


def test_different_ones_are_counted_exactly_up_to_the_limit_and_estimated_beyond() -> None:
    counted = Distinct(kept_max=4096)
    for number in [*range(3000), *range(3000)]:
        counted.add(hash_of(str(number).encode()))
    assert (counted.count, counted.is_exact) == (3000, True)
    for number in range(200_000):
        counted.add(hash_of(str(number).encode()))
    assert not counted.is_exact
    assert counted.count == pytest.approx(200_000, rel=0.05)
    assert len(counted._kept) == 4096  # pyright: ignore[reportPrivateUsage]  # what bounds the memory


def test_a_row_is_in_the_group_of_its_last_state() -> None:
    groups = Groups()
    for key, group in [(1, 10), (2, 10), (3, 20), (3, 20)]:
        groups.put(key, group)
    assert (len(groups), groups.smallest, groups.singled_out) == (2, 1, 1)
    groups.put(3, 10)
    assert (len(groups), groups.smallest) == (1, 3)
    groups.drop(1)
    assert groups.smallest == 2
    groups.clear()
    assert (groups.smallest, len(groups)) == (None, 0)


def test_beyond_the_limit_whole_groups_are_sampled_and_those_that_are_left_are_exact() -> None:
    chance = random.Random(7)
    groups, expected = Groups(rows_max=2_000), dict[int, int]()
    names = {number: hash_of(f"g{number}".encode()) for number in range(500)}
    last: dict[int, int] = {}
    for _ in range(30_000):
        key, group = chance.randrange(10_000), names[chance.randrange(500)]
        last[key] = group
        groups.put(key, group)
    for group in last.values():
        expected[group] = expected.get(group, 0) + 1
    assert not groups.is_whole
    assert 0 < len(groups) < 500
    left = groups._sizes  # pyright: ignore[reportPrivateUsage]
    assert left == {group: expected[group] for group in left}
    assert sum(left.values()) <= 2_000
