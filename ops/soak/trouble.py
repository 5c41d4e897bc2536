"""Trouble: what happens to the mesh during a soak, when, and how it ends.

A trouble is a generator: what it yields is how many seconds pass until its next step, and when it is closed, it puts right what it
broke.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from psycopg import sql

from ops.demo.stage import OwnServers
from ops.embedded.database import EmbeddedDatabase
from ops.host.up import mesh_command
from ops.settings import Settings
from ops.soak.tables import FEEDS, Tables
from ops.watch.incidents import read as read_incidents
from schemas.errors import Transient

Steps = Iterator[float]
AGAIN_SECONDS = 1.0
COMMAND_WITHIN_SECONDS = 120
BEGINS, ENDS = 0.05, 0.6
"""Troubles begin within this part of the time, so that the longest is over before the end."""

OUTAGE, DEAD, REVOKED = 1 / 20, 1 / 3, 1 / 20
"""Of the whole time: in an hour three minutes without a broker, a subscriber dead for twenty, a grant revoked for three."""

_COMMAND = re.compile(r"`mesh ([^`<]+)`")


@dataclass(slots=True)
class _Under:
    name: str
    due: float
    steps: Steps


class Troubles:
    """All troubles of one soak, drawn from its seed. `advance` is called again and again by one thread."""

    def __init__(
        self,
        settings: Settings,
        servers: OwnServers,
        tables: Tables,
        *,
        seed: int,
        seconds: float,
        grants: list[str],
        databases: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._servers = servers
        self._tables = tables
        self._seconds = seconds
        self._say = say
        rng = Random(seed)  # noqa: S311 - reproducible on purpose, guards nothing
        dead = rng.choice(databases)
        grant_id = rng.choice([grant_id for grant_id in grants if not dead.endswith(f"_{grant_id.partition('.')[0]}")])
        kinds: dict[str, Callable[[], Steps]] = {
            "broker stopped": self._broker_stopped,
            "broker killed": self._broker_killed,
            "departments' server restarted": self._departments_restarted,
            "departments' MariaDB restarted": lambda: self._restarted("departments' MariaDB", servers.departments),
            "subscribers' server restarted": lambda: self._restarted("subscribers' server", servers.subscribers),
            f"subscriber {dead} dead": lambda: self._subscriber_dead(dead),
            "table renamed and followed": self._renamed,
            "table rewritten": self._rewritten,
            "table vacuumed full": self._vacuumed,
            f"grant {grant_id} revoked and given again": lambda: self._revoked(grant_id),
        }
        self.done: list[dict[str, Any]] = []
        self._waiting = [_Under(name, rng.uniform(BEGINS, ENDS) * seconds, steps()) for name, steps in kinds.items()]

    @property
    def is_over(self) -> bool:
        """Whether every trouble has come and gone."""
        return not self._waiting

    @property
    def unfinished(self) -> list[str]:
        """The names of those that did not end."""
        return [trouble.name for trouble in self._waiting]

    def plan(self) -> list[str]:
        """What will happen when, in words."""
        return [f"{each.due:6.0f} s  {each.name}" for each in sorted(self._waiting, key=lambda each: each.due)]

    def advance(self, elapsed: float) -> None:
        """Take every step that is due."""
        for trouble in [trouble for trouble in self._waiting if trouble.due <= elapsed]:
            try:
                pause = next(trouble.steps)
            except StopIteration:
                self._waiting.remove(trouble)
                self.done.append({"trouble": trouble.name, "over_after_seconds": round(elapsed)})
                self._say(f"{elapsed:6.0f} s  over: {trouble.name}")
            else:
                trouble.due = elapsed + pause

    def close(self) -> None:
        """Put right what is still broken."""
        for trouble in self._waiting:
            trouble.steps.close()  # pyright: ignore[reportAttributeAccessIssue] - every Steps here is a generator

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _broker_stopped(self) -> Steps:
        self._say("the broker is stopped (SIGSTOP)")
        pid = self._pid("kafka")
        os.kill(pid, signal.SIGSTOP)
        try:
            yield self._seconds * OUTAGE
        finally:
            os.kill(pid, signal.SIGCONT)

    def _broker_killed(self) -> Steps:
        while True:
            pid = self._pid("kafka")
            if "T" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                break
            yield AGAIN_SECONDS  # it is stopped: killed now it would not be a second trouble
        self._say("the broker is killed (SIGKILL)")
        os.kill(pid, signal.SIGKILL)
        yield from self._until(lambda: self._pid("kafka") != pid)

    def _departments_restarted(self) -> Steps:
        self._say("the departments' server restarts under the city's hands")
        pid = self._pid("postgres")
        os.kill(pid, signal.SIGINT)

        def is_back() -> bool:
            if self._pid("postgres") == pid:
                return False
            psycopg.connect(self._settings.hub_database, connect_timeout=2).close()
            return True

        yield from self._until(is_back)

    def _restarted(self, called: str, server: EmbeddedDatabase) -> Steps:
        self._say(f"the {called} restarts")
        server.stop()
        try:
            yield 2 * AGAIN_SECONDS
        finally:
            server.start()

    def _subscriber_dead(self, name: str) -> Steps:
        self._say(f"subscriber {name} is dead for {self._seconds * DEAD:.0f} s")
        yield from self._until(lambda: self._allow_connections(name, is_allowed=False))
        yield self._seconds * DEAD
        yield from self._until(lambda: self._allow_connections(name, is_allowed=True))

    def _renamed(self) -> Steps:
        self._say("a table is renamed")
        yield from self._until(lambda: self._tables.rename() is None)
        yield from self._until(self.obey)

    def _rewritten(self) -> Steps:
        self._say("a table is rewritten: ALTER COLUMN TYPE USING")
        yield from self._until(lambda: self._tables.rewrite() is None)

    def _vacuumed(self) -> Steps:
        self._say("a table is rewritten: VACUUM FULL")
        yield from self._until(lambda: self._tables.vacuum() is None)

    def _revoked(self, grant_id: str) -> Steps:
        self._say(f"grant {grant_id} is revoked for {self._seconds * REVOKED:.0f} s")
        yield from self._until(lambda: self._mesh("grant", grant_id, "REVOKED"))
        yield self._seconds * REVOKED
        yield from self._until(lambda: self._mesh("grant", grant_id, "ACTIVE"))

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def obey(self) -> bool:
        """Do what an incident of the soak's own feeds says is to be done; whether there was one that says so."""
        names = {*FEEDS, FEEDS[0].partition(".")[0] + ".main"}
        for incident in read_incidents(self._settings.kafka, within_seconds=5).values():
            found = _COMMAND.search(incident.fix)
            if incident.name in names and incident.is_standstill and found is not None:
                self._say(f"{incident.kind} {incident.name}: {incident.reason}; as told: mesh {found[1]}")
                return self._mesh(*shlex.split(found[1]))
        return False

    def _until(self, act: Callable[[], bool]) -> Steps:
        """Try until it works: whatever it needs may be in trouble as well."""
        told = ""
        while True:
            try:
                if act():
                    return
            except (psycopg.Error, Transient, OSError, subprocess.TimeoutExpired) as error:
                if (kind := type(error).__name__) != told:
                    told = kind
                    self._say(f"tried again until it works: {kind}")
            yield AGAIN_SECONDS

    def _mesh(self, command: str, *arguments: str) -> bool:
        line = mesh_command(command, *arguments, "--dir", str(self._settings.directory))
        ended = subprocess.run(line, capture_output=True, check=False, timeout=COMMAND_WITHIN_SECONDS)
        return ended.returncode == 0

    def _allow_connections(self, name: str, *, is_allowed: bool) -> bool:
        allow = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.Literal(is_allowed))
        with psycopg.connect(
            self._servers.subscribers.dsn("postgres"), autocommit=True, connect_timeout=2
        ) as connection:
            connection.execute(allow)
            if not is_allowed:
                end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
                connection.execute(end, (name,))
        return True

    def _pid(self, name: str) -> int:
        """The process of a server of the mesh. Raises Transient while it has none."""
        pid = json.loads((self._settings.directory / "run" / f"{name}.json").read_text())["pid"]
        if pid is None:
            raise Transient(f"{name} does not run at this moment")
        return pid
