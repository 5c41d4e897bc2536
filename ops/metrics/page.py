"""The page: `/metrics` of a process on the loopback address, and its entry in the list that Prometheus reads."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import prometheus_client
from prometheus_client.exposition import ThreadingWSGIServer

from ops.metrics.exporter import EXPORTER, Exporter
from ops.metrics.metric import RECENT
from ops.metrics.recent import Recent
from ops.prometheus.configuration import Target, register, unregister
from schemas.errors import Misconfigured
from schemas.guard.entrance import LOOPBACK, LOOPBACK_ALONE, Entrance
from schemas.guard.wsgi import guarded


class Page:
    """The `/metrics` page of this process: `port` on the loopback address, until `close`. `/recent`: see ops/metrics/recent.py."""

    def __init__(self, directory: Path, target: Target, server: Any, thread: threading.Thread, recent: Recent) -> None:
        self.port = target.port
        self._directory = directory
        self._target = target
        self._server = server
        self._thread = thread
        self._recent = recent

    def close(self) -> None:
        """Take the page down and its entry off the list of targets."""
        unregister(self._directory, self._target)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._recent.close()


class _Handler(WSGIRequestHandler):
    """Answers without a line in the log for each question."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def serve(directory: Path, process: str, exporter: Exporter = EXPORTER, entrance: Entrance = LOOPBACK_ALONE) -> Page:
    """Serve `/metrics` on a free loopback port (or MESH_METRICS_PORT) and enter it where Prometheus finds it.

    Raises Misconfigured when the port is taken or is no number.
    """
    wish = os.environ.get("MESH_METRICS_PORT", "0")
    recent = Recent(lambda: prometheus_client.generate_latest(exporter.registry.restricted_registry(RECENT)))
    app: Any = guarded(recent.beside(prometheus_client.make_wsgi_app(exporter.registry)), "metrics", entrance)
    try:
        server = make_server(LOOPBACK, int(wish), app, ThreadingWSGIServer, _Handler)
    except (ValueError, OSError, OverflowError) as error:
        raise Misconfigured(
            "MESH_METRICS_PORT",
            f"{wish}: {error}",
            fix="name a free port, or leave it unset: each process then takes a free one",
        ) from error
    recent.start()
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return Page(directory, register(directory, process, server.server_port), server, thread, recent)
