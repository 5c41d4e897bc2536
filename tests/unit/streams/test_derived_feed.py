"""A flow's feed through egress: nested columns go as they are, and a removal says why the flow took its row back."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.agreement.grant import Grant
from schemas.change import Batch, Record
from schemas.contract import Contract
from schemas.position import Position
from streams.engine.derived import DerivedFeed
from streams.engine.effects import RowChange
from tests.unit.streams.memory import MemoryMesh

FEED = "tax.warning"
SOURCE = {
    "type": "record",
    "name": "Source",  # as the envelope's own record is called
    "fields": [
        {"name": "feed", "type": "string"},
        {"name": "dated_at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}], "default": None},
    ],
}
CONTRACT = Contract.parse(
    {
        "type": "record",
        "name": "Warning",
        "gov": {"key": ["warning_id"]},
        "fields": [
            {"name": "warning_id", "type": "string"},
            {"name": "sources", "type": {"type": "array", "items": SOURCE}},
            {"name": "region", "type": "string"},
            {"name": "amounts", "type": {"type": "map", "values": ["null", "long"]}},
            {"name": "origin", "type": ["null", {**SOURCE, "name": "Origin"}]},
            {"name": "rule", "type": "string"},
        ],
    },
    FEED,
)
SOURCES = [{"feed": "aic.enterprise", "dated_at": 1_480_000_000_000_000}, {"feed": "州" * 90, "dated_at": None}]
ROW: dict[str, Any] = {
    "warning_id": "w1",
    "sources": SOURCES,
    "region": "440106",
    "amounts": {"2015": 1 << 40, "2016": None},
    "origin": SOURCES[0],
    "rule": "W1",
}
AWAY = {**ROW, "region": "440104", "sources": []}
NESTED = ("sources", "amounts", "origin")


class Feed:
    """The flow's feed in memory, with one grant on it."""

    def __init__(self, columns: tuple[str, ...], row_filter: str | None = None) -> None:
        self.mesh = MemoryMesh(CONTRACT)
        grant = Grant(
            grant_id=f"customs.{FEED}",
            subscriber="customs",
            feed=FEED,
            columns=columns,
            purpose="duty",
            row_filter=row_filter,
        )
        self.mesh.grant(grant)
        self.relay = self.mesh.relay()
        self.flow = DerivedFeed(self.mesh.feed)

    def say(self, before: Any, after: Any, reason: str | None = None) -> Any:
        """What comes of a change of the flow: op, row and reason of each record; tombstones are left out."""
        change = RowChange("tax", FEED, "w1", before, after, Position(1, len(self.mesh.log[0]) + 1, 1), 7, reason)
        records = [
            Record(len(self.mesh.log[0]) + place, key, value, headers, 0)
            for place, (_, key, value, _, headers) in enumerate(self.flow.records(change))
        ]
        self.mesh.log[0] += records
        self.mesh.topics.clear()
        self.relay.handle([Batch(topic=FEED, partition=0, records=records)])
        return [seen for seen in self.mesh.out(f"customs.{FEED}") if seen[0]]


def only(row: dict[str, Any], *columns: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name == "warning_id" or name in columns}


def test_nested_columns_pass_as_they_are_and_only_when_granted() -> None:
    whole, without, one = Feed((*NESTED, "rule")), Feed(("rule",)), Feed(("amounts",))
    later = {**ROW, "amounts": {}, "origin": None}
    for before, after, op in ((None, ROW, "c"), (ROW, later, "u"), (later, None, "d")):
        seen = after or before or {}
        reason = "SOURCE_DELETED" if op == "d" else ""
        assert whole.say(before, after) == [(op, only(seen, *NESTED, "rule"), reason)]
        assert without.say(before, after) == [(op, only(seen, "rule"), reason)]
        assert one.say(before, after) == [(op, only(seen, "amounts"), reason)]


def test_a_filter_beside_nested_columns_follows_the_row() -> None:
    feed = Feed(("sources", "rule"), "region == '440106'")
    assert feed.say(None, AWAY) == []
    assert feed.say(AWAY, ROW) == [("c", only(ROW, "sources", "rule"), "")]
    assert feed.say(ROW, {**ROW, "sources": []}) == [("u", only({**ROW, "sources": []}, "sources", "rule"), "")]
    assert feed.say(ROW, AWAY) == [("d", only(ROW, "sources", "rule"), "OUT_OF_SCOPE")]
    assert feed.say(AWAY, None, "RETRACTED") == []


@pytest.mark.parametrize("row_filter", [None, "region == '440106'"])
def test_a_removal_says_why_the_flow_took_its_row_back(row_filter: str | None) -> None:
    feed = Feed(("rule",), row_filter)
    for reason in ("RETRACTED", "PUBLICATION_EXPIRED"):
        feed.say(None, ROW)
        assert feed.say(ROW, None, reason) == [("d", only(ROW, "rule"), reason)]
        said = [dict(headers) for _, _, _, headers in feed.mesh.topics[f"out.customs.{FEED}"]]
        traces = {headers.pop("trace_id") for headers in said}
        assert said == [
            {"grant_id": b"customs.tax.warning", "purpose": b"duty", "reason": reason.encode()},
            {"grant_id": b"customs.tax.warning", "purpose": b"duty"},
        ]
        assert len(traces) == 1
    feed.say(None, ROW)
    assert feed.say(ROW, None) == [("d", only(ROW, "rule"), "SOURCE_DELETED")]
    if row_filter:
        feed.say(None, ROW)
        assert feed.say(ROW, AWAY, "RETRACTED")[0][2] == "OUT_OF_SCOPE", "the row is still there"
