"""Columns that a grant comes to name arrive with the first record that has them, whoever hears of the grant first (F-11, D-6)."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.broker.test_target_names import sink_of
from tests.stage.delivering import OutFeed

NARROW = [{"name": "id", "type": "int"}, {"name": "a", "type": ["null", "string"]}]
WIDE = [*NARROW, {"name": "b", "type": ["null", "string"]}]


def held(dsn: str) -> dict[int, dict[str, Any]]:
    with psycopg.connect(dsn) as connection:
        found = connection.cursor(row_factory=dict_row).execute("SELECT * FROM police_person").fetchall()
    return {row["id"]: {name: value for name, value in row.items() if not name.startswith("_mesh_")} for row in found}


def test_a_record_that_comes_before_word_of_the_wider_grant_keeps_its_new_column(dsn: str) -> None:
    feed = OutFeed("bank", "police.person", NARROW, ["id"])
    with sink_of(dsn, feed, present_schema=lambda _: feed.value_id) as sink:
        sink.narrow(feed.topic, feed.value_id)
        sink.write([feed.batch(feed.record("c", {"id": 1, "a": "x"}))])
        feed.use(WIDE)
        # The grant names `b` on its topic, and streams has heard so; this lane has not.
        sink.write([feed.batch(feed.record("u", {"id": 1, "a": "x", "b": "new"}))])
        assert held(dsn) == {1: {"id": 1, "a": "x", "b": "new"}}
        sink.narrow(feed.topic, feed.value_id)
        assert held(dsn) == {1: {"id": 1, "a": "x", "b": "new"}}


def test_a_record_of_before_the_grant_was_narrowed_is_cut_until_it_names_the_column_again(dsn: str) -> None:
    feed = OutFeed("bank", "police.person", WIDE, ["id"])
    wide_id = feed.value_id
    present = [wide_id]
    with sink_of(dsn, feed, present_schema=lambda _: present[0]) as sink:
        early, late, later = (feed.record("u", {"id": number, "a": "x", "b": "old"}) for number in (1, 2, 3))
        feed.use(NARROW)
        present[0] = feed.value_id
        sink.narrow(feed.topic, feed.value_id)
        sink.write([feed.batch(early)])
        sink.write([feed.batch(late)])
        assert held(dsn) == {1: {"id": 1, "a": "x"}, 2: {"id": 2, "a": "x"}}
        # The same columns as before, hence the same schema: only the grant tells what is of before and what is of now.
        present[0] = wide_id
        sink.write([feed.batch(later)])
        assert held(dsn)[3] == {"id": 3, "a": "x", "b": "old"}
