"""The rounds' stage: a mesh with two departments, on PostgreSQL and MariaDB, and two subscribers, likewise; every server its own.

Departments, subscribers and the broker are reached over links that can be cut or made slow.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from ops.embedded.kafka import EmbeddedKafka
from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from ops.embedded.postgres import ensure_database
from ops.embedded.program import Program, last_lines, launch
from ops.settings import Settings, load
from schemas.feed import CAPTURE
from schemas.log.control.store import ControlReader
from schemas.log.rights.hops import HOPS
from tests.chaos.rounds.columns import COLUMNS, GRANTED, KEY, SPARE, Key, Row, asked, definition, fields, key_of, row_of
from tests.chaos.rounds.workload import TABLES, Workload, connection
from tests.stage.cut_link import CutLink, cut_link
from tests.stage.running_mesh import RunningMesh, contract
from tests.stage.server_host import logins_of
from tests.stage.until import until

KINDS = ("postgres", "mysql")


class LinkedKafka(EmbeddedKafka):
    """A broker that says of itself that it is at the other end of a link: all its clients go there."""

    def __init__(self, directory: Path, link: CutLink) -> None:
        super().__init__(directory, users=HOPS)
        self._link = link

    def prepare(self) -> Program:
        program = super().prepare()
        own = int(self.bootstrap.rpartition(":")[2])
        self._link.server_port = own
        lines = self._config.read_text("utf-8").splitlines()
        told = [
            line.replace(f"MESH://127.0.0.1:{own}", f"MESH://127.0.0.1:{self._link.port}")
            if line.startswith("advertised.listeners=")
            else line
            for line in lines
        ]
        self._config.write_text("\n".join(told) + "\n", "utf-8")
        return program


class Department:
    """One, with its tables and their feeds; and how its rows are read past the mesh."""

    def __init__(self, kind: str, address: str, linked: str) -> None:
        self.kind = kind
        self.agency = f"{kind}_town"
        self.linked = linked
        self.workload = Workload(kind, address)
        self.schema = "public" if kind == "postgres" else urlsplit(address).path[1:]
        self._address = address

    def feed(self, table: str) -> str:
        return f"{self.agency}.{table}"

    def execute(self, *statements: str) -> None:
        with closing(connection(self.kind, self._address)) as opened:
            with closing(opened.cursor()) as cursor:
                for statement in statements:
                    cursor.execute(statement)
            opened.commit()

    def make(self) -> None:
        for table in TABLES:
            self.execute(f"CREATE TABLE {table} {definition(self.kind)}")
            if self.kind == "postgres":
                self.execute(
                    f"ALTER TABLE {table} REPLICA IDENTITY FULL", f"ALTER TABLE {table} ALTER note SET STORAGE EXTERNAL"
                )

    def rows(self, table: str) -> dict[Key, Row]:
        return dict(held(self.kind, self._address, self.workload.names[table]))


class Subscriber:
    """One, with a copy of every feed."""

    def __init__(self, kind: str, address: str, linked: str) -> None:
        self.kind = kind
        self.code = f"{kind}_reader"
        self.address = address
        self.linked = linked

    def rows(self, feed: str) -> list[tuple[Key, Row]]:
        return held(self.kind, self.address, feed.replace(".", "_"))


def held(kind: str, address: str, table: str) -> list[tuple[Key, Row]]:
    """The rows of a table, as the database says them."""
    with closing(connection(kind, address)) as opened, closing(opened.cursor()) as cursor:
        return read_held(kind, cursor, table)


def read_held(kind: str, cursor: Any, table: str) -> list[tuple[Key, Row]]:
    """The same, as a transaction that is open sees them."""
    cursor.execute(asked(kind, table))
    rows = [row_of(found) for found in cursor.fetchall()]
    return [(key_of(row), row) for row in rows]


class Town:
    """All of it, running. `settings` are those of its mesh."""

    def __init__(
        self,
        mesh: RunningMesh,
        kafka: LinkedKafka,
        maria: MariaDb,
        links: Mapping[str, CutLink],
        departments: Mapping[str, Department],
        subscribers: Mapping[str, Subscriber],
    ) -> None:
        self.mesh = mesh
        self.kafka = kafka
        self.maria = maria
        self.links = links
        self.departments = departments
        self.subscribers = subscribers
        self.settings: Settings = load(mesh.directory)

    @property
    def feeds(self) -> list[str]:
        return [each.feed(table) for each in self.departments.values() for table in TABLES]

    def pid(self, name: str) -> int:
        """The process of a hop or of the mesh's PostgreSQL, once there is one."""
        return until(lambda: self.mesh.state(name)["pid"], 60, f"{name} runs")

    def restart_postgres(self, how: signal.Signals) -> None:
        pid = self.pid("postgres")
        os.kill(pid, how)

        def is_back() -> bool:
            if self.mesh.state("postgres")["pid"] in {None, pid}:
                return False
            try:
                psycopg.connect(self.settings.hub_database, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        until(is_back, 60, "PostgreSQL is back")

    def restart_maria(self, *, is_killed: bool) -> None:
        if is_killed:
            os.kill(self.maria.pid or 0, signal.SIGKILL)
        self.maria.stop()
        self.maria.start()

    def restart_broker(self, *, is_killed: bool, away_seconds: float = 0.0) -> None:
        if is_killed and self.kafka.pid:
            os.kill(self.kafka.pid, signal.SIGKILL)
        self.kafka.stop()
        time.sleep(away_seconds)
        self.kafka.start()

    def copied(self) -> bool:
        """Whether each feed's first copy is whole."""
        progress = ControlReader(self.settings.kafka, CAPTURE).all()
        states = {
            feed: table["state"] for record in progress.values() for feed, table in record.get("tables", {}).items()
        }
        return all(states.get(feed) == "live" for feed in self.feeds)

    # ── onboarding ───────────────────────────────────────────────────────────────────────────────────────────────────

    def onboard(self) -> None:
        for kind, each in self.departments.items():
            folder = self.mesh.folder / each.agency
            folder.mkdir()
            source = {"name": "main", "kind": kind, "connection": self._variable(each.agency, each.linked)}
            _write(folder / "agency.yaml", {"agency": each.agency, "name": "测试局", "sources": [source]})
            for table in TABLES:
                _write(folder / f"{table}.avsc", contract(KEY, fields(), table=f"{each.schema}.{table}"))
        for kind, each in self.subscribers.items():
            folder = self.mesh.folder / each.code
            folder.mkdir()
            sink = {"name": "main", "kind": kind, "connection": self._variable(each.code, each.linked)}
            grants = [
                {"feed": feed, "columns": list(GRANTED), "purpose": "核验", "legal_basis": "示例依据"}
                for feed in self.feeds
            ]
            record = {"subscriber": each.code, "name": "测试订阅方", "sinks": [sink], "grants": grants}
            _write(folder / "subscriber.yaml", record)
        self.mesh.done("onboard", self.mesh.folder)

    def give_spare(self, kind: str, table: str) -> None:
        """Add the spare column that was dropped or renamed, and say so in the contract, as a department does."""
        department = self.departments[kind]
        name = department.workload.names[table]
        department.execute(f"ALTER TABLE {name} ADD {SPARE} {next(c for c in COLUMNS if c.name == SPARE).maria}")
        department.workload.has_spare[table] = True
        ran = self.mesh.run("follow", department.feed(table), "--contract")
        assert ran.status == 0, f"{ran.out}\n{ran.err}"
        record = json.loads(ran.out)
        if SPARE not in {field["name"] for field in record["fields"]}:
            wanted = contract(KEY, fields())["fields"]
            record["fields"].append(next(field for field in wanted if field["name"] == SPARE))
        _write(self.mesh.folder / department.agency / f"{table}.avsc", record)
        self.mesh.done("onboard", self.mesh.folder / department.agency)

    def _variable(self, code: str, address: str) -> str:
        name = f"MESH_{code.upper()}_DSN"
        self.mesh.variables[name] = address
        return f"${{{name}}}"


@contextmanager
def town(directory: Path) -> Iterator[Town]:
    """The stage; at the end all of it is gone."""
    with ExitStack() as parts:
        links = {
            name: parts.enter_context(cut_link()) for name in ("broker", *(f"{k} {s}" for k in KINDS for s in "ds"))
        }
        kafka = LinkedKafka(directory / "kafka", links["broker"])
        parts.callback(kafka.stop)
        kafka.start()
        maria = MariaDb(directory / "mariadb", is_durable=True, settings=LOGGING_ROWS)
        parts.callback(maria.stop)
        maria.start()
        program = Program(
            name="up",
            argv=[sys.executable, "-m", "tests.chaos.rounds.mesh_up", str(directory / "mesh")],
            log=directory / "up.log",
            env=logins_of(kafka),
            stop_within_seconds=60,
        )
        up = launch(program)
        parts.callback(up.stop)
        endpoints = directory / "mesh" / "endpoints.json"
        until(lambda: endpoints.exists() or up.ended() is not None, 120, "the mesh is up")
        assert up.ended() is None, last_lines(program.log, 40)
        hub = json.loads(endpoints.read_text())["hub_database"]
        for kind in KINDS:
            port = urlsplit(hub if kind == "postgres" else maria.address()).port or 0
            for side in "ds":
                links[f"{kind} {side}"].server_port = port

        def database(kind: str, side: str) -> tuple[str, str]:
            """Its address, and that over the link."""
            name = f"{side}_side"
            if kind == "postgres":
                ensure_database(hub, name)
                address = urlsplit(hub)._replace(path=f"/{name}").geturl()
            else:
                address = maria.create_database(name)
            port = urlsplit(address).port
            return address, address.replace(f":{port}/", f":{links[f'{kind} {side}'].port}/")

        folder = directory / "folder"
        folder.mkdir()
        mesh = RunningMesh(directory / "mesh", folder, "rounds", lambda _: "")
        made = Town(
            mesh,
            kafka,
            maria,
            links,
            {kind: Department(kind, *database(kind, "d")) for kind in KINDS},
            {kind: Subscriber(kind, *database(kind, "s")) for kind in KINDS},
        )
        for department in made.departments.values():
            department.make()
        made.onboard()
        until(made.copied, 60, "every table is copied")
        yield made


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), "utf-8")
