"""`mesh up` and `mesh down` from outside: what a killed, repeated or interrupted run leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from psycopg.conninfo import conninfo_to_dict

from schemas.log.kafka import Kafka
from tests.stage.until import until

ROOT = Path(__file__).parent.parent.parent
STARTS_WITHIN_SECONDS = 120


class Up:
    """A `mesh up` as a process of its own, and what it said."""

    def __init__(self, directory: Path, said: Path, env: dict[str, str]) -> None:
        self._directory = directory
        self._said = said
        with said.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.broker.mesh_up", str(directory)],
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if not name.startswith("MESH_")} | env,
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        return self._said.read_text()

    def endpoints(self) -> dict[str, Any]:
        path = self._directory / "endpoints.json"

        def is_written() -> bool:
            assert self.process.poll() is None, self.said()
            # A killed run leaves its file until the next one starts.
            return path.exists() and json.loads(path.read_text())["pid"] == self.process.pid

        until(is_written, STARTS_WITHIN_SECONDS, "endpoints.json")
        return json.loads(path.read_text())


Start = Callable[..., Up]


@pytest.fixture
def start(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Up] = []
    outputs = tmp_path_factory.mktemp("said")

    def start_up(**env: str) -> Up:
        started.append(Up(tmp_path, outputs / f"{len(started)}.txt", env))
        return started[-1]

    yield start_up
    for one in started:
        one.process.kill()
        one.process.wait()


def down(directory: Path) -> str:
    code = "import sys; from pathlib import Path; from ops.host.up import down; sys.exit(down(Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def alive(directory: Path) -> list[str]:
    """Every process that has the directory in its arguments or holds a file of it open, but for ourselves."""
    found = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            line = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            opened = [str(file.readlink()) for file in (proc / "fd").iterdir()]
        except OSError:
            continue
        if str(directory) in line or any(name.startswith(str(directory)) for name in opened):
            found.append(f"{proc.name} {line}")
    return found


def state(directory: Path, name: str) -> dict[str, int]:
    return json.loads((directory / "run" / f"{name}.json").read_text())


def test_second_up_tells_and_down_stops_everything(start: Start, tmp_path: Path):
    first = start()
    known = first.endpoints()
    assert set(known) == {
        "kafka",
        "kafka_login",
        "kafka_sasl",
        "registry",
        "hub_database",
        "console",
        "opendata",
        "pid",
    }
    assert known["pid"] == first.process.pid
    assert (tmp_path / "endpoints.json").stat().st_mode & 0o077 == 0
    with psycopg.connect(known["hub_database"]) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("hub",)

    second = start()
    assert second.process.wait(60) == 0
    said = second.said()
    assert "already" in said
    assert known["kafka"] in said
    assert conninfo_to_dict(known["hub_database"])["password"] not in said

    assert "stopped" in down(tmp_path)
    assert first.process.wait(10) == 0
    assert alive(tmp_path) == []
    assert not (tmp_path / "endpoints.json").exists()
    assert "nothing runs" in down(tmp_path)


def test_sigkill_leaves_no_orphan_and_the_next_up_keeps_topics_and_rows(start: Start, tmp_path: Path):
    first = start()
    known = first.endpoints()
    admin = AdminClient(Kafka.of(known["kafka_login"]).client({}))
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(30)
    del admin
    with psycopg.connect(known["hub_database"]) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
    assert len(alive(tmp_path)) >= 5

    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    until(lambda: alive(tmp_path) == [], 30, "no process of the mesh is left")

    second = start()
    again = second.endpoints()
    topics = AdminClient(Kafka.of(again["kafka_login"]).client({})).list_topics(timeout=30).topics
    assert "kept" in topics
    with psycopg.connect(again["hub_database"]) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (1,)
    assert again["registry"] == known["registry"]
    second.process.send_signal(signal.SIGINT)
    assert second.process.wait(60) == 0
    assert alive(tmp_path) == []


def test_interrupt_during_the_start_stops_what_had_started(start: Start, tmp_path: Path):
    mesh = start()
    until((tmp_path / "kafka" / "server.properties").exists, 60, "Kafka is starting")
    mesh.process.send_signal(signal.SIGTERM)
    assert mesh.process.wait(60) == 130
    until(lambda: alive(tmp_path) == [], 30, "no process of the mesh is left")
    assert not (tmp_path / "endpoints.json").exists()


def test_crashed_process_is_back_at_once_and_one_that_keeps_crashing_is_slowed(start: Start, tmp_path: Path):
    (tmp_path / "fragile").touch()
    mesh = start()
    known = mesh.endpoints()
    until(lambda: known["kafka"] in (tmp_path / "log" / "hop.log").read_text(), 30, "the hop is told where Kafka is")

    pid = state(tmp_path, "hop")["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: state(tmp_path, "hop")["pid"] not in (None, pid), 60, "the hop runs again")
    assert "hop ended with status -9; starting it again" in mesh.said()  # one that is slowed says in how many seconds
    assert state(tmp_path, "hop")["last_exit"] == -signal.SIGKILL

    until(lambda: state(tmp_path, "fragile")["restarts"] >= 3, 60, "some restarts")
    assert "fragile ended with status 3; again in 0.6 s" in mesh.said()
    assert state(tmp_path, "fragile")["last_exit"] == 3
    (tmp_path / "fragile").unlink()
    until(lambda: state(tmp_path, "fragile")["pid"], 30, "it runs once it can")

    database = state(tmp_path, "postgres")["pid"]
    os.kill(database, signal.SIGKILL)

    def logs_in() -> bool:
        try:
            psycopg.connect(known["hub_database"]).close()
        except psycopg.OperationalError:
            return False
        return state(tmp_path, "postgres")["pid"] != database

    until(logs_in, 30, "the database is back at its address")
    mesh.process.send_signal(signal.SIGTERM)
    assert mesh.process.wait(60) == 0
    assert alive(tmp_path) == []


def test_servers_of_yours_are_used_and_left_alone(start: Start, tmp_path: Path, kafka: Kafka, postgres, unique: str):
    dsn = postgres.create_database(unique)
    mesh = start(**kafka.environment(), MESH_DATABASE=dsn)
    known = mesh.endpoints()
    assert (known["kafka"], known["hub_database"], known["kafka_sasl"]) == (kafka.bootstrap, dsn, None)
    assert not (tmp_path / "kafka").exists()
    assert not (tmp_path / "postgres").exists()
    down(tmp_path)
    assert AdminClient(kafka.client({})).list_topics(timeout=30).brokers
    psycopg.connect(dsn).close()


def test_setting_that_leads_nowhere_is_refused_with_its_fix(start: Start, tmp_path: Path):
    mesh = start(MESH_KAFKA="127.0.0.1:1")
    assert mesh.process.wait(60) != 0
    said = mesh.said()
    assert "MESH_KAFKA: nothing answers" in said
    assert "fix:" in said
    assert alive(tmp_path) == []
