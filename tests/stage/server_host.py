"""Holds one embedded server for a whole test run: `python -m tests.stage.server_host KIND DIRECTORY`.

Every process of the run (pytest, and each of its workers) holds a shared lock on `DIRECTORY/users.lock` from its start to its end,
however it ends. The host waits for the exclusive lock, which the kernel grants once the last of them is gone; then it
stops its server and removes the directory. So a killed test run leaves nothing behind either.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from ops.embedded.postgres import Postgres, ensure_database
from ops.embedded.program import Program, last_lines, launch
from ops.host.up import mesh_command
from schemas.log.rights.hops import HOPS

ROOT = Path(__file__).parents[2]
_STARTS_WITHIN_SECONDS = 240
_JAVA_OPTIONS = "JDK_JAVA_OPTIONS"


def make_java_brief() -> None:
    """Let the Java that tests start compile quickly, not well: most of it lives for seconds. The run's own broker does not."""
    os.environ[_JAVA_OPTIONS] = "-XX:TieredStopAtLevel=1"


def address(kind: str, directory: Path) -> str:
    """The address of the run's server of that kind, started by whoever asks first."""
    with (directory / f"{kind}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = directory / f"{kind}.json"
        log = directory / f"{kind}-host.log"
        if not answer.exists():
            with log.open("ab") as output:
                host = subprocess.Popen(
                    [sys.executable, "-m", "tests.stage.server_host", kind, str(directory)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
            while not answer.exists():
                if host.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{kind} did not start:\n{log.read_text()}")
                time.sleep(0.05)
            host.returncode = 0  # it outlives us on purpose: no warning when this handle goes
        return json.loads(answer.read_text())["address"]


def hold(kind: str, directory: Path) -> None:
    starts: dict[str, Callable[[Path], tuple[str, Callable[[], None]]]] = {
        "kafka": _kafka,
        "far-kafka": _kafka,
        "postgres": _postgres,
        "mariadb": _mariadb,
        "weed": _weed,
        "mesh": _mesh,
        "far-mesh": _far_mesh,
    }
    start = starts[kind]
    found, stop = start(directory / kind)
    written = directory / f"{kind}.tmp"
    written.write_text(json.dumps({"address": found, "pid": os.getpid()}))
    written.replace(directory / f"{kind}.json")
    with (directory / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        stop()
        # The last host to stop takes the directory along.
        (directory / f"{kind}.json").unlink()
        if not list(directory.glob("*.json")):
            shutil.rmtree(directory, ignore_errors=True)


def _kafka(directory: Path) -> tuple[str, Callable[[], None]]:
    os.environ.pop(_JAVA_OPTIONS, None)
    kafka = EmbeddedKafka(directory, users=HOPS)
    kafka.start()
    return json.dumps(logins_of(kafka)), kafka.stop


def logins_of(kafka: EmbeddedKafka) -> dict[str, str]:
    """The settings by which a mesh enters a broker that was made with the hops as users, each hop as its own."""
    hops: dict[str, str] = {}
    for hop in HOPS:
        login = kafka.entered_by(hop)
        hops |= {f"MESH_KAFKA_USER_{hop.upper()}": hop, f"MESH_KAFKA_PASSWORD_{hop.upper()}": login.password}
    return {**kafka.entered_by().environment(), **hops, "MESH_KAFKA_SASL": kafka.bootstrap_sasl}


def _postgres(directory: Path) -> tuple[str, Callable[[], None]]:
    postgres = Postgres(directory, is_durable=False)
    postgres.start()
    return postgres.dsn("postgres"), postgres.stop


def _mariadb(directory: Path) -> tuple[str, Callable[[], None]]:
    mariadb = MariaDb(directory, is_durable=False, settings=LOGGING_ROWS)
    mariadb.start()
    return mariadb.address(), mariadb.stop


def _weed(directory: Path) -> tuple[str, Callable[[], None]]:
    from tests.stage import weed  # noqa: PLC0415 -- the other servers need none of it

    found, stop = weed.start(directory)
    return found.to_json(), stop


def _far_mesh(directory: Path) -> tuple[str, Callable[[], None]]:
    """A second mesh, on the second broker: what a district's or the province's is to the city's."""
    return _mesh(directory, "far-kafka", "far_hub")


def _mesh(directory: Path, broker: str = "kafka", hub: str = "hub") -> tuple[str, Callable[[], None]]:
    """`mesh up` on the run's own servers. At the end it is killed: its servers may be gone before it."""
    kafka = json.loads(address(broker, directory.parent))
    postgres = address("postgres", directory.parent)
    ensure_database(postgres, hub)
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        del os.environ[name]
    program = Program(
        name="up",
        argv=mesh_command("up", "--dir", str(directory)),
        log=directory / "log" / "up.log",
        env={
            **kafka,
            "MESH_DATABASE": urlsplit(postgres)._replace(path=f"/{hub}").geturl(),
            "MESH_WEBHOOK_NETWORKS": "127.0.0.0/8",
        },
    )
    mesh = launch(program)
    while not (directory / "endpoints.json").exists():
        if mesh.ended() is not None:
            raise AssertionError(f"`mesh up` ended:\n{last_lines(program.log, 40)}")
        time.sleep(0.05)
    return str(directory), mesh.kill


if __name__ == "__main__":
    # A Ctrl-C at the terminal is for pytest; this host ends when pytest has.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hold(sys.argv[1], Path(sys.argv[2]))
