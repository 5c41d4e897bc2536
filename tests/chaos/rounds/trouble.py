"""What happens to the mesh in a round. A trouble is a generator: up to its `yield` it begins, then it puts right what it broke.

Whatever is drawn is drawn before anything happens, so that a seed draws the same again.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from tests.chaos.rounds.columns import SPARE
from tests.chaos.rounds.town import KINDS, Town
from tests.chaos.rounds.workload import TABLES, Workload

Trouble = Callable[[Town, Random, int], Iterator[None]]
"""Of a town, by chance, in a round of so many transactions."""

HOPS = ("capture", "streams", "delivery")
FILE_BYTES_MAX = 4096
SESSION_SECONDS = 9.0
"""Longer than a member of a group may be silent."""


def hops_killed(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """SIGKILL of hops, one to three, at different moments."""
    killed = [
        (chance.choice((*HOPS, *HOPS, "registry")), chance.uniform(0.0, 0.6)) for _ in range(chance.randint(1, 3))
    ]
    for hop, pause_seconds in killed:
        time.sleep(pause_seconds)
        with suppress(ProcessLookupError):
            os.kill(town.pid(hop), signal.SIGKILL)
    yield


def hop_stopped(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """SIGSTOP of a hop, now and then past its session, then SIGCONT."""
    hop, seconds = chance.choice(HOPS), chance.choice((0.5, 1.5, 3.0, SESSION_SECONDS))
    pid = town.pid(hop)
    yield from _stopped(pid, seconds)


def _stopped(pid: int, seconds: float) -> Iterator[None]:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(seconds)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def broker_stopped(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """SIGSTOP of the broker, then SIGCONT."""
    seconds = chance.uniform(0.5, 6.0)
    yield from _stopped(town.kafka.pid or 0, seconds)


def links_cut(side: str, town: Town, chance: Random, _size: int) -> Iterator[None]:
    """Both departments', or both subscribers', connections break off, at once or in the middle of something; then again."""
    for kind in KINDS:
        link, at_bytes = town.links[f"{kind} {side}"], chance.choice((0, 0, 500, 20_000))
        link.cut_after(at_bytes) if at_bytes else link.cut()
    seconds = chance.uniform(0.1, 2.0)
    try:
        yield
        time.sleep(seconds)
    finally:
        for kind in KINDS:
            town.links[f"{kind} {side}"].mend()


def broker_cut(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """Every connection to the broker breaks off, and none is taken for a while."""
    link, at_bytes, seconds = town.links["broker"], chance.choice((0, 3_000, 100_000)), chance.uniform(0.2, 3.0)
    link.cut_after(at_bytes) if at_bytes else link.cut()
    try:
        yield
        time.sleep(seconds)
    finally:
        link.mend()


def broker_slow(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """Everything that is said to the broker, and that it says, is late."""
    link = town.links["broker"]
    link.delay_seconds = chance.choice((0.005, 0.03, 0.1))
    try:
        yield
    finally:
        link.delay_seconds = 0.0


def broker_restarted(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """Stopped in order, or killed; away for a while; started again."""
    is_killed, seconds = chance.random() < 0.6, chance.choice((0.0, 0.0, 3.0))
    yield
    town.restart_broker(is_killed=is_killed, away_seconds=seconds)


def broker_disk_full(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """No file of the broker may grow (RLIMIT_FSIZE): it fails its log and ends. There is room again, and it is started."""
    seconds = chance.uniform(0.0, 2.0)
    pid = town.kafka.pid or 0
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
    yield
    time.sleep(seconds)
    town.restart_broker(is_killed=True)


def postgres_restarted(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """The server of the department, of a subscriber and of the mesh itself: a fast stop, a crash, or a kill."""
    how = chance.choice((signal.SIGINT, signal.SIGQUIT, signal.SIGKILL))
    yield
    town.restart_postgres(how)


def maria_restarted(town: Town, chance: Random, _size: int) -> Iterator[None]:
    """Likewise MariaDB's."""
    is_killed = chance.random() < 0.5
    yield
    town.restart_maria(is_killed=is_killed)


