"""Wiring: which parts a process is made of. A flat table of small builders; nothing is found by magic.

A new kind of sink is one file in `sinks/`, one line in `SINKS` and one test; a new kind of source the same in `SOURCES`.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

from ops.control import ControlStore, Follower
from ops.measure import CaptureMetrics, DeliveryMetrics, StreamMetrics, serve
from ops.prometheus.configuration import write_prometheus_config
from ops.settings import Connections, Settings, load
from ops.topics import ensure_control_topics
from ops.up import mesh_command
from producers.log import Log
from schemas.dead_letter import DeadLetter
from schemas.feed import CAPTURE, EGRESS, dead_letter_topic
from schemas.registry.client import RegistryClient
from schemas.registry.server import RegistryServer

STREAMS_GROUP = "mesh.streams"
GUANGZHOU = Path(__file__).parent.parent / "schemas" / "guangzhou"
"""The example city's folders."""

DURABLE_WITHIN_SECONDS = 60.0


def processes(directory: Path, registry_port: int) -> Mapping[str, Sequence[str]]:
    """What `mesh up` runs beside the servers, in the order of starting."""
    write_prometheus_config(directory)
    where = ("--dir", str(directory))
    return {
        "registry": mesh_command("run", "registry", *where, "--port", str(registry_port)),
        "streams": mesh_command("run", "streams", *where),
        "delivery": mesh_command("run", "delivery", *where),
        "capture": mesh_command("run", "capture", *where),
    }


def run(hop: str, directory: Path, stop: threading.Event, *, port: int, only: frozenset[str], name: str) -> None:
    """Run one hop until `stop`; serve its metrics meanwhile."""
    settings = load(directory)
    with ExitStack() as parts:
        parts.enter_context(closing(serve(directory, name)))
        if hop == "registry":
            RegistryServer(settings.kafka, port=port).run(stop)
            return
        ensure_control_topics(settings.kafka)
        _HOPS[hop](settings, parts, stop, only, name)


def dead_letters(log: Log) -> Callable[[DeadLetter], None]:
    """A callable that returns once the dead letter is on its topic for good (invariant 3)."""

    def keep(letter: DeadLetter) -> None:
        log.append(dead_letter_topic(letter.topic), letter.key, letter.value, headers=letter.headers())
        log.flush(DURABLE_WITHIN_SECONDS)

    return keep
