"""The comparison's own reading of filters, rules, masks and changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ops.city.city import GUANGZHOU, City
from ops.city.opening_day import settle
from ops.lint.folder import load
from ops.proof.compare import Comparison, _hidden
from ops.proof.condition import condition
from ops.proof.held import held
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract, Field
from schemas.errors import Misconfigured
from schemas.expression.expression import parse
from schemas.expression.predicate import predicate
from sinks.copy import granted
from sinks.http.copy import WebhookCopy

ROW = {
    "a": "x",
    "none": None,
    "quote": "it's",
    "n": 3,
    "money": Decimal("100.50"),
    "flag": True,
    "off": False,
    "day": date(2000, 1, 1),
    "card": "440199199001010017",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a == 'x'", True),
        ("a != 'x' || n >= 3", True),
        ("none == null", True),
        ("none != 'x'", True),
        ("none < 'x'", False),
        ("!(none < 'x')", True),
        ("!none == 'x'", True),
        ("quote == 'it''s'", True),
        ("money >= 100.5 && money < 101", True),
        ("n > -1", True),
        ("flag && !off", True),
        ("a in ['y', 'x', null]", True),
        ("none in ['y']", False),
        ("day < '2000-01-02'", True),
        ("'x' == a", True),
        ("starts_with(card, '4401')", True),
        ("starts_with(none, '4')", False),
        ("valid_citizen_id(card) && !valid_uscc(card)", True),
    ],
)
def test_conditions(text, expected):
    assert condition(text)(ROW) is expected


@pytest.mark.parametrize("text", ["a ==", "a == #", "unknown(a)", "n + 1 == 4", "a == 'x' == 'y'"])
def test_what_it_does_not_understand_is_an_error_and_never_a_guess(text):
    with pytest.raises(Misconfigured):
        condition(text)(ROW)


def raw(field: Field, value: Any) -> Any:
    """A value of the city as Avro stores it."""
    if value is None:
        return None
    if field.logical_type == "decimal":
        unscaled = int(Decimal(value).scaleb(field.branches[0]["scale"]))
        return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)
    if isinstance(value, datetime):
        since = value.replace(tzinfo=None) - datetime(1970, 1, 1)  # noqa: DTZ001
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return value.toordinal() - date(1970, 1, 1).toordinal() if isinstance(value, date) else value


def driven(field: Field, value: Any) -> Any:
    """A value of the city as the database driver gives it."""
    return Decimal(value) if value is not None and field.logical_type == "decimal" else value


def test_both_readings_of_every_filter_and_rule_agree_on_every_row():
    """The mesh's compiler and the comparison's reader were written apart; where they part, one of them is wrong."""
    city = City(11, scale=1 / 4000)
    settle(city)
    texts: dict[str, set[str]] = {feed: set() for feed in city.contracts}
    for contract in city.contracts.values():
        texts[contract.feed] |= {rule.expression for rule in contract.rules}
    for subscriber in load(GUANGZHOU).subscribers:
        for grant in subscriber.grants:
            if grant.row_filter and grant.feed in texts:  # the rows of the flows are not made here
                texts[grant.feed].add(grant.row_filter)
    assert sum(map(len, texts.values())) > 80
    for feed, contract in city.contracts.items():
        for text in texts[feed]:
            theirs, ours = predicate(parse(text), contract), condition(text)
            names = parse(text).columns
            for row in city.rolls[feed]:
                stored = {name: raw(contract.by_name[name], row[name]) for name in names}
                read = {name: driven(contract.by_name[name], row[name]) for name in names}
                assert theirs(stored) == ours(read), (feed, text)


CONTRACT = Contract.parse(
    {
        "type": "record",
        "name": "T",
        "gov": {"key": ["id"]},
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "name", "type": ["null", "string"]},
            {"name": "secret", "type": ["null", "string"]},
            {"name": "closed", "type": ["null", "string"]},
        ],
    },
    "aic.t",
)


def grant(**more: Any) -> Grant:
    values = {"columns": ("name", "secret"), "mask": {"secret": Mask.DROP}, "grant_id": "boc.aic.t.second", **more}
    return Grant(subscriber="boc", feed="aic.t", purpose="test", **values)


def change(op: str, minor: int, key: str, name: str | None, **more: Any) -> Mapping[str, Any]:
    row = {"id": key, "name": name}
    sides = {"before": row, "after": None} if op == "d" else {"before": None, "after": row}
    position = f'["0000","{1:016X}","{minor:08X}"]'
    body = {"grant_id": "boc.aic.t.second", "op": op, "key": {"id": key}, "position": position, "unchanged": []}
    return {**body, **sides, **more}


def test_what_is_granted_and_how_it_is_called():
    assert [field.name for field in granted(grant(), CONTRACT)] == ["id", "name"]
    assert grant().delivered_as == "aic.t.second"


def test_a_receivers_log_folds_to_the_newest_row_of_each_key(tmp_path):
    log = tmp_path / "received.jsonl"
    bodies = [
        change("r", 0, "1", "old"),
        [change("u", 5, "1", "new\u2028line"), change("c", 2, "2", "b"), change("c", 3, "3", "c")],
        change("u", 4, "1", "late"),
        change("d", 6, "2", "b"),
        change("c", 2, "2", "b"),
        change("u", 7, "3", None, unchanged=["name"]),
        change("c", 9, "4", "x", grant_id="boc.aic.t"),
    ]
    log.write_text("".join(json.dumps(body, ensure_ascii=False) + "\n" for body in bodies))
    assert held(WebhookCopy(log=log), grant(), CONTRACT) == {("1",): ("1", "new\u2028line"), ("3",): ("3", "c")}
    assert held(WebhookCopy(log=tmp_path / "none"), grant(), CONTRACT) == {}


def test_masked_text_shows_its_ends():
    assert [_hidden(text) for text in (None, "", "甲", "甲乙", "甲乙丙丁")] == [None, "", "*", "甲*", "甲**丁"]


def test_a_comparison_is_exact_only_without_any_difference():
    assert Comparison(expected=2, found=2, missing=0, surplus=0, different=0).to_json()["exact"]
    for fault in ("missing", "surplus", "different"):
        counts = {"expected": 2, "found": 2, "missing": 0, "surplus": 0, "different": 0, fault: 1}
        assert not Comparison(**counts).is_exact
