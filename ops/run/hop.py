"""One hop as a process: what all have in common, around what each is made of."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from ops.former_connections import settle
from ops.host.private import keep_private
from ops.metrics.exporter import EXPORTER
from ops.metrics.host_metrics import HostMetrics
from ops.metrics.page import serve
from ops.run.parts import Parts
from ops.settings import load
from ops.trust.entry import Doorkeeper
from schemas.log.away import wait_for_kafka
from schemas.log.control.follower import read_directory


def run(hop: str, directory: Path, stop: threading.Event, *, port: int, only: frozenset[str], name: str) -> None:
    """Run one hop until `stop`; serve its metrics meanwhile.

    `port` is that of registry, console or opendata, 0 for any; `only` are the sources to capture, empty for all.
    """
    calm_collector()
    keep_private(directory)
    settings = load(directory, hop)
    run_parts = _parts_of(hop)
    with ExitStack() as stack:
        doorkeeper = stack.enter_context(closing(Doorkeeper(settings)))
        stack.enter_context(closing(serve(directory, name, entrance=doorkeeper.beside())))
        if not wait_for_kafka(settings.kafka, stop):
            return
        if hop != "registry":  # which starts before there is anything to read, and has no connections
            settle(settings.directory, read_directory(settings.kafka))
        parts = Parts(settings=settings, doorkeeper=doorkeeper, stack=stack, stop=stop, name=name, port=port, only=only)
        EXPORTER.gauge("mesh_hop")[hop,].set(1)
        parts.look(HostMetrics(directory).look, "host")
        run_parts(parts)


def calm_collector() -> None:
    """Look for reference cycles seldom: hot loops make tuples by the million and no cycles; looking took a tenth of capture."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _parts_of(hop: str) -> Callable[[Parts], None]:
    """What runs a hop. Each loads what it is made of and no more: a killed process is back the sooner."""
    match hop:
        case "registry":
            from ops.run.registry import run_registry as run_parts
        case "capture":
            from ops.run.capture import run_capture as run_parts
        case "streams":
            from ops.run.streams import run_streams as run_parts
        case "flows":
            from ops.run.flows import run_flows as run_parts
        case "delivery":
            from ops.run.delivery import run_delivery as run_parts
        case "console":
            from ops.run.console import run_console as run_parts
        case "opendata":
            from ops.run.opendata import run_opendata as run_parts
        case _:
            raise ValueError(hop)
    return run_parts
