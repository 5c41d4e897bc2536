"""`mesh up`, `mesh down` and `mesh run`: the mesh's processes, together or one in the foreground."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from pathlib import Path

import click

from ops.command.options import dir_option
from ops.host import process


@click.command()
@dir_option
def up(directory: Path) -> None:
    """Start the mesh: Kafka, PostgreSQL, registry, capture, streams, delivery; Ctrl-C stops them all.

    Servers of your own are used instead by settings alone: MESH_KAFKA, MESH_REGISTRY, MESH_DATABASE.
    Servers answer this machine alone; MESH_AUTH, MESH_LISTEN and MESH_TLS_... let others in (README, "Who may enter").
    Addresses are in <dir>/endpoints.json, logs in <dir>/log/.
    """
    from ops.host.up import up as start
    from ops.run.processes import processes

    sys.exit(start(directory, processes))


@click.command()
@dir_option
def down(directory: Path) -> None:
    """Stop what `mesh up` started in this directory, and nothing else."""
    from ops.host.up import down as stop

    sys.exit(stop(directory))


@click.command()
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
    opendata   the open data sets as pages for the public and over HTTP: catalogue (also DCAT-AP), rows, files, samples,
               statistics, relations, maps; GET / lists the addresses

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
