"""The tutorial, line by line as it is printed, but for the names of agency and subscriber and a mesh that runs already."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.stage.running_mesh import RunningMesh

GUIDE = Path(__file__).parents[2] / "ops" / "guide" / "first-record.md"
WORDS_OF_ITS_END = "## When you are done"


def test_a_reader_gets_from_an_empty_directory_to_a_subscribers_first_record(mesh: RunningMesh, tmp_path: Path) -> None:
    text = GUIDE.read_text("utf-8").partition(WORDS_OF_ITS_END)[0]
    own = {"library": f"{mesh.unique}library", "archive": f"{mesh.unique}archive"}
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for word, name in own.items():
        blocks = [re.sub(rf"\b{word}\b", name, block) for block in blocks]
    tour = tmp_path / "tour"
    tour.mkdir()
    (tour / "mesh").symlink_to(mesh.directory)
    script = "set -euo pipefail\n" + "\n".join(blocks)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**kept, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    stood, changed = list(changes(ran.stdout))
    assert (stood["feed"], stood["op"], stood["key"]) == (f"{own['library']}.loan", "r", {"id": 1})
    assert stood["after"] == {"id": 1, "book": "营造法式", "due": "2026-12-31"}
    assert (changed["op"], changed["after"]["due"]) == ("u", "2027-01-31")
    assert "R-7" not in ran.stdout
    assert "R-8" not in ran.stdout


def changes(out: str) -> Iterator[dict[str, Any]]:
    """The lines of JSON among what the commands print."""
    return (json.loads(line) for line in out.splitlines() if line.startswith('{"feed"'))
