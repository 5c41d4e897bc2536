"""A console beside a running mesh, as a process of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stage.running_mesh import RunningMesh


@contextmanager
def console(mesh: RunningMesh) -> Iterator[str]:
    """The address of a console that answers."""
    with mesh.started("run", "console", "--name", f"console-{mesh.unique}") as process:
        assert process.stderr is not None
        said = b""
        while not (found := re.search(rb"console: (http\S+)", said)):
            line = process.stderr.readline()
            assert line, f"the console ended: {said.decode()}"
            said += line
        yield found[1].decode()
        process.terminate()
        assert process.wait(20) == 0, process.stderr.read()
