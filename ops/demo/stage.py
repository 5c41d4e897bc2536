"""The demo's stage: the mesh, the departments' databases, and the subscribers' own systems."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ops.city.receiver import Receiver
from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from ops.embedded.postgres import Postgres, ensure_database
from ops.embedded.program import Program, Running, launch
from ops.host.private import keep_private
from ops.host.up import mesh_command
from ops.kinds.sinks import SINKS
from ops.kinds.sources import kind_of
from ops.lint.folder import Folder, SubscriberFolder, variable_of
from ops.settings import Settings, endpoints, load
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured, Transient
from sinks.network import NETWORKS

MARKER = "demo"
"""A file that says: this directory was made by the demo and may be made anew."""

UP_WITHIN_SECONDS = 900.0  # the first start downloads the servers
WATCHED_EVERY_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the demo plays on. `receiver_log` holds the webhook bodies, one a line.

    `dsn_of_subscriber` has the databases that subscribers keep for themselves, not those beside a department's tables.
    """

    settings: Settings
    dsn_of_agency: dict[str, str]
    dsn_of_subscriber: dict[str, str]
    receiver_log: Path


_LATE = {"innodb-flush-log-at-trx-commit": "2", "sync-binlog": "0"}
"""One connection stands here for a department's hundreds of clerks, as in ops/city/department/postgresql/pipeline.py: a commit does
not wait for the disk, and outlives the server all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServers:
    """A MariaDB that two departments have, where the others' databases are on the mesh's PostgreSQL, and subscribers' PostgreSQL."""

    departments: MariaDb
    subscribers: Postgres


