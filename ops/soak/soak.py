"""`mesh soak`: the example city for hours with trouble on the way, and at its end nothing lost, nothing stuck, nothing left.

Everything scales with the time: what lasts three minutes in an hour lasts eighteen seconds in a tenth of one.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from ops.city.beside import beside
from ops.city.city import GUANGZHOU
from ops.city.people.life import Life
from ops.demo.demo import DRAIN_WITHIN_SECONDS, PARTITIONS, Play
from ops.demo.interruption import Interrupted, Interruption, raise_unless_interrupted
from ops.demo.stage import OwnServers, Stage, lies_beside_source, make_room, own_servers, running_mesh, set_up
from ops.embedded.postgres import ensure_database
from ops.kinds.sinks import SINKS
from ops.lint.folder import load as load_folder
from ops.onboarding.onboard import onboard
from ops.proof.verify import compare_until_exact
from ops.run.flow_worker import BY_DATES, CLOCK, TASKS
from ops.settings import DELIVERY_TIMEOUT, Settings
from ops.soak.memory import Memory
from ops.soak.tables import AGENCY, SUBSCRIBER, Tables
from ops.soak.trouble import OUTAGE, Troubles
from ops.watch.entity_health import entities
from ops.watch.flow_backlog import Backlog
from ops.watch.lag import LagReader
from ops.watch.status import status
from schemas.errors import MeshError, Transient
from schemas.log.control.follower import read_directory

TICK_SECONDS = 0.5
SAY_SECONDS = 10.0
SAMPLES = 200
QUIET_WITHIN_SECONDS = 300.0
SLOT_BYTES_MAX = 64 << 20
DELIVERY_TIMEOUT_SECONDS = 120.0
_SLOTS = (
    "SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint FROM pg_replication_slots"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What came of it. `left` is what was still unwell in the end, by name and in words."""

    hours: float
    seed: int
    rate: float
    committed: int
    unequal: Mapping[str, Any]
    compared: int
    memory: Mapping[str, Mapping[str, Any]]
    slots: Mapping[str, int]
    left: tuple[str, ...]
    troubles: tuple[Mapping[str, Any], ...]
    restarts: Mapping[str, int]

    @property
    def complaints(self) -> list[str]:
        """What is not as it should be; empty when all is."""
        found = [f"{name} is not equal: {counts}" for name, counts in self.unequal.items()]
        found += [f"memory of {name} grows: {each}" for name, each in self.memory.items() if not each["is_flat"]]
        found += [f"slot {name} keeps {size:,} bytes" for name, size in self.slots.items() if size > SLOT_BYTES_MAX]
        return [*found, *(f"left: {each}" for each in self.left)] + ([] if self.compared else ["nothing was compared"])

    def to_json(self) -> dict[str, Any]:
        """What `--report` writes."""
        return {**asdict(self), "is_ok": not self.complaints, "complaints": self.complaints}


def soak(directory: Path, *, hours: float, rate: float, seed: int, report: Path | None) -> int:
    """Soak. Returns 0 only if at the end everything is equal, flat, empty and quiet."""
    console = Console(stderr=True, highlight=False)
    directory = directory.absolute()
    make_room(directory)
    os.environ[TASKS] = str(PARTITIONS)
    os.environ[CLOCK] = BY_DATES
    # The broker is to be away for longer than a record may wait for it, also in a short soak.
    timeout = min(DELIVERY_TIMEOUT_SECONDS, max(5.0, hours * 3600 * OUTAGE * 0.6))
    os.environ[DELIVERY_TIMEOUT] = f"{timeout:.0f}"
    with Interruption(console.print).heard() as interruption:
        try:
            with (
                own_servers(directory) as servers,
                running_mesh(directory, interruption.mesh_ended) as settings,
                set_up(settings, load_folder(GUANGZHOU), servers) as stage,
            ):
                try:
                    soaked = _Soak(stage, servers, console, hours=hours, rate=rate, seed=seed).run(interruption)
                finally:
                    interruption.stopping()
        except (Interrupted, MeshError) as error:
            raise_unless_interrupted(interruption, error, directory)
            console.print(f"interrupted: nothing is compared; logs and data stay in {directory}", soft_wrap=True)
            return interruption.status
    if report:
        report.write_text(json.dumps(soaked.to_json(), ensure_ascii=False, indent=2) + "\n")
    for complaint in soaked.complaints:
        console.print(complaint, style="red", soft_wrap=True, markup=False)
    if soaked.complaints:
        console.print(f"NOT OK; logs and data stay in {directory}", soft_wrap=True)
        return 1
    console.print(f"ok: {soaked.committed:,} row changes, {soaked.compared} subscriptions equal, all quiet")
    shutil.rmtree(directory)
    return 0


