"""Capture as a process: departments' tables to feeds."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ops.kinds.sources import SOURCES
from ops.metrics.hop_metrics import CaptureMetrics
from ops.offboarding.offboarded import Finished
from ops.run.parts import Parts
from ops.settings import Connections
from producers.capture import Capture
from schemas.feed import CAPTURE, is_feed
from schemas.guard.entrance import Entrance


def run_capture(parts: Parts) -> None:
    """Capture until the process is to stop."""
    directory = parts.directory()
    book = parts.book("capture", "wrote", is_feed)
    log = parts.log("mesh-capture", book)
    metrics = CaptureMetrics()
    parts.follow(directory, metrics.known)
    Capture(
        directory,
        Connections(parts.settings.directory).sources.address_of,
        log,
        parts.store(CAPTURE),
        metrics,
        SOURCES,
        parts.only or None,
        parts.incidents(directory),
        Finished(parts.settings, parts.audited("mesh-capture-audit")).slot,
        book,
        parts.settings.directory / "capture",
        _one_for_all(parts.entrance),
    ).run(parts.stop)


def _one_for_all(make: Callable[[], Entrance]) -> Callable[[], Entrance]:
    """The entrance of every source that listens, made for the first: what is wrong with it stops these alone."""
    lock, made = threading.Lock(), list[Entrance]()

    def entrance() -> Entrance:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return entrance
