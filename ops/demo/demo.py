"""`mesh demo`: the example city on real servers, from empty databases to an exact comparison.

The demo is a user of the mesh like any other: it starts `mesh up`, makes the departments' and subscribers' databases, onboards
`schemas/guangzhou`, lets the city live, and at the end compares what each subscriber holds with what the sources say. It
trusts the databases, never the mesh's own counters.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ops.city.beside import beside
from ops.city.city import GUANGZHOU, City
from ops.city.course import Course, counted_feeds, courses
from ops.city.opening_day import create, fill
from ops.city.people.life import Life
from ops.demo.interruption import Interrupted, Interruption, raise_unless_interrupted
from ops.demo.outcome import Outcome, quantiles, tell
from ops.demo.rest import Rest
from ops.demo.stage import Stage, make_room, running_mesh, set_up, subscribers_server
from ops.lint.folder import load as load_folder
from ops.metrics.metric import CAPTURED, DERIVED, origin_of
from ops.metrics.scrape import Samples, gather, quantile
from ops.metrics.tally import Tally
from ops.onboarding.onboard import onboard
from ops.proof.feed_rows import feed_rows
from ops.proof.verify import Verified, compare_until_exact
from ops.run.flow_worker import BY_DATES, CLOCK, TASKS
from ops.watch.flow_backlog import open_items, until_folded
from ops.watch.incidents import IncidentReader
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader
from ops.watch.status_table import reasons, render
from schemas.agreement.directory import Directory
from schemas.errors import MeshError, Transient
from schemas.log.control.follower import Follower, read_directory
from streams.flows import FLOWS

HOPS = ("capture", "streams", "flows", "delivery")
SNAPSHOT_MOVES_WITHIN_SECONDS = 120.0
DRAIN_WITHIN_SECONDS = 180.0
QUIET_SECONDS = 2.0
LATENCY = "mesh_delivery_latency_seconds"
COUNTED = (
    "mesh_events_total",
    "mesh_rejected_total",
    "mesh_routed_total",
    "mesh_suppressed_total",
    "mesh_delivered_total",
    "mesh_dead_total",
    "mesh_flow_messages_total",
    "mesh_flow_changes_total",
    f"{LATENCY}_bucket",
)
ROWS_SHOWN = 14
PARTITIONS = 1  # one worker and one delivery process share this machine; see ops/onboarding/onboard.py


def demo(directory: Path, *, for_seconds: float | None, rate: float, report: Path | None, seed: int, kills: int) -> int:
    """Play it all. Returns 0 only if every subscriber holds exactly what its grants entitle it to."""
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
                subscribers_server(directory) as subscribers,
                running_mesh(directory, interruption.mesh_ended) as settings,
                set_up(settings, folder, subscribers) as stage,
            ):
                play = Play(stage, console, seed=seed, rate=rate, kills=kills)
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
    if outcome.verified.is_exact:
        shutil.rmtree(directory)
        return 0
    console.print(f"logs and data stay in {directory}", soft_wrap=True)
    return 1


Progressed = tuple[float, float, float, float]


def _is_drained(counted: Progressed) -> bool:
    """Whether what was captured was processed, and what was routed was delivered."""
    captured, processed, routed, arrived = counted
    return captured > 0 and processed >= captured and arrived >= routed


class Play:
    """One performance."""

    def __init__(self, stage: Stage, console: Console, *, seed: int, rate: float, kills: int) -> None:
        self._stage = stage
        self._console = console
        self._seed = seed
        self._rate = rate
        self.city = City(seed)
        self._tally = Tally(COUNTED)
        self._kills_wanted = kills
        self._kills: dict[str, int] = dict.fromkeys(HOPS, 0)
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
        self._say(f"the city of seed {self._seed}: {len(self.city.agencies)} departments' databases")
        create(self.city, self._stage.dsn_of_agency)
        with self._progress() as progress:
            task = progress.add_task("filling")

            def tell(feed: str, done: int, total: int) -> None:
                progress.update(task, description=f"filling {feed}", completed=done, total=total)

            filled = fill(self.city, self._stage.dsn_of_agency, tell)
            progress.update(task, description=f"filled {len(filled)} tables")
        self.lap("fill", started)

    def join(self) -> None:
        """Onboard the city: agencies first, then subscribers."""
        started = time.monotonic()
        outcome = onboard(GUANGZHOU, self._stage.settings, wait_seconds=0, say=self._say, partitions=PARTITIONS)
        outcome.render()
        if not outcome.is_ok:
            raise Transient("the example city does not pass its own check", fix="`mesh check` says why")
        self.lap("onboard", started)

    def watch_snapshot(self) -> None:
        """Show the snapshots until every table is done and delivered on."""
        started = time.monotonic()
        rest = Rest(QUIET_SECONDS, SNAPSHOT_MOVES_WITHIN_SECONDS)
        with self._progress() as progress:
            task = progress.add_task("snapshot", total=None)
            while True:
                samples = self.read()
                expected = samples.total("mesh_snapshot_rows_expected")
                done = samples.total("mesh_snapshot_rows")
                progress.update(task, completed=done, total=max(expected, done))
                counted = self._counted(samples)
                rest.has_moved(counted)
                if rest.is_reached(is_through=bool(expected) and done >= expected and _is_drained(counted)):
                    break
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
        with self._progress() as progress:
            task = progress.add_task("folding the past", total=None)

            def show(folded: float, left: int) -> None:
                progress.update(task, completed=folded, total=folded + left)

            if not until_folded(self._stage.settings.kafka, self._folded, show):
                raise Transient(
                    "the flows do not fold what was copied: nothing moves any more",
                    fix=f"see {self._stage.settings.directory / 'log' / 'flows.log'}",
                )
            progress.update(task, description="past folded")
        self.lap("past", started)

    def live(self, for_seconds: float | None, interruption: Interruption) -> None:
        """Let the city live, killing processes on the way if asked, until the time is up or Ctrl-C."""
        started = time.monotonic()
        self.read()
        self._tally.start_anew(f"{LATENCY}_bucket")
        life = Life(self.city, self._stage.dsn_of_agency, self._rate)
        with beside(life.run, "life") as check:
            due = self._schedule(for_seconds)
            with self._shown(life) as show, interruption.living():
                while for_seconds is None or time.monotonic() - started < for_seconds:
                    check()
                    if interruption.is_asked_to_rest:
                        self._say("stopping: the city rests, what is under way arrives; Ctrl-C again stops all at once")
                        break
                    while due and time.monotonic() - started >= due[0][0]:
                        self._kill(due.pop(0)[1])
                    self.read()
                    self._tell_hindered(life)
                    show()
                    time.sleep(0.5)
        self._committed = life.total
        self.lap("live", started)

    def _tell_hindered(self, life: Life) -> None:
        """Say what the city cannot write since somebody changed a database under it, and when it can again."""
        hindered = life.hindered
        for name in hindered.keys() - self._hindered.keys():
            self._say(f"the city goes on without {name}: {hindered[name]}")
        for name in self._hindered.keys() - hindered.keys():
            self._say(f"the city writes {name} again")
        self._hindered = hindered

    def finish(self) -> Outcome:
        """Wait until what is under way has arrived, and compare the databases."""
        started = time.monotonic()
        self._say("comparing what each subscriber holds with its sources")
        verified = compare_until_exact(
            self._stage.settings,
            within_seconds=DRAIN_WITHIN_SECONDS,
            receiver_log=self._stage.receiver_log,
            say=self._say,
        )
        until_folded(self._stage.settings.kafka, self._folded)
        self.lap("compare", started)
        return self._outcome(verified)

    def _folded(self) -> float:
        """Messages that the flows have folded so far."""
        self.read()
        return self._tally.total("mesh_flow_messages_total")

    def _outcome(self, verified: Verified) -> Outcome:
        tally = self._tally
        flows = {
            flow.name: {
                "in": tally.total("mesh_flow_messages_total", flow=flow.name),
                "out": tally.total("mesh_flow_changes_total", flow=flow.name),
                "pending": open_items(self._stage.settings, flow),
            }
            for flow in FLOWS
        }
        feeds = {
            feed: {
                "captured": tally.total("mesh_events_total", feed=feed),
                "rejected": tally.total("mesh_rejected_total", feed=feed),
            }
            for feed in sorted(self.city.contracts)
        }
        samples = gather(self._stage.settings.directory)[0]
        directory = read_directory(self._stage.settings.kafka)
        subscriptions: dict[str, Mapping[str, float | None]] = {
            grant_id: {
                "delivered": tally.total("mesh_delivered_total", grant_id=grant_id),
                "suppressed": tally.total("mesh_suppressed_total", grant_id=grant_id),
                "dead": tally.total("mesh_dead_total", grant_id=grant_id),
                "lag_seconds": samples.latest("mesh_delivery_lag_seconds", grant_id=grant_id),
                **self._latency(
                    subscriber=directory.grants[grant_id].grant.subscriber,
                    origin=origin_of(directory, directory.grants[grant_id].grant.feed),
                ),
            }
            for grant_id in sorted(verified.comparisons)
        }
        return Outcome(
            feeds=feeds,
            flows=flows,
            courses=self._courses(directory),
            subscriptions=subscriptions,
            latency=self._latency(origin=CAPTURED),
            latency_derived=self._latency(origin=DERIVED),
            verified=verified,
            committed=self._committed,
            kills=self._kills,
            seconds=self._seconds,
            seed=self._seed,
        )

    def _courses(self, directory: Directory) -> dict[str, Course]:
        """How far the systems got with what they asked."""
        wanted = [entry for feed, entry in directory.feeds.items() if feed in counted_feeds()]
        rows = feed_rows(self._stage.settings, wanted)
        with closing(LagReader(self._stage.settings.kafka)) as lags:
            dsns = {**self._stage.dsn_of_subscriber, **self._stage.dsn_of_agency}
            return courses(dsns, rows, lags.first_at_ms(rows), lags.newest_at_ms(rows))

    def _latency(self, **where: str) -> dict[str, float | None]:
        """From commit to acknowledgement in seconds, while the city lived."""
        buckets = self._tally.buckets(LATENCY, **where)
        return {"p50": quantile(buckets, 0.5), "p99": quantile(buckets, 0.99)}

    def read(self) -> Samples:
        """What the processes export now, added up with what they exported before."""
        samples, _ = gather(self._stage.settings.directory)
        self._tally.take(samples)
        return samples

    def _counted(self, samples: Samples) -> Progressed:
        """How many changes were captured, processed, routed and delivered, by the counters."""
        captured = samples.total("mesh_events_total", origin=CAPTURED)
        processed = sum(samples.total("mesh_processed_total", feed=feed) for feed in self.city.contracts)
        routed = samples.total("mesh_routed_total")
        arrived = samples.total("mesh_delivered_total") + samples.total("mesh_dead_total")
        return captured, processed, routed, arrived

    def _schedule(self, for_seconds: float | None) -> list[tuple[float, str]]:
        """When to kill what: spread over the time, in an order drawn from the seed."""
        rng = Random(self._seed)  # noqa: S311 - reproducible on purpose, guards nothing
        victims = [hop for hop in HOPS for _ in range(self._kills_wanted)]
        rng.shuffle(victims)
        span = for_seconds or 120.0
        return [(span * (place + 1) / (len(victims) + 1), hop) for place, hop in enumerate(victims)]

    def _kill(self, hop: str) -> None:
        """SIGKILL one process of the running mesh; its supervisor starts it again."""
        state = self._stage.settings.directory / "run" / f"{hop}.json"
        pid = json.loads(state.read_text())["pid"]
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        self._kills[hop] += 1
        self._say(f"killed {hop} (process {pid})")

    @contextmanager
    def _shown(self, life: Life) -> Iterator[Callable[[], None]]:
        """A live table on a terminal, a line every ten seconds elsewhere."""
        with (
            closing(Follower(self._stage.settings.kafka)) as directory,
            closing(LagReader(self._stage.settings.kafka)) as lags,
        ):
            reader = StatusReader(
                self._stage.settings.directory,
                directory,
                lags.read,
                incidents=IncidentReader(self._stage.settings.kafka),
            )
            if not self._console.is_terminal:
                told = [time.monotonic()]

                def line() -> None:
                    if time.monotonic() - told[0] >= 10:
                        told[0] = time.monotonic()
                        self._say(self.headline(life))
                        for reason in reasons(reader.read()):
                            self._console.print(reason, soft_wrap=True)

                yield line
                return
            with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:

                def table() -> None:
                    headline = Text(self.headline(life), style="bold")
                    live.update(Group(headline, render(reader.read(), rows_max=ROWS_SHOWN)), refresh=True)

                yield table

    def headline(self, life: Life) -> str:
        """The volume so far, in a line."""
        latency = f"; commit to subscriber {quantiles(self._latency(origin=CAPTURED))}"
        captured = self._tally.total("mesh_events_total", origin=CAPTURED)
        delivered = self._tally.total("mesh_delivered_total")
        return f"{life.total:,} row changes committed, {captured:,.0f} captured, {delivered:,.0f} delivered{latency}"

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console)

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)
