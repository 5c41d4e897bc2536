"""`mesh board` on a running mesh, and what it reads there: the rows that stand in a feed now."""

from __future__ import annotations

from ops.proof.feed_rows import feed_rows
from ops.settings import load
from schemas.log.control.follower import read_directory
from tests.stage.running_mesh import RunningMesh, contract, database
from tests.stage.until import until


def test_the_report_stands_beside_the_briefs_and_rows_are_those_of_now(mesh: RunningMesh) -> None:
    code = mesh.unique
    feed = f"{code}.figure"
    dsn = mesh.database(code)
    with database(dsn) as table:
        table.execute("CREATE TABLE figure (id int PRIMARY KEY, name text)")
        table.execute("ALTER TABLE figure REPLICA IDENTITY FULL")
        table.execute("INSERT INTO figure SELECT n, 'n' || n FROM generate_series(1, 20) n")
        mesh.done("onboard", mesh.agency(code, {"figure": contract(["id"], {"id": "int", "name": "string"})}))
        table.execute("UPDATE figure SET name = 'other' WHERE id <= 5")
        table.execute("DELETE FROM figure WHERE id > 18")
    settings, entry = load(mesh.directory), read_directory(mesh.kafka).feeds[feed]
    expected = {number: "other" if number <= 5 else f"n{number}" for number in range(1, 19)}

    def rows() -> dict[int, str]:
        return {row["id"]: row["name"] for row in feed_rows(settings, [entry])[feed]}

    until(lambda: rows() == expected, 60, "the rows of now")

    report = mesh.done("board")
    assert [line["code"] for line in report["disagreements"] if line["brief"]["is_red"]] == [
        f"N{number}" for number in range(1, 12)
    ]
    assert all(line["is_found_again"] for line in report["figures"])
    shown = mesh.run("board")
    assert shown.status == 0, shown.err
    for words in ("9,642 / 67,704", "16.13", "1,198,973,196 unaccounted for", "RED", "nothing to count yet"):
        assert words in shown.out, words
