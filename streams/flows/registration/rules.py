"""Rules: the dated configuration of commercial registration, read once.

Items to departments (`items.csv`), how long a department may take (`rules.yaml`), what the public page shows
(`disclosure.csv`) and the data topics of the board (`topics.csv`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.dated.configuration import Packs, dated
from schemas.errors import Misconfigured
from streams.operators.flow import Row
from streams.operators.publish import FieldTable, field_tables

HERE = Path(__file__).parent
CITY = "440100"


@dataclass(frozen=True, slots=True)
class Rules:
    """What was in force when an item entered a business scope."""

    pushed_kinds: frozenset[str]
    claim_working_days: int
    grace_micros: int
    reroutes_max: int
    unmatched_working_days: int


@dataclass(frozen=True, slots=True)
class Owner:
    """A department that an item requires. `is_city`: its city office deals with the item, not that of the district."""

    agency: str
    item_name: str
    is_city: bool


@dataclass(frozen=True, slots=True)
class Topic:
    """One data topic (数据主题) of the board: rows of a feed, of one value of a column; without a feed, not connected yet."""

    code: str
    name: str
    agency: str
    feed: str
    column: str
    value: str


def _rules(values: Mapping[str, Any]) -> Rules:
    return Rules(
        pushed_kinds=frozenset(values["pushed_kinds"]),
        claim_working_days=values["claim_working_days"],
        grace_micros=values["grace_hours"] * 3_600_000_000,
        reroutes_max=values["reroutes_max"],
        unmatched_working_days=values["unmatched_working_days"],
    )


_RULES = Packs(dated(HERE / "rules.yaml"), _rules)
_ITEMS = dated(HERE / "items.csv", key=["item_code", "permit_kind", "agency"])
_ITEMS_BY_CODE: dict[tuple[str, str], list[Any]] = {}
for _entry in _ITEMS.entries:
    _ITEMS_BY_CODE.setdefault((_entry.values["item_code"], _entry.values["permit_kind"]), []).append(_entry)


def rules_at(moment: int) -> Rules | None:
    """The rules in force at a moment; None before the reform."""
    return _RULES.find(moment)


def owners(item_code: str, permit_kind: str, moment: int) -> list[Owner]:
    """Every department that an item requires at a moment, by code; empty: it has no clear owner."""
    found = [
        Owner(entry.values["agency"], entry.values["item_name"], entry.values["level"] == "CITY")
        for entry in _ITEMS_BY_CODE.get((item_code, permit_kind), ())
        if entry.is_valid_at(moment)
    ]
    return sorted(found, key=lambda owner: owner.agency)


def item_name(item_code: str) -> str | None:
    """An item's name, where any entry has one."""
    names = [
        entry.values["item_name"]
        for (code, _), entries in _ITEMS_BY_CODE.items()
        if code == item_code
        for entry in entries
    ]
    return names[0] if names else None


def _read_pages() -> Mapping[str, FieldTable]:
    with (HERE / "disclosure.csv").open(encoding="utf-8", newline="") as lines:
        return field_tables(csv.DictReader(lines), "registration/disclosure.csv")


_PAGES = _read_pages()
_MOST_CLOSED = "SOLE_TRADER"


def page_of(kind: str | None) -> FieldTable:
    """What the public page shows of an entity of this kind; of an unknown kind as little as of a sole trader."""
    return _PAGES.get(kind or _MOST_CLOSED, _PAGES[_MOST_CLOSED])


def _read_topics() -> tuple[Topic, ...]:
    name = "registration/topics.csv"
    with (HERE / "topics.csv").open(encoding="utf-8", newline="") as lines:
        topics = tuple(
            Topic(line["topic_code"], line["name"], line["agency"], line["feed"], line["column"], line["value"])
            for line in csv.DictReader(lines)
        )
    if len({topic.code for topic in topics}) != len(topics):
        raise Misconfigured(name, "two topics have one code", fix="give each topic a code of its own")
    for feed in {topic.feed for topic in topics if topic.feed}:
        if not any(topic.feed == feed and not topic.column for topic in topics):
            raise Misconfigured(name, f"{feed} has no topic for its other rows", fix="add one without a column")
    return topics


TOPICS: Sequence[Topic] = _read_topics()
AGENCIES = frozenset(topic.agency for topic in TOPICS) | {entry.values["agency"] for entry in _ITEMS.entries}
"""Every department of the platform: to whom an item can be re-routed."""
_TOPICS_BY_FEED: dict[str, list[Topic]] = {}
for _topic in sorted(TOPICS, key=lambda topic: not topic.column):
    _TOPICS_BY_FEED.setdefault(_topic.feed, []).append(_topic)


def topic_of(feed: str, row: Row) -> str:
    """The code of the one topic that a row belongs to."""
    for topic in _TOPICS_BY_FEED[feed]:
        if not topic.column or row.get(topic.column) == topic.value:
            return topic.code
    raise KeyError(feed)
