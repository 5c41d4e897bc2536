"""The command `mesh`: a thin door; each command's work is in the file named after it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from ops.command.folder import check, draft, onboard
from ops.command.follow import follow
from ops.command.grants.grant import grant
from ops.command.handout.export import export
from ops.command.handout.kit import kit
from ops.command.hops import down, run, up
from ops.command.ledger import ledger
from ops.command.offboard import offboard
from ops.command.options import dir_option, json_option, print_outcome
from ops.command.quota import quota
from ops.command.record.access import access
from ops.command.record.audit import audit
from ops.command.record.objection import objection
from ops.command.record.queue import queue
from ops.command.redelivery import dlq, replay
from ops.command.tasks import tasks
from ops.command.trust import anchor, identity, token
from ops.command.works import works
from ops.host import process
from ops.known_names import did_you_mean
from ops.proof.command import verify
from ops.settings import load
from ops.soak.command import soak
from ops.subscription.command import subscription
from schemas.errors import MeshError


class _MeshGroup(click.Group):
    """Turns the mesh's own errors into one readable line and exit status 1; anything else into its kind and places.

    A traceback quotes the error's text, and that may quote a row: it is shown with MESH_LOG_LEVEL=DEBUG only.
    """

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest names where there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            ctx.fail(
                f"{error.message} {did_you_mean(args[0], self.list_commands(ctx), '`mesh -h` lists them.').capitalize()}"
            )

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
@dir_option
@click.option(
    "--live/--once",
    default=None,
    help="Keep it on the terminal until Ctrl-C, or print it once (default without a terminal).",
)
@json_option
def top(directory: Path, live: bool | None, as_json: bool) -> None:
    """Show what the console's first page shows (运行总览): what needs a person, why, what to do; then what moves."""
    from ops.command.status import show_top

    show_top(load(directory), watch=sys.stdout.isatty() if live is None else live, as_json=as_json)


@main.command()
@click.argument("words", nargs=-1)
@dir_option
@click.option(
    "--class",
    "sharing",
    type=click.Choice(["UNCONDITIONAL", "CONDITIONAL", "NOT_SHARED"], case_sensitive=False),
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
@click.option("--reveal", is_flag=True, help="Show columns tagged PII, which are hidden by default; audited.")
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
@click.option(
    "--scale",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="How large the city is, in thousandths of the real one: 10 has 170,800 citizens and takes ten times as long to fill.",
)
def demo(
    directory: Path, for_seconds: float | None, rate: float, report: Path | None, seed: int, kills: int, scale: int
) -> None:
    """Run the example city on real servers, by default at 1:1000: fill, onboard, snapshot, live volume, and an exact comparison.

    Exits 0 only if every committed row reached every subscriber that its grants entitle, by comparing the databases.
    """
    from ops.demo.demo import demo as play

    sys.exit(play(directory, for_seconds=for_seconds, rate=rate, report=report, seed=seed, kills=kills, scale=scale))


@main.command()
@click.option(
    "--json", "report", type=click.Path(path_type=Path, dir_okay=False), help="Write the medians here as JSON."
)
@click.option("--runs", default=3, show_default=True, help="Runs of each measurement; medians are printed.")
@click.option(
    "--only", multiple=True, help="Only this measurement, such as capture, snapshot or egress; may be repeated."
)
@click.option(
    "--quick", is_flag=True, help="Each measurement once, small, without peers and their downloads: under five minutes."
)
def bench(report: Path | None, runs: int, only: tuple[str, ...], quick: bool) -> None:
    """Measure the mesh beside its peers on this machine, in one run, and print the ratios.

    The flows of the city are folded by this revision and by the one before they were made faster, if its history is here.
    """
    from ops.bench.run import bench as measure

    sys.exit(measure(report, runs=runs, only=only, is_quick=quick))


for _command in (
    access,
    up,
    down,
    run,
    draft,
    check,
    onboard,
    follow,
    verify,
    offboard,
    identity,
    export,
    kit,
    anchor,
    token,
    grant,
    audit,
    dlq,
    replay,
    ledger,
    objection,
    queue,
    subscription,
    works,
    tasks,
    quota,
    soak,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
