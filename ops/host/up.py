"""`mesh up` and `mesh down`: the servers and the mesh's own processes of one directory.

What is in the directory: `endpoints.json` (addresses, once everything answers), `run/` (one state file per process), `log/`, and the
data of the embedded servers. `run/up.lock` is held by the one `mesh up` of the directory for as long as it lives; the kernel
says who that is, so no stale file can mislead.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from rich.console import Console

from ops.embedded.postgres import without_password
from ops.embedded.program import Program, free_ports
from ops.host.private import keep_private, write_private
from ops.host.servers import given_registry, java_properties, lists_subjects, start_database, start_kafka, timed
from ops.host.supervisor import Supervisor
from ops.settings import is_guarded, load, registry_login
from ops.trust.entry import place
from ops.trust.identity import announce
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.kafka import Kafka

_STOPS_WITHIN_SECONDS = 120.0
_FLOCK = "hhqqi"

Processes = Callable[[Path, Mapping[str, int]], Mapping[str, Sequence[str]]]
"""Takes the mesh's directory and the ports of `registry`, `console` and `opendata`; gives name to argument list, in the order of
starting. The process named `registry` must answer `GET /subjects` on its port before the next one starts."""


def mesh_command(*arguments: str) -> list[str]:
    """How to run a command of `mesh` as a child: with this interpreter, and without looking into the current folder."""
    return [sys.executable, "-P", "-m", "ops.cli", *arguments]


def up(directory: Path, processes: Processes, console: Console | None = None) -> int:
    """Start what the mesh of this directory needs and keep it running until Ctrl-C, SIGTERM or `mesh down`.

    `MESH_KAFKA`, `MESH_DATABASE` and `MESH_REGISTRY` name servers to use instead of embedded ones; those are neither started nor
    stopped. Returns the exit status: 0 also when a mesh runs here already. Raises MeshError when something cannot start;
    by then everything that had started is stopped.
    """
    console = console or Console(stderr=True, highlight=False)
    directory = directory.absolute()
    with _opened(directory) as lock:
        keep_private(directory)
        if not _take(lock):
            _say_what_runs(directory, _holder(lock), console)
            return 0
        _clear(directory)
        with _stopping_in_order(Supervisor(directory, lambda line: console.print(line, soft_wrap=True))) as mesh:
            try:
                endpoints = _start_all(directory, processes, mesh.supervisor, console)
                mesh.is_started = True
                write_private(directory / "endpoints.json", json.dumps(endpoints, indent=2))
                write_private(directory / "kafka.properties", java_properties(Kafka.of(endpoints["kafka_login"])))
                _say_where_to_look(directory, console)
                _announce(directory, console)
                console.print(f"up; addresses are in {directory / 'endpoints.json'}; Ctrl-C stops", soft_wrap=True)
                mesh.supervisor.watch(lambda: mesh.is_asked_to_stop)
            except KeyboardInterrupt:
                console.print("interrupted while starting")
            finally:
                mesh.is_stopping = True
                console.print("stopping")
                with suppress(FileNotFoundError):
                    (directory / "endpoints.json").unlink()
        console.print("stopped")
    return 0 if mesh.is_started else 130


def down(directory: Path, console: Console | None = None) -> int:
    """Stop the mesh of this directory and wait until all of it is gone; says so when none runs. Returns the exit status."""
    console = console or Console(stderr=True, highlight=False)
    directory = directory.absolute()
    if not (directory / "run" / "up.lock").exists():
        console.print(f"nothing runs in {directory}", soft_wrap=True)
        return 0
    with _opened(directory) as lock:
        if _take(lock):
            _clear(directory)
            console.print(f"nothing runs in {directory}", soft_wrap=True)
            return 0
        pid = _holder(lock)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOPS_WITHIN_SECONDS
        while not _take(lock):
            if time.monotonic() >= deadline:
                raise Transient(
                    f"{directory}: the mesh (process {pid}) is still stopping after {_STOPS_WITHIN_SECONDS:g} s",
                    fix=f"look into {directory / 'log'}; `kill -9 {pid}` ends all of it at once and loses nothing",
                )
            time.sleep(0.05)
    console.print(f"stopped what ran in {directory}", soft_wrap=True)
    return 0


class _Mesh:
    """One run of `up`: its supervisor, and how far it is. Signals interrupt the start and end the watch."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.is_started = False
        self.is_asked_to_stop = False
        self.is_stopping = False

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_asked_to_stop = True
        if not self.is_started and not self.is_stopping:
            raise KeyboardInterrupt


