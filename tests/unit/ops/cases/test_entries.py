"""What of a record a page may have: how the case stands, by when somebody is to act; nobody's number and no value of a person."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.cases.board import load_boards
from ops.cases.entries import at, board_entry, decided_content, item_entry, item_of, sought
from ops.cases.index import CaseIndex, Filter
from ops.queue.items import SETTLED, UNDER_WAY, WAITS, Item
from ops.queue.wanted import Wanted
from ops.settings import Connections
from ops.show.tail import HIDDEN
from ops.trust.subject_key import SubjectKey
from schemas.agreement.directory import Directory
from streams.flows import FLOWS
from streams.flows.person import FLOW as PERSON
from tests.stage.rehearsal import city_contracts, days, micros

CONTRACTS = city_contracts()
BOARDS = {board.feed: board for boards in load_boards().values() for board in boards}
NUMBER = "440199197508150017"


@pytest.fixture
def key(tmp_path: Path) -> SubjectKey:
    return SubjectKey(Connections(tmp_path))


def row(feed: str, **given: Any) -> dict[str, Any]:
    return {**dict.fromkeys(CONTRACTS[feed].by_name), **given}


def item(**more: Any) -> Item:
    told = {
        "conflict_id": "c1", "kind": "NAME_CONFLICT", "subject_keys": [f"CITIZEN_ID:{NUMBER}"], "detail": "two names",
        "claims": [{"feed": feed, "position": "p", "value": "张伟"} for feed in ("edu.student", "police.resident")],
        "opened_at": micros("2016-10-31"), "state": "OPEN", "decided_by": None, "decision": None,
    }  # fmt: skip
    return Item(**{"name": "ab" * 32, "flow": PERSON, "subject": f"person:{NUMBER}", "basis": "b", "row": told, **more})


@pytest.mark.parametrize("feed", BOARDS)
def test_a_board_is_of_a_feed_of_its_system_and_names_columns_that_are_there(feed: str) -> None:
    board = BOARDS[feed]
    assert feed in next(flow.outputs for flow in FLOWS if flow.name == board.system)
    assert board.missing(CONTRACTS[feed]) == []
    known = CONTRACTS[feed].by_name[board.state].gov.get("values")
    assert set(board.waits) <= set(known or board.waits), "a state that the contract does not know"


def test_a_case_that_waits_is_ranked_by_its_deadline_and_any_other_by_when_it_was_last_news(key: SubjectKey) -> None:
    told = row("parcel.payment", contract_no="C1", state="OVERDUE", due_date=days("2016-10-31"), price=b"\x64")
    entry = board_entry(BOARDS["parcel.payment"], CONTRACTS["parcel.payment"], key, "n", told)
    assert (entry.waits, entry.rank == entry.due) == (True, True)
    assert at(entry.due).isoformat() == "2016-10-31T15:59:59.999999+00:00", "its last moment in Shanghai"  # pyright: ignore[reportOptionalMemberAccess]
    assert entry.content["shown"][3] == "1.00"
    paid = board_entry(BOARDS["parcel.payment"], CONTRACTS["parcel.payment"], key, "n", {**told, "state": "PAID"})
    assert (paid.waits, paid.rank > entry.rank) == (False, True)


def test_a_taxpayer_is_found_and_not_seen(key: SubjectKey) -> None:
    told = row(
        "tax.warning", warning_id="W1", taxpayer=NUMBER, taxpayer_name="张伟", state="OPEN", opened_at=1, deadline_at=2
    )
    entry = board_entry(BOARDS["tax.warning"], CONTRACTS["tax.warning"], key, "n", told)
    assert sought(key, "tax.warning", f" {NUMBER} ") in entry.sought
    assert HIDDEN in entry.content["shown"]
    assert not [value for value in (NUMBER, "张伟") if value in f"{entry.content}{entry.sought}{entry}"]


def test_an_item_is_kept_without_whom_it_is_about_and_stands_as_the_engine_says(key: SubjectKey) -> None:
    entry = item_entry(item(), key)
    assert (entry.state, entry.waits, entry.content["outcomes"][3:5]) == (WAITS, True, ["prefer", "leave-out"])
    assert {sought(key, "base.conflict", given) for given in (NUMBER, f"CITIZEN_ID:{NUMBER}")} <= set(entry.sought)
    assert not [value for value in (NUMBER, "张伟", "c1") if value in str(entry.content)]
    made = Wanted.of(["prefer", "2"]).decision(item(), Directory(), by="officer", reason="r", at=1)
    told = decided_content(made)
    assert NUMBER not in str(told)
    assert item_of(PERSON, entry, None).state == WAITS
    assert item_of(PERSON, entry, told).state == UNDER_WAY
    marked = item(row={**item().row, "state": "RESOLVED", "decision": made.says}, decision=replace(made))
    assert (item_entry(marked, key).state, item_of(PERSON, item_entry(marked, key), told).state) == (SETTLED, SETTLED)


def test_ten_thousand_items_are_a_page_of_forty(key: SubjectKey) -> None:
    with closing(CaseIndex()) as index:
        one = item_entry(item(), key)
        index.put("base.conflict", [replace(one, name=f"{n:064x}", rank=-n) for n in range(10_000)])
        assert [each.rank for each in index.page("base.conflict", Filter(), start=40, count=40)] == list(
            range(-9_959, -9_919)
        )
        assert [each.count for each in index.counts("base.conflict")] == [10_000]