def make_room(directory: Path) -> None:
    """Empty the directory if an earlier demo made it. Raises Misconfigured when it holds anything else."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARKER).exists():
            raise Misconfigured(
                str(directory),
                "holds something that no demo made",
                fix="name an empty or new directory with --dir; the demo begins with empty databases",
            )
        if endpoints(directory):
            stop = subprocess.run(mesh_command("down", "--dir", str(directory)), check=False)
            if stop.returncode != 0:
                raise Transient(f"{directory}: an earlier demo still runs", fix=f"mesh down --dir {directory}")
        shutil.rmtree(directory)
    keep_private(directory)
    (directory / MARKER).write_text("Made by `mesh demo`, which may remove all of it.\n")


@contextmanager
def running_mesh(directory: Path, ended: Callable[[], None]) -> Iterator[Settings]:
    """`mesh up` as a child that dies with this process; its lines go to this terminal until it is up.

    `ended` is called, from another thread, once the mesh stops while the block still runs.
    """
    os.environ.setdefault(NETWORKS, "127.0.0.0/8")  # where the receivers of webhooks listen
    program = Program(
        name="up",
        argv=mesh_command("up", "--dir", str(directory)),
        log=directory / "log" / "up.log",
        stop_within_seconds=120,
    )
    mesh = launch(program)
    try:
        _wait_until_up(mesh, directory)
        with _watched(mesh, directory, ended):
            yield load(directory)
    finally:
        mesh.stop()


@contextmanager
def _watched(mesh: Running, directory: Path, ended: Callable[[], None]) -> Iterator[None]:
    """A mesh that stops takes its addresses back first."""
    left = threading.Event()

    def watch() -> None:
        while not left.wait(WATCHED_EVERY_SECONDS):
            if mesh.ended() is not None or not (directory / "endpoints.json").exists():
                ended()
                return

    watching = threading.Thread(target=watch, name="watch-mesh")
    watching.start()
    try:
        yield
    finally:
        left.set()
        watching.join()


def _wait_until_up(mesh: Running, directory: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_SECONDS
    log = mesh.program.log
    told = 0
    while not (directory / "endpoints.json").exists():
        told = _echo(log, told)
        if mesh.ended() is not None:
            raise Transient(f"`mesh up` ended with status {mesh.ended()}", fix=f"its last words are above and in {log}")
        if time.monotonic() > deadline:
            raise Transient(f"`mesh up` was not up within {UP_WITHIN_SECONDS:g} s", fix=f"see {log}")
        time.sleep(0.1)
    _echo(log, told)


def _echo(log: Path, told: int) -> int:
    with log.open("rb") as opened:
        opened.seek(told)
        text = opened.read()
    sys.stderr.write(text.decode("utf-8", "replace"))
    sys.stderr.flush()
    return told + len(text)


@contextmanager
def own_servers(directory: Path) -> Iterator[OwnServers]:
    """The city's servers that are none of the mesh's, each apart: capture of one reads through all that is written there."""
    log = directory / "log"
    log.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stopping:
        departments = MariaDb(
            directory / "departments", log=log / "departments.log", settings={**LOGGING_ROWS, **_LATE}
        )
        departments.start()
        stopping.callback(departments.stop)
        subscribers = Postgres(
            directory / "subscribers", log=log / "subscribers.log", settings={"wal_level": "replica"}
        )
        subscribers.start()
        stopping.callback(subscribers.stop)
        yield OwnServers(departments=departments, subscribers=subscribers)


@contextmanager
def set_up(settings: Settings, folder: Folder, servers: OwnServers) -> Iterator[Stage]:
    """Databases for departments and subscribers, a webhook endpoint, drop folders.

    Their addresses go into the environment variables that the city's files name.
    """
    directory = settings.directory
    hub = urlsplit(settings.hub_database)

    def on_hub(name: str) -> str:
        ensure_database(settings.hub_database, name)
        return hub._replace(path=f"/{name}").geturl()

    made_by = {
        hub.scheme: on_hub,
        urlsplit(servers.departments.address()).scheme: servers.departments.create_database,
    }
    dsns: dict[str, str] = {}
    for agency in folder.agencies:
        code = agency.agency.agency
        if not agency.captured:
            continue
        [kind] = {kind_of(agency.agency, source.name) for source in agency.agency.sources}
        dsns[code] = next(make for scheme, make in made_by.items() if scheme in kind.schemes)(code)
        for connection in agency.connections.values():
            _name(connection, dsns[code])
    secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
    received = directory / "received.jsonl"
    targets: dict[str, str] = {}
    with closing(Receiver(received, secret)) as receiver:
        for subscriber in folder.subscribers:
            for sink in subscriber.subscriber.sinks:
                if lies_beside_source(sink):
                    continue  # a department's own database has been named above
                if SINKS[sink.kind].target == "database":
                    code = subscriber.subscriber.subscriber
                    targets[code] = servers.subscribers.create_database(f"at_{code}")
                    _name(subscriber.connections.get(sink.name, ""), targets[code])
                else:
                    _name_sink(subscriber, sink, directory, receiver.url, secret)
        yield Stage(settings=settings, dsn_of_agency=dsns, dsn_of_subscriber=targets, receiver_log=received)


def _name_sink(folder: SubscriberFolder, sink: SinkConfig, directory: Path, webhook: str, secret: str) -> None:
    connection = folder.connections.get(sink.name, "")
    kind = SINKS[sink.kind]
    if kind.target == "directory":
        drops = (
            directory / "drops" / folder.subscriber.subscriber / sink.name
        )  # one folder each: two sinks may not share one
        drops.mkdir(parents=True, exist_ok=True)
        _name(connection, str(drops))
    elif kind.target == "receiver":
        _name(connection, webhook)
        for needed in kind.secrets:
            _name(folder.connections.get(f"{sink.name}.{needed.name}", ""), secret)


def lies_beside_source(sink: SinkConfig) -> bool:
    """Whether a sink delivers into the database of a department that provides tables too."""
    return SINKS[sink.kind].is_beside_source(sink)


def _name(connection: str, address: str) -> None:
    variable = variable_of(connection)
    if variable:
        os.environ[variable] = address
