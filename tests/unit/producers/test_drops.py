"""What a department drops into a folder is what its feed says: whole or not at all, each once, and nothing lost to a kill."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from producers.drops.folder import Inbox
from producers.drops.kind import DROPPED_FILES
from producers.drops.options import DropSourceOptions
from tests.stage.capturing import DATE, DECIMAL, contract
from tests.stage.stating import Stating

FEED = "gov.person"
FIELDS = {"id": "string", "name": "string", "born": DATE, "amount": DECIMAL, "visits": "long"}
HEADER = ["id", "name", "born", "amount", "visits"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def stating(folder: Path, **options: Any) -> Stating:
    given_options = {"settled_seconds": 0, "look_seconds": 0.1, **options}
    made = Stating(DROPPED_FILES, str(folder), folder.parent / "state", **given_options)
    made.add(contract(FEED, FIELDS, table="files.person"))
    return made


def drop(folder: Path, rows: Sequence[Sequence[Any]], name: str = "person.csv", encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path = folder / name
    (folder / ".coming").write_bytes(text.getvalue().encode(encoding))
    (folder / ".coming").rename(path)
    return path


def row(number: int, name: str = "王芳", amount: str = "1.50") -> list[Any]:
    return [f"{number:04d}", name, "1990-05-17", amount, number]


def is_taken(rig: Stating, name: str) -> bool:
    return rig.place(FEED).get("last", {}).get("name") == name


def take(rig: Stating, name: str) -> None:
    rig.run(lambda: is_taken(rig, name))


def ops(rig: Stating) -> str:
    return "".join(change.op for change in rig.changes(FEED))


def test_a_full_drop_becomes_the_changes_against_the_one_before(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1), row(2), row(3)], "person_20261128.csv")
    drop(folder, [HEADER, row(1), row(2, amount="9.99"), row(4)], "person_20261129.csv")
    take(rig, "person_20261129.csv")
    assert ops(rig) == "rrrucd"
    created, updated, deleted = rig.changes(FEED)[1], *rig.changes(FEED)[3::2]
    assert created.after == {
        "id": "0002",
        "name": "王芳",
        "born": (date(1990, 5, 17) - date(1970, 1, 1)).days,
        "amount": b"\x00\x96",
        "visits": 2,
    }
    assert updated.before == created.after
    assert deleted.before is not None
    assert deleted.after is None
    positions = [change.position for change in rig.changes(FEED)]
    assert positions == sorted(set(positions))
    assert rig.place(FEED)["last"]["rows"] == 3
    assert rig.records[-1][2] is None, "a delete is followed by a tombstone"


def test_the_same_file_again_changes_nothing_under_whatever_name(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1), row(2)], "person_1.csv")
    take(rig, "person_1.csv")
    drop(folder, [HEADER, row(2), row(1)], "person_2.csv")
    take(rig, "person_2.csv")
    assert ops(rig) == "rr"


@pytest.mark.parametrize(
    ("encoding", "said"), [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("gb18030", "GB18030"), ("gbk", "GB18030")]
)
def test_what_the_text_is_in_is_found_and_said(folder: Path, encoding: str, said: str) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1, "赵云|\\镕")], encoding=encoding)
    take(rig, "person.csv")
    assert rig.fold(FEED)["0001"]["name"] == "赵云|\\镕"
    assert rig.place(FEED)["last"]["encoding"] == said


def test_a_workbook_and_json_lines_say_the_same_as_csv(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1)], "person_1.csv")
    book = Workbook()
    book.active.append(HEADER)  # pyright: ignore[reportOptionalMemberAccess]
    book.active.append(["0001", "王芳", date(1990, 5, 17), 1.5, 1])  # pyright: ignore[reportOptionalMemberAccess]
    book.save(folder / "person_2.xlsx")
    line = {"id": "0001", "name": "王芳", "born": "1990-05-17", "amount": 1.50, "visits": 1}
    (folder / "person_3.jsonl").write_text(json.dumps(line) + "\n")
    take(rig, "person_3.jsonl")
    assert ops(rig) == "r"


def test_a_file_that_is_still_written_is_not_read(folder: Path) -> None:
    clock = [0.0]
    inbox = Inbox(str(folder), DropSourceOptions(settled_seconds=10), "gov.main", lambda: clock[0])
    path = folder / "person.csv"
    path.write_text("id\n1\n")
    [file] = inbox.files("person")
    assert not inbox.is_whole(file)
    clock[0] = 9
    path.write_text("id\n1\n2\n")
    [file] = inbox.files("person")
    assert not inbox.is_whole(file), "it grew"
    clock[0] = 18
    assert not inbox.is_whole(file)
    clock[0] = 19
    assert inbox.is_whole(file)


def test_a_marker_says_that_a_file_is_whole_and_what_it_must_hold(folder: Path) -> None:
    rig = stating(folder, settled_by="done")
    drop(folder, [HEADER, row(1)], "person_1.csv")
    rig.run(lambda: True)
    assert not rig.records
    (folder / "person_1.csv.done").write_text('{"rows": 2}')
    rig.run(lambda: rig.incident(FEED))
    assert "promises other rows" in rig.incident(FEED).reason  # pyright: ignore[reportOptionalMemberAccess]
    drop(folder, [HEADER, row(1), row(2)], "person_2.csv")
    (folder / "person_2.csv.done").touch()
    take(rig, "person_2.csv")
    assert len(rig.fold(FEED)) == 2
    assert rig.incident(FEED) is None


def test_nobody_elses_names_and_no_links_are_read(folder: Path, tmp_path: Path) -> None:
    drop(folder, [HEADER], "personnel.csv")
    drop(folder, [HEADER], "person_address_1.csv")
    drop(folder, [HEADER], "person.csv.part")
    drop(tmp_path, [HEADER], "elsewhere.csv")
    (folder / "person_9.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert Inbox(str(folder), DropSourceOptions(), "gov.main").files("person") == []


def test_bad_rows_are_dead_letters_by_line_and_their_rows_stay(folder: Path) -> None:
    rig = stating(folder, bad_share_max=1)
    drop(folder, [HEADER, row(1), row(2), row(3)], "person_1.csv")
    bad = [["0002", "李四", "1990-13-45", "1", "2"], ["0003", "4.40106E+17", "1990-01-01", "1", "3"]]
    drop(folder, [HEADER, row(1), *bad], "person_2.csv")
    take(rig, "person_2.csv")
    assert ops(rig) == "rrr"
    assert len(rig.fold(FEED)) == 3, "a row that cannot be read is not taken for deleted"
    (first, headers), (_, other) = rig.letters(FEED)
    assert headers["__connect.errors.exception.message"] == "line 3: column born"
    assert headers["mesh.errors.reason"] == "not_a_date"
    assert other["mesh.errors.reason"] == "scientific_notation"
    assert json.loads(first) == bad[0]
    assert not any("李四" in text or "1990-13-45" in text for text in headers.values())


def test_a_row_without_a_readable_key_withholds_deletes(folder: Path) -> None:
    rig = stating(folder, bad_share_max=1)
    drop(folder, [HEADER, row(1), row(2)], "person_1.csv")
    drop(folder, [HEADER, row(1), ["", "李四", "", "", ""]], "person_2.csv")
    take(rig, "person_2.csv")
    assert len(rig.fold(FEED)) == 2
    assert "without a readable key" in rig.incident(FEED).reason  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"id,name\n1,a\n", "its header has no born, amount, visits"),
        (b"id,name,born,amount,visits,id\n", "names id twice"),
        (b"id,name,born,amount,visits\n1,a,,,1\n2,b,,,2\n1,c,,,3\n", "more than once (lines 2 and 4)"),
        (b'id,name,born,amount,visits\n1,"a,,,1\n', "line"),
        (b"id,name,born,amount,visits\n1,\x81\x20\xff,,,\n", "is not utf8 nor gb18030"),
        ("id,name\n".encode("utf-16"), "its text is UTF-16"),
        ("id,name,born,amount,visits\n1,\ufffd,,,\n".encode(), "lost already"),
        (b"id,name,born,amount,visits\n1,a,x,,\n2,a,,,\n", "1 of 2 rows cannot be read"),
        (b"", "it has no header"),
    ],
)
def test_a_file_that_is_wrong_is_refused_whole_and_the_next_one_goes_on(folder: Path, content: bytes, why: str) -> None:
    rig = stating(folder)
    (folder / "person_1.csv").write_bytes(content)
    rig.run(lambda: rig.incident(FEED))
    incident = rig.incident(FEED)
    assert incident is not None
    assert why in incident.reason
    assert incident.state == "notice"
    assert not rig.records
    drop(folder, [HEADER, row(7)], "person_2.csv")
    take(rig, "person_2.csv")
    assert list(rig.fold(FEED)) == ["0007"]
    assert rig.incident(FEED) is None


def test_a_broken_workbook_is_refused(folder: Path) -> None:
    rig = stating(folder)
    (folder / "person.xlsx").write_bytes(b"PK\3\4 no workbook")
    rig.run(lambda: rig.incident(FEED))
    assert "no workbook" in rig.incident(FEED).reason  # pyright: ignore[reportOptionalMemberAccess]


def test_a_drop_that_deletes_too_much_waits_until_a_person_accepts_it(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, *map(row, range(100))], "person_1.csv")
    take(rig, "person_1.csv")
    drop(folder, [HEADER, *map(row, range(50))], "person_2.csv")
    rig.run(lambda: rig.incident(FEED))
    incident = rig.incident(FEED)
    assert incident is not None
    assert incident.state == "stopped"
    assert "would delete 50 of 100 rows" in incident.reason
    assert len(rig.fold(FEED)) == 100
    rig.options |= {"accept": [incident.fix.split('["')[1].split('"]')[0]]}
    take(rig, "person_2.csv")
    assert len(rig.fold(FEED)) == 50
    assert rig.incident(FEED) is None


def test_a_drop_that_waits_gives_way_to_the_right_one_in_its_place(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, *map(row, range(100))], "person_1.csv")
    take(rig, "person_1.csv")
    drop(folder, [HEADER], "person_2.csv")
    rig.run(lambda: rig.incident(FEED))
    drop(folder, [HEADER, *map(row, range(99))], "person_2.csv")
    take(rig, "person_2.csv")
    assert len(rig.fold(FEED)) == 99


def test_a_file_whose_turn_was_before_does_not_overwrite(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1, "new")], "person_20261130.csv")
    take(rig, "person_20261130.csv")
    drop(folder, [HEADER, row(1, "old")], "person_20261129.csv")
    drop(folder, [HEADER, row(1, "newest")], "person_20261201.csv")
    take(rig, "person_20261201.csv")
    assert [change.after["name"] for change in rig.changes(FEED)] == ["new", "newest"]  # pyright: ignore


def test_a_list_of_changes_is_applied_once(folder: Path) -> None:
    rig = stating(folder, mode="changes")
    drop(folder, [[*HEADER, "op"], [*row(1), "c"], [*row(2), "c"]], "person_1.csv")
    drop(folder, [[*HEADER, "op"], [*row(1), "d"], [*row(2, "李四"), "u"], [*row(3), "新增"]], "person_2.csv")
    drop(folder, [[*HEADER, "op"], [*row(1), "c"], [*row(2), "c"]], "person_3.csv")  # the first one, sent again
    take(rig, "person_3.csv")
    assert ops(rig) == "rrduc"
    assert {key: value["name"] for key, value in rig.fold(FEED).items()} == {"0002": "李四", "0003": "王芳"}


def test_killed_at_any_record_the_same_changes_come_under_the_same_positions(folder: Path, tmp_path: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, *map(row, range(6))], "person_1.csv")
    drop(folder, [HEADER, *(row(number, amount="2") for number in range(3, 9))], "person_2.csv")
    for dies_after in range(1, 12):
        rig.run(lambda: is_taken(rig, "person_2.csv"), dies_after=dies_after)
    take(rig, "person_2.csv")
    by_position = {change.position: change for change in rig.changes(FEED)}
    assert all(by_position[change.position] == change for change in rig.changes(FEED))
    assert "".join(by_position[at].op for at in sorted(by_position)) == "rrrrrruuucccddd"
    assert sorted(rig.fold(FEED)) == [f"{number:04d}" for number in range(3, 9)]


def test_rows_that_are_lost_on_disk_are_stated_anew_above_all_earlier_positions(folder: Path, tmp_path: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1), row(2)], "person_1.csv")
    take(rig, "person_1.csv")
    for file in (tmp_path / "state/gov.main" / FEED).iterdir():
        file.unlink()
    rig.run(lambda: len(rig.changes(FEED)) == 5)
    assert ops(rig) == "rrtrr"
    assert len(rig.fold(FEED)) == 2


def test_a_source_that_comes_back_states_above_what_it_left_behind(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1), row(2)], "person_1.csv")
    take(rig, "person_1.csv")
    rig.progress.save("gov.main", None)  # as offboarding leaves it
    drop(folder, [HEADER, row(2)], "person_1.csv")
    take(rig, "person_1.csv")
    assert list(rig.fold(FEED)) == ["0002"]


def test_a_resync_states_everything_anew(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [HEADER, row(1), row(2)], "person_1.csv")
    take(rig, "person_1.csv")
    rig.resyncs[FEED] = "asked"
    rig.run(lambda: len(rig.changes(FEED)) == 5)
    assert ops(rig) == "rrtrr"
    assert rig.place(FEED)["epoch"] == 2


def test_a_column_that_the_contract_gets_later_is_an_update_of_the_rows_that_have_it(folder: Path) -> None:
    rig = stating(folder)
    drop(folder, [[*HEADER, "phone"], [*row(1), ""], [*row(2), "020-1234"]], "person_1.csv")
    take(rig, "person_1.csv")
    former = rig.feeds[FEED]
    rig.add(contract(FEED, {**FIELDS, "phone": "string"}, table="files.person"))
    rig.feeds = {FEED: replace(rig.feeds[FEED], key_schema_id=former.key_schema_id)}
    drop(folder, [[*HEADER, "phone"], [*row(1), ""], [*row(2), "020-1234"]], "person_2.csv")
    take(rig, "person_2.csv")
    assert ops(rig) == "rru"
    assert rig.fold(FEED)["0002"]["phone"] == "020-1234"


def test_what_did_not_come_in_time_is_told(folder: Path) -> None:
    rig = stating(folder, expected_seconds=1)
    drop(folder, [HEADER, row(1)])
    take(rig, "person.csv")
    rig.run(lambda: rig.incident(FEED))
    assert "nothing new came after person.csv" in rig.incident(FEED).reason  # pyright: ignore


tables = st.dictionaries(st.integers(0, 12), st.sampled_from(["a", "b", '镕,\n"x', " "]), max_size=12)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(drops=st.lists(st.tuples(tables, st.booleans()), min_size=1, max_size=3))
def test_whatever_is_dropped_the_folded_feed_is_the_last_drop(
    tmp_path_factory: pytest.TempPathFactory, drops: Sequence[tuple[Mapping[int, str], bool]]
) -> None:
    folder = tmp_path_factory.mktemp("drops") / "in"
    folder.mkdir()
    rig = stating(folder, delete_share_max=1)
    for number, (table, dies) in enumerate(drops, 1):
        name = f"person_{number}.csv"
        drop(folder, [HEADER, *(row(key, text) for key, text in table.items())], name)
        if dies:
            rig.run(lambda name=name: is_taken(rig, name), dies_after=2)
        take(rig, name)
        assert {int(key): value["name"] for key, value in rig.fold(FEED).items()} == dict(table)
