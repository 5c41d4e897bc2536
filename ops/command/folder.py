"""`mesh draft`, `mesh check` and `mesh onboard`: the way of a folder into the mesh; thin doors to ops/onboarding."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.command()
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
    """Write a draft contract for each table of a live database, of a folder of files, or of what a script will push.

    SOURCE is the database's address, such as postgresql://user:password@host:5432/name; a folder that .csv, .xlsx or .jsonl files are
    dropped into, or one such file; push:rows.jsonl or person.schema.json, a sample or a JSON Schema of rows that a script will push;
    or the name of an environment variable that holds one of these, written ${NAME}.
    """
    from ops.onboarding.draft import draft as write

    written = write(
        source, tables, into or Path(agency), agency, lossless=lossless, force=force, text_encoding=text_encoding
    )
    print_outcome(written, as_json)


@click.command()
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


@click.command()
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


def _say(as_json: bool) -> Callable[[str], None]:
    return (lambda line: click.echo(line, err=True)) if as_json else click.echo
