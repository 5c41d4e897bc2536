"""The command `mesh`: a thin door; each command's work is in the file named after it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from ops.command.follow import follow
from ops.command.offboard import offboard
from ops.command.options import dir_option, json_option, print_outcome
from ops.command.quota import quota
from ops.command.redelivery import dlq, replay
from ops.command.trust import anchor, identity
from ops.command.works import works
from ops.host import process
from ops.settings import load
from ops.soak.command import soak
from schemas.errors import MeshError


class _MeshGroup(click.Group):
    """Turns the mesh's own errors into one readable line and exit status 1; anything else into its kind and places.

    A traceback quotes the error's text, and that may quote a row: it is shown with MESH_LOG_LEVEL=DEBUG only.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MeshError as error:
            _fail(str(error))
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("MESH_LOG_LEVEL") == "DEBUG":
                raise
            _fail(process.unforeseen(error))


def _fail(message: str) -> NoReturn:
    click.echo(f"mesh: {message}", err=True)
    sys.exit(1)


@click.group(cls=_MeshGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pearlmesh", prog_name="mesh")
def main() -> None:
    """A change-data-capture mesh: department tables to granted subscribers, live and provably complete.

    \b
    Try it:       mesh demo
    Run it:       mesh up, then mesh onboard <folder>, then mesh status
    A new agency: mesh draft <database> --agency <code>, mesh check <folder>, mesh onboard <folder>
    """  # noqa: D301 - click's mark for "do not wrap" is the control character


@main.command()
@dir_option
def up(directory: Path) -> None:
    """Start the mesh: Kafka, PostgreSQL, registry, capture, streams, delivery; Ctrl-C stops them all.

    Servers of your own are used instead by settings alone: MESH_KAFKA, MESH_REGISTRY, MESH_DATABASE.
    Addresses are in <dir>/endpoints.json, logs in <dir>/log/.
    """
    from ops.host.up import up as start
    from ops.run.processes import processes

    sys.exit(start(directory, processes))


@main.command()
@dir_option
def down(directory: Path) -> None:
    """Stop what `mesh up` started in this directory, and nothing else."""
    from ops.host.up import down as stop

    sys.exit(stop(directory))


@main.command()
@click.argument(
    "hop", type=click.Choice(["registry", "capture", "streams", "flows", "delivery", "console", "opendata"])
)
@dir_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The port of registry, console or opendata; 0 takes a free one.",
)
@click.option("--source", "only", multiple=True, help="Capture only this <agency>.<source>; may be repeated.")
@click.option("--name", default="", help="This process's name among others of the same hop; default: the hop's.")
def run(hop: str, directory: Path, port: int, only: tuple[str, ...], name: str) -> None:
    """Run one hop of the mesh in the foreground, for a cluster where something else supervises it.

    \b
    registry   schemas of everything that is on Kafka
    capture    departments' tables to feeds
    streams    feeds to what each grant allows
    flows      feeds to derived feeds: archives, credit, open data
    delivery   to the subscribers' sinks
    console    a page of live volume and health
    opendata   the open data sets over HTTP: catalogue (also DCAT-AP), rows, samples, statistics, relations, maps;
               GET / lists the addresses

    Each flow has one clock: by it deadlines come, and everything that it writes is dated. MESH_FLOW_CLOCK=commits, the default,
    takes the commits of the departments' databases: right wherever people write down what happens when it happens. With
    MESH_FLOW_CLOCK=dates it takes what rows say themselves, the time at which they were written (`updated_at`) and the dates of
    what they tell of: for a past that is loaded or played again, as in `mesh demo`, whose city lives in 2016. By commits, each
    deadline of such a past would be over at once, or years away. Choose before the flows run first; a flow's time never goes
    back. `mesh status` shows each flow's time.

    All of them log to standard error and serve /metrics on a port that Prometheus finds in <dir>/prometheus/.
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.run.hop import run as run_hop

    process.log_to(sys.stderr, os.environ.get("MESH_LOG_LEVEL", "INFO"))
    process.watch_threads()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # By a thread: the signal may come while this one holds the event's own lock.
        signal.signal(number, lambda *_: threading.Thread(target=stop.set).start())
    run_hop(hop, directory, stop, port=port, only=frozenset(only), name=name or hop)


@main.command()
@click.argument("source")
@click.option("--agency", required=True, help="The agency's code: it prefixes the feeds, such as `aic`.")
@click.option("--table", "tables", multiple=True, help="Only this <schema>.<table>; may be repeated. Default: all.")
@click.option("--into", type=click.Path(path_type=Path), help="Folder for the draft. Default: ./<agency>.")
@click.option("--lossless", is_flag=True, help="Give every column a text branch for values its type cannot hold.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option(
    "--text-encoding",
    type=click.Choice(["gb18030", "gbk", "big5", "utf8"]),
    help="What text is in, where the database's own encoding is SQL_ASCII or EUC_CN; it becomes the source's option.",
)
@json_option
def draft(
    source: str,
    agency: str,
    tables: tuple[str, ...],
    into: Path | None,
    lossless: bool,
    force: bool,
    text_encoding: str | None,
    as_json: bool,
) -> None:
    """Write a draft contract for each table of a live database.

    SOURCE is the database's address, such as postgresql://user:password@host:5432/name, or the name of an environment
    variable that holds it, written ${NAME}.
    """
    from ops.onboarding.draft import draft as write

    written = write(
        source, tables, into or Path(agency), agency, lossless=lossless, force=force, text_encoding=text_encoding
    )
    print_outcome(written, as_json)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@dir_option
@json_option
def check(folder: Path, directory: Path, as_json: bool) -> None:
    """Check an agency's, a subscriber's or a whole city's folder; explain every problem with its fix.

    Where a mesh runs in --dir, also says what the change would break there, and for whom. Nothing is registered.
    """
    from ops.onboarding.onboard import inspect

    report = inspect(folder, directory)
    print_outcome(report, as_json)
    sys.exit(1 if report.errors else 0)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@dir_option
@click.option(
    "--wait", "wait_seconds", default=60.0, show_default=True, help="Seconds to wait for first records; 0: not at all."
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 512),
    default=4,
    show_default=True,
    help="Partitions of each new feed, for life.",
)
@json_option
def onboard(folder: Path, directory: Path, wait_seconds: float, partitions: int, as_json: bool) -> None:
    """Take a folder into the running mesh: register, create topics with ACLs, start capture and delivery. No restart.

    Safe to repeat: what is already as the folder says stays as it is.
    """
    from ops.onboarding.onboard import onboard as take

    outcome = take(folder, load(directory), wait_seconds=wait_seconds, say=_say(as_json), partitions=partitions)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_ok else 1)


@main.command()
@dir_option
@click.option(
    "--watch/--once",
    default=None,
    help="Keep the table on the terminal, or print it once (default without a terminal).",
)
@json_option
def status(directory: Path, watch: bool | None, as_json: bool) -> None:
    """Show feeds, subscriptions and processes: volume, lag, latency, dead letters."""
    from ops.command.status import show_status

    show_status(load(directory), watch=sys.stdout.isatty() if watch is None else watch, as_json=as_json)


@main.command()
@click.argument("words", nargs=-1)
@dir_option
@click.option(
    "--class",
    "sharing",
    type=click.Choice(["UNCONDITIONAL", "CONDITIONAL", "NOT_SHARED"]),
    help="Of one sharing class.",
)
@json_option
def catalogue(words: tuple[str, ...], directory: Path, sharing: str | None, as_json: bool) -> None:
    """List what can be subscribed to: owner, sharing class, freshness, subscribers. WORDS narrow it, such as `tax 税`."""
    from ops.show.catalogue import catalogue as compiled

    print_outcome(compiled(load(directory), words, sharing), as_json)


@main.command()
@dir_option
@json_option
def board(directory: Path, as_json: bool) -> None:
    """Compute the brief's figures again from the feeds, and say where numbers disagree (N1 to N11), here and in the brief.

    Detection rates by case and by person, coverage with unified codes, warnings a taxpayer, hours saved both ways: each with its
    unit, its base and both parts, beside the brief's own. A line is RED where numbers break the rule that stands above it.
    """
    from ops.figures.report import board as compute

    print_outcome(compute(load(directory)), as_json)


@main.command()
@click.argument("feed")
@dir_option
@click.option("--from-start", is_flag=True, help="Begin with the oldest record instead of the next one.")
@click.option("--count", type=int, help="Stop after so many changes.")
@click.option("--reveal", is_flag=True, help="Show columns tagged PII, which are hidden by default.")
@json_option
def tail(feed: str, directory: Path, from_start: bool, count: int | None, reveal: bool, as_json: bool) -> None:
    """Follow the changes of a feed, or of a subscriber's `out.` topic, on the terminal.

    `dlq.` before either shows what was set aside there: the reason and the place of each dead letter, its values hidden.
    """
    from ops.command.tail import show_tail

    show_tail(load(directory), feed, from_start=from_start, count=count, reveal=reveal, as_json=as_json)


@main.command()
@click.argument("name")
@dir_option
@click.option(
    "--within",
    "within_seconds",
    default=30.0,
    show_default=True,
    help="Seconds that what is under way may take to arrive.",
)
@json_option
def verify(name: str, directory: Path, within_seconds: float, as_json: bool) -> None:
    """Compare a subscription with its source, row for row. NAME is a grant's id, or a feed for all its grants."""
    from ops.proof.verify import verify as compare

    outcome = compare(name, load(directory), within_seconds=within_seconds)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_exact else 1)


