"""`mesh demo` that is interrupted: while it starts, and by a signal that its mesh hears as well."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.demo.interruption import Interrupted, Interruption, raise_unless_interrupted
from ops.demo.stage import running_mesh
from ops.host.up import mesh_command
from tests.broker.test_up import alive
from tests.stage.until import until


class Demo:
    """A running demo, and what it said."""

    def __init__(self, directory: Path, said: Path) -> None:
        self.directory = directory
        self._said = said
        env = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        with said.open("wb") as output:
            line = mesh_command("demo", "--dir", str(directory), "--rate", "20")
            self.process = subprocess.Popen(line, env=env, stdout=output, stderr=output)

    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def ended(self, status: int) -> None:
        """It ends in words, with this status, and leaves no process behind."""
        assert self.process.wait(150) == status, self.said()
        said = self.said()
        assert "Traceback" not in said
        assert "broke" not in said
        assert "interrupted: nothing is compared" in said
        until(lambda: alive(self.directory) == [], 30, "no process is left")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo", tmp_path / "said.txt")
    yield demo
    demo.process.kill()
    demo.process.wait()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_during_the_start_is_a_clean_end(demo: Demo, number: signal.Signals, status: int) -> None:
    until((demo.directory / "kafka" / "server.properties").exists, 120, "Kafka is starting")
    demo.process.send_signal(number)
    demo.process.send_signal(number)  # whoever is impatient gets the same end
    demo.ended(status)


def test_a_mesh_that_hears_the_same_interrupt_is_waited_for_no_more(tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    with Interruption(print).heard() as interruption:
        with running_mesh(demo, interruption.mesh_ended), interruption.living():
            (up,) = [int(line.split()[0]) for line in alive(demo) if " up --dir " in line]
            os.kill(up, signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # the city rests; then its mesh is found to be gone
            with pytest.raises(Interrupted) as ended:
                until(lambda: False, 120, "the end of the mesh ends whatever waits for it")
        raise_unless_interrupted(interruption, ended.value, demo)
    assert interruption.status == 130
    assert alive(demo) == []