# ── tables that change ───────────────────────────────────────────────────────────────────────────────────────────────


def altered(kind: str, town: Town, chance: Random, size: int) -> Iterator[None]:
    """A department alters a table between two of its transactions."""
    table, how = (
        chance.choice(TABLES),
        chance.choice((_added, _spare_dropped, _spare_renamed, _there_and_back, _renamed)),
    )
    first = chance.randrange(size // 4, size // 2)
    how(town, kind, table, first, chance.randrange(first + 1, size))
    yield


def _statement(town: Town, kind: str, table: str, text: str) -> Callable[[Any], None]:
    load = town.departments[kind].workload
    return lambda cursor: cursor.execute(text.format(table=load.names[table]))


def _added(town: Town, kind: str, table: str, first: int, last: int) -> None:
    """A column that no contract has, filled by its default, and dropped again."""
    load = town.departments[kind].workload
    load.at(first, _statement(town, kind, table, "ALTER TABLE {table} ADD extra int DEFAULT 7"))
    load.at(last, _statement(town, kind, table, "ALTER TABLE {table} DROP COLUMN extra"))


def _spare_dropped(town: Town, kind: str, table: str, first: int, _last: int) -> None:
    _without_spare(town, kind, table, first, f"ALTER TABLE {{table}} DROP COLUMN {SPARE}")


def _spare_renamed(town: Town, kind: str, table: str, first: int, last: int) -> None:
    new = f"{SPARE}_former"
    _without_spare(town, kind, table, first, f"ALTER TABLE {{table}} RENAME COLUMN {SPARE} TO {new}")
    town.departments[kind].workload.at(last, _statement(town, kind, table, f"ALTER TABLE {{table}} DROP COLUMN {new}"))


def _without_spare(town: Town, kind: str, table: str, number: int, statement: str) -> None:
    load = town.departments[kind].workload
    if not load.has_spare[table]:
        town.give_spare(kind, table)

    def act(cursor: Any) -> None:
        _statement(town, kind, table, statement)(cursor)
        load.has_spare[table] = False

    load.at(number, act)


def _there_and_back(town: Town, kind: str, table: str, first: int, last: int) -> None:
    load = town.departments[kind].workload
    former = load.names[table]
    _rename(load, table, first, f"{table}_away")
    _rename(load, table, last, former)


def _renamed(town: Town, kind: str, table: str, first: int, _last: int) -> None:
    """For good, until it is renamed again."""
    load = town.departments[kind].workload
    _rename(load, table, first, f"{table}2" if load.names[table] == table else table)


def _rename(load: Workload, table: str, number: int, new: str) -> None:
    def act(cursor: Any) -> None:
        cursor.execute(f"ALTER TABLE {load.names[table]} RENAME TO {new}")
        load.names[table] = new

    load.at(number, act)


TROUBLES: Mapping[str, Trouble] = {
    "hops killed": hops_killed,
    "a hop stopped": hop_stopped,
    "departments cut off": partial(links_cut, "d"),
    "subscribers cut off": partial(links_cut, "s"),
    "PostgreSQL restarted": postgres_restarted,
    "MariaDB restarted": maria_restarted,
    "broker restarted": broker_restarted,
    "broker stopped": broker_stopped,
    "broker cut off": broker_cut,
    "broker slow": broker_slow,
    "broker's disk full": broker_disk_full,
    "a table altered on PostgreSQL": partial(altered, "postgres"),
    "a table altered on MariaDB": partial(altered, "mysql"),
}
MENDED = frozenset(name for name in TROUBLES if name.startswith("a table"))
"""After these the mesh may ask for a command of its own, which is then run to the letter; after all others it heals by itself."""
