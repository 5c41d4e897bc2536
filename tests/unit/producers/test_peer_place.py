"""Where a source of the kind `mesh` stands, from step to step."""

from __future__ import annotations

import json
from typing import Any

from producers.mesh.place import READY, RESYNC, PeerMark, PeerPlace

TOPIC = "out.district.aic.enterprise"
FORMER: dict[str, Any] = {
    "phase": "ready",
    "cluster": "k1",
    "topics": {TOPIC: {"0": 12, "11": 7}},
    "read_at": 1_790_000_000.5,
    "shift": 2,
    "newest_epoch": 5,
    "asked": "2026-11-01",
}
"""As it was written while the place was a dictionary."""


def test_a_record_of_before_the_place_was_typed_is_read_and_written_alike() -> None:
    place = PeerPlace.from_json(FORMER)
    assert place.nexts == {(TOPIC, 0): 12, (TOPIC, 11): 7}
    assert place.to_json() == FORMER
    assert PeerPlace.from_json(json.loads(json.dumps(place.to_json()))) == place


def test_a_record_of_before_gaps_could_be_accepted_twice_was_never_asked() -> None:
    assert PeerPlace.from_json({name: value for name, value in FORMER.items() if name != "asked"}).asked is None


def test_what_is_durable_moves_the_place_on_and_leaves_other_partitions() -> None:
    place = PeerPlace.from_json(FORMER)
    moved = place.confirmed(PeerMark(shift=2, nexts={(TOPIC, 0): 20}, newest_epoch=4))
    assert moved.nexts == {(TOPIC, 0): 20, (TOPIC, 11): 7}
    assert moved.newest_epoch == 5, "epochs only grow"
    assert place.nexts[TOPIC, 0] == 12, "a place never changes"


def test_an_accepted_gap_is_read_again_above_all_earlier_positions_and_kept_once_its_truncates_are_durable() -> None:
    asked = PeerPlace.from_json(FORMER).was_asked("2026-11-29")
    assert (asked.phase, asked.newest_epoch, asked.nexts) == (RESYNC, 5, {(TOPIC, 0): 12, (TOPIC, 11): 7})
    opened = asked.reopened().found_on("k2")
    assert opened == PeerPlace(phase=RESYNC, cluster="k2", shift=6, newest_epoch=6, asked="2026-11-29")
    read = opened.confirmed(PeerMark(shift=6, nexts={(TOPIC, 0): 3}, newest_epoch=7))
    assert read.phase == RESYNC
    assert read.confirmed(PeerMark(shift=6, is_emptied=True)).phase == READY


def test_marks_of_before_a_gap_was_accepted_count_for_nothing() -> None:
    opened = PeerPlace.from_json(FORMER).was_asked("again").reopened()
    assert opened.confirmed(PeerMark(shift=2, nexts={(TOPIC, 0): 99}, newest_epoch=9)) == opened
    twice = opened.reopened()  # the feeds changed before the first truncates were durable
    assert twice.confirmed(PeerMark(shift=opened.shift, is_emptied=True)) == twice
