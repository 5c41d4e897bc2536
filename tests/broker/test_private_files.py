"""What a running mesh writes is for its user alone; and what the mesh delivers by is no subscriber's to join."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

TABLE = contract(["id"], {"id": "int", "note": "string"})
OF_THE_TESTS = {"in-use.lock"}


def open_to_others(directory: Path) -> list[str]:
    """Everything below that anybody but the owner may read, write or enter."""
    found: list[str] = []
    for path in (directory, *directory.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & 0o077 and not stat.S_ISLNK(mode) and path.name not in OF_THE_TESTS:
            found.append(f"{path.relative_to(directory)} {stat.filemode(mode)}")
    return found


def test_nothing_in_a_running_mesh_s_directory_is_open_to_others(mesh: RunningMesh) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 'one')")
    mesh.agency(agency, {"t": TABLE})
    target = mesh.database(code)
    mesh.subscriber(code, {"feed": f"{agency}.t", "columns": ["id", "note"]})
    mesh.done("onboard", mesh.folder)
    until(lambda: rows(target, f"{agency}_t") == [(1, "one")], 60, "the row arrives")
    written = {path.name for path in mesh.directory.iterdir()}
    assert {"connections", "endpoints.json", "log", "run", "streams", "prometheus"} <= written
    assert open_to_others(mesh.directory) == []
