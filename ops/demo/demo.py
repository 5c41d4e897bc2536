"""`mesh demo`: the example city on real servers, from empty databases to an exact comparison.

The demo is a user of the mesh like any other: it starts `mesh up`, makes the departments' and subscribers' databases, onboards
`schemas/guangzhou`, lets the city live, and at the end compares what each subscriber holds with what the sources say. It
trusts the databases, never the mesh's own counters.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from ops.city.beside import beside
from ops.city.city import GUANGZHOU, City
from ops.city.course import Course, counted_feeds, courses
from ops.city.opening_day import create, fill
from ops.city.people.life import Life
from ops.demo.counts import Counts
from ops.demo.interruption import Interrupted, Interruption, raise_unless_interrupted
from ops.demo.kills import Kills
from ops.demo.outcome import Outcome, tell
from ops.demo.rest import Rest
from ops.demo.screen import Screen
from ops.demo.stage import Stage, make_room, own_servers, running_mesh, set_up
from ops.ledger.view import ledger
from ops.lint.folder import load as load_folder
from ops.metrics.metric import CAPTURED, DERIVED
from ops.onboarding.onboard import onboard
from ops.proof.feed_rows import feed_rows
from ops.proof.verify import Verified, compare_until_exact
from ops.run.flow_worker import BY_DATES, CLOCK, TASKS
from ops.watch.flow_backlog import open_items, until_folded
from ops.watch.kafka_away import KafkaAway, answered
from ops.watch.lag import LagReader
from schemas.agreement.directory import Directory
from schemas.errors import MeshError, Transient
from schemas.log.control.follower import read_directory
from streams.flows import FLOWS

SNAPSHOT_MOVES_WITHIN_SECONDS = 300.0
DRAIN_WITHIN_SECONDS = 180.0
QUIET_SECONDS = 2.0
LEDGER_WITHIN_SECONDS = 30.0
PARTITIONS = 1  # one worker and one delivery process share this machine; see ops/onboarding/onboard.py


def demo(
    directory: Path, *, for_seconds: float | None, rate: float, report: Path | None, seed: int, kills: int, scale: int
) -> int:
    """Play it all, in a city of `scale` thousandths. Returns 0 only if every subscriber holds exactly what it is entitled to."""
    console = Console(stderr=True, highlight=False)
    directory = directory.absolute()
    make_room(directory)
    folder = load_folder(GUANGZHOU)
    os.environ[TASKS] = str(PARTITIONS)
    os.environ[CLOCK] = BY_DATES  # the city lives in 2016, and a month passes in minutes
    started = time.monotonic()
    with Interruption(console.print).heard() as interruption:
        try:
            with (
                own_servers(directory) as servers,
                running_mesh(directory, interruption.mesh_ended) as settings,
                set_up(settings, folder, servers) as stage,
            ):
                play = Play(stage, console, seed=seed, rate=rate, kills=kills, scale=scale)
                play.lap("up", started)
                try:
                    play.prepare()
                    play.live(for_seconds, interruption)
                    outcome = play.finish()
                finally:
                    interruption.stopping()
        except (Interrupted, MeshError) as error:
            raise_unless_interrupted(interruption, error, directory)
            console.print(f"interrupted: nothing is compared; logs and data stay in {directory}", soft_wrap=True)
            return interruption.status
    if report:
        report.write_text(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2) + "\n")
    tell(outcome, console)
    if outcome.verified.is_exact and not outcome.red:
        shutil.rmtree(directory)
        return 0
    console.print(f"logs and data stay in {directory}", soft_wrap=True)
    return 1


class Play:
    """One performance."""

    def __init__(self, stage: Stage, console: Console, *, seed: int, rate: float, kills: int, scale: int = 1) -> None:
        self._stage = stage
        self._screen = Screen(console)
        self._seed = seed
        self._rate = rate
        self.city = City(seed, scale / 1000)
        self.counts = Counts(stage.settings.directory, self.city.contracts)
        self._kills_of_each = kills
        self._kills: Mapping[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._committed = 0
        self._hindered: dict[str, str] = {}

    def lap(self, name: str, since: float) -> None:
        """Note how long a part took."""
        self._seconds[name] = round(time.monotonic() - since, 1)

    def prepare(self) -> None:
        """Everything before the city lives: fill its databases, onboard it, wait for its snapshots and what follows from them."""
        self.fill()
        self.join()
        self.watch_snapshot()
        self.watch_past()

    def fill(self) -> None:
        """Make and fill the departments' databases."""
        started = time.monotonic()
        self._screen.say(f"the city of seed {self._seed}: {len(self.city.agencies)} departments' databases")
        create(self.city, self._stage.dsn_of_agency)
        with self._screen.progress() as progress:
            task = progress.add_task("filling")

            def tell(feed: str, done: int, total: int) -> None:
                progress.update(task, description=f"filling {feed}", completed=done, total=total)

            filled = fill(self.city, self._stage.dsn_of_agency, tell)
            progress.update(task, description=f"filled {len(filled)} tables")
        self.lap("fill", started)

    def join(self) -> None:
        """Onboard the city: agencies first, then subscribers."""
        started = time.monotonic()
        outcome = onboard(GUANGZHOU, self._stage.settings, wait_seconds=0, say=self._screen.say, partitions=PARTITIONS)
        outcome.render()
        if not outcome.is_ok:
            raise Transient("the example city does not pass its own check", fix="`mesh check` says why")
        self.lap("onboard", started)

    def watch_snapshot(self) -> None:
        """Show the snapshots until every table is done and delivered on."""
        started = time.monotonic()
        rest = Rest(QUIET_SECONDS, SNAPSHOT_MOVES_WITHIN_SECONDS)
        away = KafkaAway(self._stage.settings.kafka, self._screen.say)
        with self._screen.progress() as progress:
            task = progress.add_task("snapshot", total=None)
            while True:
                samples = self.counts.read()
                expected = samples.total("mesh_snapshot_rows_expected")
                done = samples.total("mesh_snapshot_rows")
                progress.update(task, completed=done, total=max(expected, done))
                progressed = self.counts.progressed(samples)
                rest.has_moved(progressed)
                if rest.is_reached(is_through=bool(expected) and done >= expected and progressed.is_drained):
                    break
                if rest.is_stuck and away.waited():
                    rest.hold()
                if rest.is_stuck:
                    raise Transient(
                        f"the snapshot is not delivered, and nothing moved for {SNAPSHOT_MOVES_WITHIN_SECONDS:g} s",
                        fix=f"see the logs in {self._stage.settings.directory / 'log'}",
                    )
                time.sleep(0.5)
            progress.update(task, description="snapshot delivered")
        self.lap("snapshot", started)

    def watch_past(self) -> None:
        """Show the flows folding what was copied: what they derive while the city lives is then of what happens."""
        started = time.monotonic()
        with self._screen.progress() as progress:
            task = progress.add_task("folding the past", total=None)

            def show(folded: float, left: int) -> None:
                progress.update(task, completed=folded, total=folded + left)

            if not until_folded(self._stage.settings.kafka, self.counts.folded, self._screen.say, show):
                raise Transient(
                    "the flows do not fold what was copied: nothing moves any more",
                    fix=f"see {self._stage.settings.directory / 'log' / 'flows.log'}",
                )
            progress.update(task, description="past folded")
        self.lap("past", started)

    def live(self, for_seconds: float | None, interruption: Interruption) -> None:
        """Let the city live, killing processes on the way if asked, until the time is up or Ctrl-C."""
        started = time.monotonic()
        self.counts.start_latency_anew()
        settings = self._stage.settings
        life = Life(self.city, self._stage.dsn_of_agency, self._rate)
        kills = Kills(
            settings.directory,
            each=self._kills_of_each,
            for_seconds=for_seconds,
            seed=self._seed,
            say=self._screen.say,
        )
        with (
            beside(life.run, "life") as check,
            self._screen.status(settings, lambda: self.counts.headline(life.total)) as show,
            interruption.living(),
        ):
            while for_seconds is None or time.monotonic() - started < for_seconds:
                check()
                if interruption.is_asked_to_rest:
                    self._screen.say(
                        "stopping: the city rests, what is under way arrives; Ctrl-C again stops all at once"
                    )
                    break
                kills.do(time.monotonic() - started)
                self.counts.read()
                self._tell_hindered(life)
                show()
                time.sleep(0.5)
        self._committed, self._kills = life.total, kills.counts
        self.lap("live", started)

    def _tell_hindered(self, life: Life) -> None:
        """Say what the city cannot write since somebody changed a database under it, and when it can again."""
        hindered = life.hindered
        for name in hindered.keys() - self._hindered.keys():
            self._screen.say(f"the city goes on without {name}: {hindered[name]}")
        for name in self._hindered.keys() - hindered.keys():
            self._screen.say(f"the city writes {name} again")
        self._hindered = hindered

    def finish(self) -> Outcome:
        """Wait until what is under way has arrived, and compare the databases."""
        started = time.monotonic()
        self._screen.say("comparing what each subscriber holds with its sources")
        kafka, say = self._stage.settings.kafka, self._screen.say
        verified = answered(kafka, self._compare, say)
        self.lap("compare", started)
        return answered(kafka, lambda: self._outcome(verified), say)

    def _compare(self) -> Verified:
        verified = compare_until_exact(
            self._stage.settings,
            within_seconds=DRAIN_WITHIN_SECONDS,
            receiver_log=self._stage.receiver_log,
            say=self._screen.say,
        )
        until_folded(self._stage.settings.kafka, self.counts.folded, self._screen.say)
        return verified

    def _outcome(self, verified: Verified) -> Outcome:
        counts, directory = self.counts, read_directory(self._stage.settings.kafka)
        return Outcome(
            feeds=counts.feeds(),
            flows={
                flow.name: {**counts.flow(flow.name), "pending": open_items(self._stage.settings, flow)}
                for flow in FLOWS
            },
            courses=self._courses(directory),
            subscriptions=counts.subscriptions(directory, verified.comparisons),
            latency=counts.latency(origin=CAPTURED),
            latency_derived=counts.latency(origin=DERIVED),
            verified=verified,
            ledger=self._ledger(),
            committed=self._committed,
            kills=self._kills,
            seconds=self._seconds,
            seed=self._seed,
            scale=self.city.scale * 1000,
        )

    def _ledger(self) -> dict[str, dict[str, Any]]:
        """Every line, once each is balanced or it has stood still long enough for all to have said so."""
        deadline = time.monotonic() + LEDGER_WITHIN_SECONDS
        while True:
            report = ledger(self._stage.settings).to_json()
            lines = {**report["feeds"], **report["subscriptions"]}
            if all(line["balanced"] for line in lines.values()) or time.monotonic() > deadline:
                return lines
            time.sleep(1)

    def _courses(self, directory: Directory) -> dict[str, Course]:
        """How far the systems got with what they asked."""
        wanted = [entry for feed, entry in directory.feeds.items() if feed in counted_feeds()]
        rows = feed_rows(self._stage.settings, wanted)
        with closing(LagReader(self._stage.settings.kafka)) as lags:
            dsns = {**self._stage.dsn_of_subscriber, **self._stage.dsn_of_agency}
            return courses(dsns, rows, lags.first_at_ms(rows), lags.newest_at_ms(rows))
