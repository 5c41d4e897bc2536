"""`mesh demo` that is interrupted: while it starts, while its city lives, by one process or by all of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.up import mesh_command
from tests.broker.test_up import alive
from tests.until import until

LIVES_WITHIN_SECONDS = 600


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


@pytest.mark.timeout(900)
def test_an_interrupt_of_all_processes_at_once_is_a_clean_end_while_the_city_lives(demo: Demo) -> None:
    def lives() -> bool:
        assert demo.process.poll() is None, demo.said()
        return "row changes committed, " in demo.said()

    until(lives, LIVES_WITHIN_SECONDS, "the city lives")
    (up,) = [int(line.split()[0]) for line in alive(demo.directory) if " up --dir " in line]
    os.kill(up, signal.SIGINT)
    demo.process.send_signal(signal.SIGINT)
    demo.ended(130)