@main.command()
@click.argument("grant_id")
@click.argument("status", type=click.Choice(["ACTIVE", "SUSPENDED", "REVOKED"]))
@dir_option
def grant(grant_id: str, status: str, directory: Path) -> None:
    """Suspend, revoke or reactivate a grant; a running feed follows within seconds.

    ACTIVE also resumes the grant's webhook after it answered 410 (gone), whatever the grant was before.
    """
    from ops.trust.grant_status import set_grant_status

    set_grant_status(load(directory), grant_id, status)
    click.echo(f"{grant_id} is {status}")


@main.command()
@click.argument("name")
@dir_option
def resync(name: str, directory: Path) -> None:
    """Copy a feed anew, or all feeds of a source <agency>.<source>; also while it is captured.

    Subscribers are first told that the feed's rows are gone, so that none stays that was deleted within a gap, then get the rows
    that are there. A feed is copied while the source's other feeds flow; a source accepts the gap that had stopped it.
    """
    from ops.onboarding.resync import ask

    asked = ask(load(directory), name)
    click.echo(f"{asked} will be copied anew; capture begins within seconds: `mesh status`")


@main.command()
@dir_option
@click.option(
    "--for", "for_seconds", type=float, help="Run so many seconds, then compare and stop. Default: until Ctrl-C."
)
@click.option("--rate", default=200.0, show_default=True, help="Row changes a second in the departments' databases.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the outcome here as JSON.")
@click.option("--seed", default=20161031, show_default=True, help="The example city's seed.")
@click.option(
    "--kills",
    default=0,
    show_default=True,
    help="SIGKILL capture, streams, flows and delivery so many times each on the way.",
)
def demo(directory: Path, for_seconds: float | None, rate: float, report: Path | None, seed: int, kills: int) -> None:
    """Run the example city at 1:1000 on real servers: fill, onboard, snapshot, live volume, and an exact comparison.

    Exits 0 only if every committed row reached every subscriber that its grants entitle, by comparing the databases.
    """
    from ops.demo.demo import demo as play

    sys.exit(play(directory, for_seconds=for_seconds, rate=rate, report=report, seed=seed, kills=kills))


@main.command()
@click.option(
    "--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Write the medians here as JSON."
)
@click.option("--runs", default=3, show_default=True, help="Runs of each measurement; medians are printed.")
@click.option(
    "--only", multiple=True, help="Only this measurement, such as capture, snapshot or egress; may be repeated."
)
def bench(report: Path | None, runs: int, only: tuple[str, ...]) -> None:
    """Measure the mesh beside its peers on this machine, in one run, and print the ratios."""
    from ops.bench.run import bench as measure

    sys.exit(measure(report, runs=runs, only=only))


main.add_command(quota)
main.add_command(identity)
main.add_command(anchor)
main.add_command(soak)
main.add_command(dlq)
main.add_command(follow)
main.add_command(offboard)
main.add_command(replay)
main.add_command(works)


def _say(as_json: bool) -> Callable[[str], None]:
    return (lambda line: click.echo(line, err=True)) if as_json else click.echo


if __name__ == "__main__":
    main()
