"""What a feed's page is made of: names by their sound, versions beside each other, an hour's line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ops.console.pages.volume import HEIGHT, WIDTH, Volume
from ops.show.pinyin import is_maybe_pinyin, sounds
from ops.show.sample import hidden_of
from ops.show.versions import Difference, differences, type_text
from schemas.contract import Contract


@pytest.mark.parametrize("typed", ["huji", "hujirenkou", "hjrk", "renkou", "rk"])
def test_a_chinese_name_is_found_by_its_pinyin(typed: str) -> None:
    assert is_maybe_pinyin(typed)
    assert typed in sounds("户籍人口")


def test_what_is_no_pinyin_is_not_taken_for_it() -> None:
    assert not any(map(is_maybe_pinyin, ("户籍", "police.resident", "3/01/001", "h", "")))


def test_versions_differ_by_columns_types_and_words() -> None:
    before = {
        "id": {"name": "id", "type": "string"},
        "name": {"name": "name", "type": ["null", "string"], "doc": "名称"},
        "old": {"name": "old", "type": ["null", "int"]},
        "sum": {"name": "sum", "type": ["null", "int"]},
    }
    money = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}
    after = {
        "id": before["id"],
        "name": {**before["name"], "doc": "单位名称", "confluent:tags": ["PII"]},
        "sum": {"name": "sum", "type": ["null", money]},
        "day": {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
    }
    assert differences(before, after) == [
        Difference(what="words", column="name", before="名称", after="单位名称, PII"),
        Difference(what="type", column="sum", before="int?", after="decimal(18, 2)?"),
        Difference(what="added", column="day", after="date?"),
        Difference(what="removed", column="old", before="int?"),
    ]
    assert type_text({"type": "array", "items": "string"}) == "array of string"
    assert not differences(after, after)


def test_a_sample_hides_what_is_personal_sensitive_or_not_to_be_shared() -> None:
    def field(name: str, *tags: str, **gov: str) -> dict[str, object]:
        return {"name": name, "type": "string", "confluent:tags": list(tags), "gov": gov}

    record = {
        "type": "record",
        "name": "T",
        "gov": {"key": ["id"], "class": "CONDITIONAL"},
        "fields": [
            field("id"),
            field("a", "PII"),
            field("b", "L4"),
            field("c", "L1"),
            field("d", **{"class": "NOT_SHARED"}),
        ],
    }
    assert hidden_of(Contract.parse(record, "x.t")) == {"a", "b", "d"}


def test_an_hour_is_drawn_from_left_to_right_and_stays_in_its_box() -> None:
    drawn = Volume(counts=[0, 5, 10], since=datetime(2026, 3, 1, tzinfo=UTC))
    points = [tuple(map(float, point.split(","))) for point in drawn.line.split(" ")]
    assert [x for x, _ in points] == [0, WIDTH / 2, WIDTH]
    heights = [y for _, y in points]
    assert heights == sorted(heights, reverse=True)
    assert all(0 <= y <= HEIGHT for y in heights)
    assert Volume(counts=[0, 0], since=drawn.since).line, "nothing came, and nothing is divided by it"