@contextmanager
def _stopping_in_order(supervisor: Supervisor) -> Iterator[_Mesh]:
    """Signals ask for an end; whatever ends the block, the children stop in reverse order, undisturbed by more signals."""
    mesh = _Mesh(supervisor)
    before = {
        number: signal.signal(number, mesh.on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield mesh
    finally:
        mesh.is_stopping = True
        try:
            supervisor.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _start_all(directory: Path, processes: Processes, supervisor: Supervisor, console: Console) -> dict[str, Any]:
    """Start everything; the addresses, not yet written down: who finds them in the file finds a mesh that answers."""
    served = place()
    served.check("registry, console and open data", is_guarded=is_guarded())
    entered_by, kafka_sasl = start_kafka(directory, supervisor, console)
    kafka = entered_by("")
    database = start_database(directory, supervisor, console)
    registry = given_registry(directory, console)
    ports = {name: _port(directory, name) for name in ("registry", "console", "opendata")}
    is_registry_ours = registry is None
    registry = registry or served.url(ports["registry"])
    addresses = {"MESH_DATABASE": database, "MESH_REGISTRY": registry}
    if kafka_sasl:
        addresses["MESH_KAFKA_SASL"] = kafka_sasl
    wanted = processes(directory, ports)
    for name, argv in wanted.items():
        if name == "registry" and not is_registry_ours:
            continue
        program = Program(
            name=name,
            argv=argv,
            log=directory / "log" / f"{name}.log",
            env={**addresses, **entered_by(name).environment(), "MESH_DIR": str(directory), "PYTHONUNBUFFERED": "1"},
            stop_within_seconds=15,
        )
        with timed(name, console) as ready:
            login = registry_login(directory, registry)
            is_ready = partial(lists_subjects, login) if name == "registry" else None
            running = supervisor.start(program, is_ready)
            ready.append(registry if name == "registry" else f"process {running.pid}")
    return {
        "kafka": kafka.bootstrap,
        "kafka_login": kafka.environment(),
        "kafka_sasl": kafka_sasl,
        "registry": registry,
        "hub_database": database,
        **{name: served.url(ports[name]) if name in wanted else None for name in ("console", "opendata")},
        "pid": os.getpid(),
    }


def _port(directory: Path, name: str) -> int:
    """A port for one of our own: that of the last run where still free, so that an address handed out stays good."""
    known_in = directory / "run" / f"{name}.port"
    known = [int(known_in.read_text())] if known_in.exists() else []
    [port] = free_ports(1, known)
    known_in.write_text(str(port))
    return port


def _announce(directory: Path, console: Console) -> None:
    """Say to other meshes who this one is; whatever stands in the way of that stops nobody's feeds."""
    try:
        console.print(f"identity: {announce(load(directory)).statement.fingerprint}", soft_wrap=True)
    except MeshError as error:
        console.print(f"identity: not announced: {error}", style="yellow", markup=False, soft_wrap=True)


def _say_where_to_look(directory: Path, console: Console) -> None:
    endpoints = json.loads((directory / "endpoints.json").read_text("utf-8"))
    for name in ("console", "opendata"):
        if address := endpoints[name]:
            console.print(f"{name}: {address}")


def _say_what_runs(directory: Path, pid: int | None, console: Console) -> None:
    console.print(f"a mesh runs in {directory} already (process {pid})", soft_wrap=True)
    try:
        endpoints: dict[str, Any] = json.loads((directory / "endpoints.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        console.print("it is still starting")
        return
    for name in ("kafka", "registry", "hub_database", "console", "opendata"):
        if address := endpoints.get(name):
            console.print(f"{name}: {without_password(address)}", soft_wrap=True)
    for file in sorted((directory / "run").glob("*.json")):
        with suppress(FileNotFoundError, ValueError):
            state = json.loads(file.read_text("utf-8"))
            where = f"process {state['pid']}" if state["pid"] else "ended, about to be started again"
            console.print(f"{file.stem}: {where}, {state['restarts']} restarts")


def _clear(directory: Path) -> None:
    """Remove what a killed run left: it says of processes that are gone that they run."""
    (directory / "endpoints.json").unlink(missing_ok=True)
    for file in (directory / "run").glob("*.json"):
        file.unlink(missing_ok=True)


def _opened(directory: Path) -> IO[str]:
    """The directory's lock file, open, not yet locked."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "run").mkdir(mode=0o700, exist_ok=True)
        lock = directory / "run" / "up.lock"
        lock.touch(mode=0o600)
        return lock.open("a+")
    except OSError as error:
        fix = "choose a directory of this user's, or do it as the user whose directory it is"
        raise Misconfigured(str(directory), f"cannot be used ({error.strerror})", fix=fix) from error


def _take(lock: IO[str]) -> bool:
    """Take the directory's lock if it is free. It is a record lock: bound to this process, and not inherited by children."""
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> int | None:
    """The process that holds the lock, by the kernel's word; None when it has just let go."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked)[: struct.calcsize(_FLOCK)])
    return None if kind == fcntl.F_UNLCK else pid
