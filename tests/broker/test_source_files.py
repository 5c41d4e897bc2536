"""A department's files through the broker: what was dropped is in the feed, whatever was killed when."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from producers.drops.kind import DROPPED_FILES
from schemas.feed import dead_letter_topic
from schemas.log.kafka import Kafka
from tests.stage import feeds
from tests.stage.capturing import Rig
from tests.stage.kafka_text import written
from tests.stage.running_mesh import RunningMesh
from tests.stage.stated_child import OPTIONS, feed_contract
from tests.stage.until import until


def drop(folder: Path, name: str, rows: Iterable[tuple[object, ...]]) -> None:
    with (folder / ".coming").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "name", "amount"))
        writer.writerows(rows)
    (folder / ".coming").rename(folder / name)


def filing(kafka: Kafka, agency: str, tmp_path: Path) -> tuple[Rig, Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    rig = Rig(kafka, str(folder), agency)
    rig.kinds, rig.state = {"files": DROPPED_FILES}, tmp_path / "state"
    rig.set_source(kind="files", **OPTIONS)
    rig.add(feed_contract(agency))
    return rig, folder


def test_files_arrive_in_their_feed_and_bad_rows_in_its_dead_letters(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    rig, folder = filing(kafka, unique, tmp_path)
    feed = f"{unique}.person"
    drop(folder, "person_1.csv", [(number, f"n{number}", "1.00") for number in range(100)])
    with rig.capturing():
        rig.until_rows(feed, 100)
        drop(folder, "person_2.csv", [*((number, "other", "1.00") for number in range(1, 100)), ("x", "secret", "1")])
        until(lambda: rig.seen.events[feed, "u"] == 99, 60, "the second file")
        until(lambda: rig.incident("feed", feed), 60, "the notice of a row without a key")
    assert rig.seen.events == {(feed, "r"): 100, (feed, "u"): 99}
    [letters] = feeds.read_all(kafka, [dead_letter_topic(feed)]).values()
    assert [json.loads(letter.value() or b"") for letter in letters] == [["x", "secret", "1"]]
    assert dict(letters[0].headers() or ())["__connect.errors.exception.message"] == b"line 101: column id"


def test_sigkill_in_the_middle_of_a_file_repeats_nothing_and_loses_nothing(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    rig, folder = filing(kafka, unique, tmp_path)
    feed, rows = f"{unique}.person", 20_000
    drop(folder, "person_1.csv", [(number, f"n{number}", "1.00") for number in range(rows)])
    drop(folder, "person_2.csv", [(number, "other", "2.00") for number in range(rows // 10, rows + 500)])
    command = [sys.executable, "-m", "tests.stage.stated_child", written(kafka), str(folder), unique, str(tmp_path)]
    for least in (1, rows // 2, rows + 100):
        child = subprocess.Popen(command)
        until(lambda least=least: sum(feeds.end_offsets(kafka, [feed]).values()) >= least, 90, f"{least} records")
        child.kill()
        child.wait()
    child = subprocess.Popen(command)
    try:
        until(
            lambda: json.loads((tmp_path / f"{unique}.main.json").read_text())["feeds"][feed]["number"] == 2, 90, "all"
        )
    finally:
        child.kill()
        child.wait()
    by_position = {change.position: change for change in rig.changes(feed)}
    assert all(by_position[change.position] == change for change in rig.changes(feed))
    assert Counter(change.op for change in by_position.values()) == {
        "r": rows,
        "u": rows - rows // 10,
        "c": 500,
        "d": rows // 10,
    }
    assert len(rig.fold(feed)) == rows - rows // 10 + 500


def test_a_folder_of_files_is_drafted_checked_and_onboarded_as_printed(mesh: RunningMesh, tmp_path: Path) -> None:
    agency = f"{mesh.unique}a"
    drop(tmp_path, "person_20261130.csv", [(number, "王芳", "1.50") for number in range(50)])
    drafted = mesh.done("draft", tmp_path, "--agency", agency, "--into", mesh.folder / agency)
    assert [Path(path).name for path in drafted["written"]] == ["agency.yaml", "person.avsc"]
    variable, _, address = drafted["first"].removeprefix("export ").partition("=")
    mesh.variables[variable] = address
    mesh.done("check", mesh.folder / agency)
    mesh.done("onboard", mesh.folder / agency)

    def last() -> str:
        feeds_told = mesh.run("status", "--json").json["feeds"]
        return next((feed["last"] for feed in feeds_told if feed["feed"] == f"{agency}.person"), "")

    until(lambda: last().startswith("person_20261130.csv UTF-8: 50 rows, at "), 60, "the file in `mesh status`")

    held = mesh.directory / "capture" / f"{agency}.main"
    assert [*held.rglob("rows.sqlite")]
    mesh.done("offboard", "agency", agency, "--yes")
    until(lambda: not held.exists(), 60, "no row stays on the capturing host")
