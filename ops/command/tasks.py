"""The command `mesh tasks`; its work is in ops/run/flow_tasks.py."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import click

from ops.command.options import dir_option, json_option, print_outcome
from ops.settings import load


@click.command("tasks")
@click.argument("wanted", metavar="[TASKS]", type=click.IntRange(min=1), required=False)
@dir_option
@click.option(
    "--wait", "wait_seconds", default=3600.0, show_default=True, help="Seconds to wait until every task has its part."
)
@json_option
def tasks(wanted: int | None, directory: Path, wait_seconds: float, as_json: bool) -> None:
    """Show how many TASKS share the flows' work, or let there be more: so many workers can share it.

    Everything goes on meanwhile, and what the flows write is the same. The number grows by multiples, and never shrinks. What a
    task hands over to new ones it hands over once, in transactions: a kill at any moment, of a worker or of this command, loses
    nothing. Safe to repeat; a command that was interrupted goes on where it was. Exits 1 when the time is up before.

    \b
    Show:          mesh tasks
    Four times:    mesh tasks 16
    More workers:  mesh run flows --name flows-2
    """  # noqa: D301 - click's mark for "do not wrap" is the control character
    from ops.audit.refused import note, reason_of, tell
    from ops.run.flow_tasks import FlowTasks, Grown, TaskGrowth
    from schemas.errors import Misconfigured
    from schemas.feed import FLOW_INTAKE
    from schemas.log.control.store import ControlStore
    from schemas.log.writer import Log
    from streams.engine.task import TaskTopics
    from streams.flows import FLOWS

    settings, topics = load(directory), TaskTopics(1)
    with closing(Log(settings.kafka, client_id="mesh-tasks", linger_ms=0)) as log:
        store = ControlStore(settings.kafka, FLOW_INTAKE, log)
        if wanted is None:
            present = FlowTasks.of(settings.kafka, store, topics)
            if present is None:
                raise Misconfigured("the flows", "never ran here", fix="`mesh up` starts them")
            outcome = Grown(tasks=present, former=present.routed)
        else:
            growth = TaskGrowth(settings.kafka, store, topics, flow=FLOWS[0].name)
            note(settings, "tasks asked", "flows", tasks=wanted)
            try:
                outcome = growth.grow(wanted, within_seconds=wait_seconds, say=lambda line: click.echo(line, err=True))
            except Misconfigured as error:
                tell(settings, "tasks", "flows", reason_of(error), tasks=wanted)
                raise
            note(settings, "tasks grown", "flows", tasks=wanted, former=outcome.former, complete=outcome.is_complete)
    print_outcome(outcome, as_json)
    sys.exit(0 if outcome.is_complete else 1)
