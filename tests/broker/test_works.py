"""A key work's template, taken by a subscriber of a running mesh: its rows arrive, and the work knows who takes part."""

from __future__ import annotations

from pathlib import Path

from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

TEMPLATE = """\
work: grid
name: 社区网格化
aliases: [网格化管理]
parameters: {{region: the district}}
grants:
  - feed: {feed}
    columns: [id, region]
    row_filter: "region == '<region>'"
    purpose: 社区网格化
    matter_code: "{code}-01"
    legal_basis: 示例依据
"""


def test_a_template_makes_a_subscriber_whose_rows_arrive(mesh: RunningMesh, tmp_path: Path) -> None:
    code, taker = mesh.unique, f"{mesh.unique}_taker"
    feed = f"{code}.resident"
    city = tmp_path / "city"
    (city / "works").mkdir(parents=True)
    (city / "works" / "grid.yaml").write_text(TEMPLATE.format(feed=feed, code=code))
    with database(mesh.database(code)) as table:
        table.execute("CREATE TABLE resident (id int PRIMARY KEY, name text, region text)")
        table.execute("ALTER TABLE resident REPLICA IDENTITY FULL")
        fields = {"id": "int", "name": "string", "region": "string"}
        mesh.done("onboard", mesh.agency(code, {"resident": contract(["id"], fields)}), "--wait", "0")

        def work() -> dict[str, object]:
            [found] = mesh.done("works", "--city", city)["works"]
            return found

        assert (work()["is_active"], work()["waits_for"], work()["subscribers"]) == (False, [feed], [])
        table.execute("INSERT INTO resident SELECT n, 'n' || n, CASE n % 2 WHEN 0 THEN '440106' ELSE '440104' END"
                      " FROM generate_series(1, 20) n")  # fmt: skip
        taken = mesh.run("works", "grid", "--subscriber", taker, "--set", "region=440106", "--into", mesh.folder,
                         "--city", city)  # fmt: skip
        assert taken.status == 0, taken.err
        target = mesh.database(taker)
        assert mesh.run("check", mesh.folder / taker).status == 0
        mesh.done("onboard", mesh.folder / taker)
        expected = [(number, "440106") for number in range(2, 21, 2)]
        until(lambda: rows(target, feed.replace(".", "_")) == expected, 60, "the district's rows, and no name")
    assert (work()["is_active"], work()["subscribers"]) == (True, [taker])