class _Soak:
    def __init__(
        self, stage: Stage, servers: OwnServers, console: Console, *, hours: float, rate: float, seed: int
    ) -> None:
        self._stage = stage
        self._servers = servers
        self._console = console
        self._hours = hours
        self._seconds = hours * 3600
        self._rate = rate
        self._seed = seed
        self._settings: Settings = stage.settings
        self._play = Play(stage, console, seed=seed, rate=rate, kills=0)
        self._memory = Memory(self._settings.directory)

    def run(self, interruption: Interruption) -> Soaked:
        """Prepare, soak, let it become quiet, and judge."""
        self._play.prepare()
        with closing(self._join_tables()) as tables:
            troubles, committed = self._soak(tables, interruption)
        self._say("the city rests; waiting until everything has arrived and nothing is unwell")
        left = self._become_quiet(troubles)
        verified = compare_until_exact(
            self._settings,
            within_seconds=DRAIN_WITHIN_SECONDS,
            receiver_log=self._stage.receiver_log,
            say=self._say,
        )
        verified.render()
        found = {name: entry for name, entry in verified.comparisons.items() if entry is not None}
        report = status(self._settings, read_directory(self._settings.kafka))
        return Soaked(
            hours=self._hours,
            seed=self._seed,
            rate=self._rate,
            committed=committed,
            unequal={name: entry.to_json() for name, entry in found.items() if not entry.is_exact},
            compared=len(found),
            memory=self._memory.figures(),
            slots=self._slots(),
            left=(*left, *(f"trouble that did not end: {name}" for name in troubles.unfinished)),
            troubles=tuple(troubles.done),
            restarts={process.process: process.restarts for process in report.processes},
        )

    def _join_tables(self) -> Tables:
        """Onboard the soak's own department and its subscriber."""
        hub = self._settings.hub_database
        ensure_database(hub, AGENCY)
        source = f"{hub.rpartition('/')[0]}/{AGENCY}"
        tables = Tables(source, self._servers.subscribers.create_database(f"at_{SUBSCRIBER}"), self._seed)
        tables.create()
        folder = tables.folder(self._settings.directory / "soak")
        outcome = onboard(folder, self._settings, wait_seconds=60, say=self._say, partitions=PARTITIONS)
        if not outcome.is_ok:
            outcome.render()
            raise Transient("the soak's own department does not pass the check", fix="see above")
        return tables

    def _soak(self, tables: Tables, interruption: Interruption) -> tuple[Troubles, int]:
        life = Life(self._play.city, self._stage.dsn_of_agency, self._rate)
        troubles = self._troubles(tables)
        for line in troubles.plan():
            self._say(line)
        started = time.monotonic()
        said = sampled = 0.0
        try:
            with beside(life.run, "life") as check, interruption.living():
                # What does not end in twice the time is named among what is left, and the rest is compared all the same.
                while (elapsed := time.monotonic() - started) < self._seconds * (1 if troubles.is_over else 2):
                    if interruption.is_asked_to_rest:
                        raise Interrupted
                    check()
                    troubles.advance(elapsed)
                    tables.write()
                    if elapsed - sampled >= self._seconds / SAMPLES:
                        sampled = elapsed
                        self._memory.sample(elapsed)
                    if elapsed - said >= SAY_SECONDS:
                        said = elapsed
                        self._play.counts.read()
                        self._say(f"{elapsed:6.0f} s of {self._seconds:.0f}  {self._play.counts.headline(life.total)}")
                    time.sleep(TICK_SECONDS)
        finally:
            troubles.close()
        return troubles, life.total

    def _troubles(self, tables: Tables) -> Troubles:
        directory = read_directory(self._settings.kafka)
        codes = sorted(
            code
            for code, subscriber in directory.subscribers.items()
            if code != SUBSCRIBER
            and any(SINKS[sink.kind].target == "database" and not lies_beside_source(sink) for sink in subscriber.sinks)
        )
        grants = sorted(name for name, entry in directory.grants.items() if entry.grant.subscriber in codes)
        return Troubles(
            self._settings,
            self._servers,
            tables,
            seed=self._seed,
            seconds=self._seconds,
            grants=grants,
            databases=[f"at_{code}" for code in codes],
            say=self._say,
        )

    def _become_quiet(self, troubles: Troubles) -> list[str]:
        """Wait until nothing is unwell and no incident is left, for as long as the flows catch up; what is left in the end."""
        directory = read_directory(self._settings.kafka)
        with closing(LagReader(self._settings.kafka)) as lags:
            return self._left(troubles, Backlog(lags, directory))

    def _left(self, troubles: Troubles, backlog: Backlog) -> list[str]:
        at_most = time.monotonic() + max(QUIET_WITHIN_SECONDS, self._seconds)
        deadline = time.monotonic() + QUIET_WITHIN_SECONDS
        while True:
            backlog.look()
            if backlog.records and backlog.has_moved:
                deadline = min(at_most, time.monotonic() + QUIET_WITHIN_SECONDS)
            report = status(self._settings, read_directory(self._settings.kafka))
            left = [line for entity in entities(report) if not entity.is_well for line in entity.lines()]
            left += [
                f"incident of {each.kind} {each.name}: {each.state} {each.reason}"
                for each in report.incidents
                if each.state != "notice"  # it stays for an hour, to be read
            ]
            if not left or time.monotonic() >= deadline:
                return left
            troubles.obey()
            time.sleep(SAY_SECONDS / 2)

    def _slots(self) -> dict[str, int]:
        """How many bytes of log each slot of the departments' server is behind."""
        with psycopg.connect(self._settings.hub_database, autocommit=True) as connection:
            found = dict(connection.execute(_SLOTS).fetchall())
        return {name: int(size or 0) for name, size in found.items()}

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)
