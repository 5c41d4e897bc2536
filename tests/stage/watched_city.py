"""A tenth of the example city, alive on a mesh of its own, for what looks at a whole mesh: all feeds, flows and boards."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ops.city.beside import beside
from ops.city.city import GUANGZHOU
from ops.city.people.life import Life
from ops.demo.demo import PARTITIONS, Play
from ops.demo.stage import make_room, own_servers, running_mesh, set_up
from ops.embedded.postgres import Postgres
from ops.lint.folder import load as load_folder
from ops.run.flow_worker import BY_DATES, CLOCK, TASKS

SEED = 7
SCALE = 0.1
"""Thousandths."""
RATE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCity:
    """The city and its mesh; `check` raises what went wrong with the city itself."""

    directory: Path
    subscribers: Postgres
    check: Callable[[], None]

    def signalled(self, process: str, number: signal.Signals) -> None:
        """Send a signal to a process of the mesh."""
        os.kill(json.loads((self.directory / "run" / f"{process}.json").read_text())["pid"], number)

    @contextmanager
    def standing_still(self, *processes: str) -> Iterator[None]:
        """Processes that live and do nothing while the block runs."""
        for process in processes:
            self.signalled(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                self.signalled(process, signal.SIGCONT)


@contextmanager
def watched_city(directory: Path) -> Iterator[WatchedCity]:
    """Alive while the block runs; nothing is waited for but that it is onboarded."""
    before = dict(os.environ)
    make_room(directory)
    os.environ |= {TASKS: str(PARTITIONS), CLOCK: BY_DATES}
    try:
        with (
            own_servers(directory) as servers,
            running_mesh(directory, lambda: None) as settings,
            set_up(settings, load_folder(GUANGZHOU), servers) as stage,
        ):
            play = Play(stage, Console(file=io.StringIO()), seed=SEED, rate=RATE, kills=0, scale=SCALE)
            play.fill()
            play.join()
            life = Life(play.city, stage.dsn_of_agency, RATE)
            with beside(life.run, "life") as check:
                yield WatchedCity(directory=directory, subscribers=servers.subscribers, check=check)
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
