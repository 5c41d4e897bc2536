"""`mesh queue`: what waits for officers on the flows' queues, and their decisions; thin doors to ops/queue."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.command.options import dir_option, json_option, print_lines
from ops.command.terminal import progress_bar
from ops.settings import load
from ops.trust.login import login_name

if TYPE_CHECKING:
    from ops.queue.deciding import Chosen

_flow = click.option("--flow", default="", help="Only of this flow, such as person.")
_cause = click.option("--cause", default="", help="Of this cause, such as NAME_CONFLICT.")
_reason = click.option("--reason", required=True, help="Why, as the audit says it; never a personal value.")
_by = click.option(
    "--by", default=login_name, show_default="the login's name", help="Who decides, as the item says it."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be decided, and decide nothing.")


@click.group()
def queue() -> None:
    """Show what waits for officers on the flows' queues (待办), decide about it, and take decisions back.

    A decision is a fact of its subject like any row: it has effect for as long as what it was made upon stands, and the item is open
    again where other facts come. A later one, or an undo, takes its place. Items are named by hashes that show nobody.

    \b
    What waits:      mesh queue list
    Of one cause:    mesh queue list --cause NAME_CONFLICT
    One item:        mesh queue show <item>
    Decide one:      mesh queue decide <item> prefer police.resident --reason <why>
    Or all of them:  mesh queue decide --cause ANSWER_OVERDUE_HRSS extend 2026-12-31 --reason <why> --dry-run
    Take it back:    mesh queue undo <item> --reason <why>
    """  # noqa: D301 - click's mark for "do not wrap" is the control character


@queue.command("list")
@_flow
@_cause
@click.option("--subject", default="", help="Only about this subject key; - reads it from standard input.")
@click.option("--limit", default=100, show_default=True, help="List so many items at most; 0 for all.")
@dir_option
@json_option
def list_items(flow: str, cause: str, subject: str, limit: int, directory: Path, as_json: bool) -> None:
    """Count items by cause, or list those of one cause or subject; never who they are about.

    open waits for a decision, held is looked into, "open again" was decided upon other facts or to no effect, "under way" is what the
    flow has not taken yet, settled is decided.
    """
    from ops.queue.shown import by_cause, listed

    key = sys.stdin.readline().strip() if subject == "-" else subject
    settings = load(directory)
    if cause or key:
        print_lines(listed(settings, cause, flow, key, limit), as_json)
    else:
        print_lines(by_cause(settings, flow), as_json)


@queue.command()
@click.argument("item")
@click.option("--reveal", is_flag=True, help="Show whom it is about and the values that differ; audited.")
@dir_option
@json_option
def show(item: str, reveal: bool, directory: Path, as_json: bool) -> None:
    """Show one ITEM: why it is there, the rows that it cites, and what may be decided of it."""
    from ops.queue.shown import shown

    print_lines(shown(load(directory), item, reveal=reveal), as_json)


@queue.command()
@click.argument("words", nargs=-1, required=True, metavar="[ITEM...] OUTCOME [ARGUMENT...]")
@_cause
@_flow
@_reason
@_by
@_dry_run
@dir_option
@json_option
def decide(
    words: tuple[str, ...],
    cause: str,
    flow: str,
    reason: str,
    by: str,
    dry_run: bool,
    directory: Path,
    as_json: bool,
) -> None:
    """Decide about one ITEM, several, or with --cause all of a cause that are not settled.

    \b
    note                            taken note of (知悉): nothing else changes
    dismiss                         no conflict after all (不成立): likewise
    hold                            stays open, and is looked into (挂起)
    prefer <feed>                   that row is right: the others of the item count no more (采信)
    leave-out <feed>                that row counts no more, until it is another (剔除)
    accept <feed>                   that row counts whatever speaks against it (认可)
    correct <feed> <column>=<value> that column counts with another value, by its legal basis (更正)
    answer <verdict>                who is silent counts as having answered so (视同答复)
    extend <last day>               who is silent has until the end of that day (延期)

    Instead of a feed a number of `mesh queue show` names one row. Which of them an ITEM may have, `mesh queue show` says. A value
    written as - is read from standard input, so that it stands in no list of processes.
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.queue.deciding import Officer
    from ops.queue.deciding import decide as settle
    from schemas.decision import OUTCOMES

    first = next((place for place, word in enumerate(words) if word in OUTCOMES), 0 if cause else 1)
    if first == len(words):
        raise click.UsageError(f"say what is decided: {', '.join(OUTCOMES)}")
    officer = Officer(by=by, reason=reason)
    with progress_bar("deciding") as progress:
        chosen = _chosen(words[:first], cause, flow)
        said = [_read(word) for word in words[first:]]
        outcome = settle(load(directory), chosen, said, officer, dry_run=dry_run, progress=progress)
    print_lines(outcome, as_json)


@queue.command()
@click.argument("items", nargs=-1, metavar="[ITEM...]")
@_cause
@_flow
@_reason
@_by
@_dry_run
@dir_option
@json_option
def undo(
    items: tuple[str, ...], cause: str, flow: str, reason: str, by: str, dry_run: bool, directory: Path, as_json: bool
) -> None:
    """Take back what was decided about ITEMS, or with --cause about all of a cause: everything is as though it never had been.

    What was frozen or told meanwhile, such as a lottery's roster or a report, stays as it was told, as after any change of facts.
    """
    from ops.queue.deciding import Officer
    from ops.queue.deciding import undo as take_back

    officer = Officer(by=by, reason=reason)
    with progress_bar("taking back") as progress:
        chosen = _chosen(items, cause, flow)
        outcome = take_back(load(directory), chosen, officer, dry_run=dry_run, progress=progress)
    print_lines(outcome, as_json)


def _read(word: str) -> str:
    """A word, with the value of `<column>=-` from standard input."""
    return word[:-1] + sys.stdin.readline().rstrip("\n") if word.endswith("=-") else word


def _chosen(items: tuple[str, ...], cause: str, flow: str) -> Chosen:
    from ops.queue.deciding import Chosen

    if bool(items) == bool(cause):
        raise click.UsageError("name items, or give --cause; `mesh queue list` shows both")
    return Chosen(names=items, cause=cause, flow=flow)
