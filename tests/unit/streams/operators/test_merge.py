from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from schemas.errors import Misconfigured
from streams.operators.flow import Fact, Row
from streams.operators.merge import IdentifierClaim, comparable, conflict, is_alias, merge, sources, spans

RULES = sources(
    {"address": ["police.resident:hukou_address", "civil.check_member:address"], "employer": ["hrss.month:employer"]}
)


def fact(
    feed: str, row_id: str, row: Row | None, at: int = 1, position: str = "p1", earlier: tuple[Fact, ...] = ()
) -> Fact:
    return Fact(feed, row_id, row, position, at, at, earlier)


def test_the_best_source_that_says_something_supplies_a_field_in_any_order() -> None:
    facts = [
        fact("police.resident", "1", {"hukou_address": "甲"}, at=1),
        fact("civil.check_member", "1", {"address": "乙"}, at=9),
        fact("hrss.month", "201601", {"employer": "A"}, at=2),
        fact("hrss.month", "201602", {"employer": "B"}, at=3),
    ]
    for seed in range(20):
        random.Random(seed).shuffle(facts)
        merged = merge(facts, RULES)
        assert merged.values == {"address": "甲", "employer": "B"}
        assert merged.provenance["address"] == {"feed": "police.resident", "position": "p1", "committed_at": 1000}
        assert merged.version == 3


def test_a_source_that_says_nothing_or_is_deleted_leaves_the_field_to_the_next() -> None:
    other = fact("civil.check_member", "1", {"address": "乙"})
    for row in ({"hukou_address": None}, None):
        assert merge([fact("police.resident", "1", row), other], RULES).values["address"] == "乙"
    assert merge([], RULES).values == {"address": None, "employer": None}
    assert merge([], RULES).version == 0


def test_provenance_names_the_commit_that_brought_the_value_not_the_last_touch() -> None:
    first = fact("police.resident", "1", {"hukou_address": "甲"}, at=1, position="p1")
    second = fact("police.resident", "1", {"hukou_address": "乙"}, at=2, position="p2")
    third = fact("police.resident", "1", {"hukou_address": "乙", "mobile": "1"}, at=3, position="p3")
    merged = merge([third.with_earlier((first, second))], RULES)
    assert merged.provenance["address"]["position"] == "p2"


def test_provenance_reaches_back_over_the_rows_of_an_unbroken_run() -> None:
    months = [fact("hrss.month", f"20160{n}", {"employer": name}, at=n) for n, name in enumerate("ABAA", start=1)]
    assert merge(months, RULES).provenance["employer"]["committed_at"] == 3000


def test_a_rank_goes_before_event_time() -> None:
    old, new = fact("hrss.month", "18", {"employer": "A"}, at=1), fact("hrss.month", "15", {"employer": "B"}, at=2)
    assert merge([old, new], RULES, rank=lambda fact: fact.row_id == "18").values["employer"] == "A"


def test_a_priority_that_names_no_column_is_refused() -> None:
    with pytest.raises(Misconfigured, match="priority of name"):
        sources({"name": ["police.resident"]})


def test_one_span_per_identifier() -> None:
    claims = [
        IdentifierClaim("USCC", "9", 20, None, "b"),
        IdentifierClaim("USCC", "9", 10, 30, "a"),
        IdentifierClaim("ORG", "7", None, 5, "c"),
        IdentifierClaim("ORG", "7", 2, 9, "d"),
    ]
    assert spans(claims) == [IdentifierClaim("ORG", "7", 2, 9, "d"), IdentifierClaim("USCC", "9", 10, None, "a")]
    assert spans(reversed(claims)) == spans(claims)


def test_a_conflict_has_the_same_id_after_any_replay() -> None:
    one, other = fact("a.b", "1", {"name": "甲"}, at=5), fact("c.d", "2", {"name": "乙"}, at=7, position="p7")
    item = conflict("NAME_CONFLICT", ["person:1"], [one, other], values=lambda fact: (fact.row or {}).get("name"))
    again = conflict("NAME_CONFLICT", ["person:1"], [replace(other, position="p9"), one])
    assert item["conflict_id"] == again["conflict_id"] != conflict("OTHER", ["person:1"], [one])["conflict_id"]
    assert item["conflict_id"] != conflict("NAME_CONFLICT", ["person:1"], [one, other], within="name:x")["conflict_id"]
    assert item["opened_at"] == 7000
    assert item["claims"][0] == {"feed": "a.b", "position": "p1", "value": "甲"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("张 伟", "張偉"), ("王\u3000芳 ", "王芳"), ("买买提·艾力", "买买提\u2022艾力"), ("ＡＬＩ．Ｂ", "ALI\u30fbB")],  # noqa: RUF001
)
def test_names_that_compare_equal(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


def test_names_that_do_not() -> None:
    assert comparable("李乾") != comparable("李干"), "乾 is a standard character in a name"
    assert comparable("陈峯") != comparable("陈峰")
    assert is_alias("陈峯", ["陳峰"])
    assert is_alias("li wei", ["LI WEI"])
    assert not is_alias("陈峰", ["陈锋"])
