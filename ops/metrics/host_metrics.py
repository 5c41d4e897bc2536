"""The host of a process, as metrics: its disk, and how long the certificates of its settings are good."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from ops.metrics.exporter import EXPORTER, Exporter
from schemas.log.tls import good_until

CERTIFICATES = {"server": "MESH_TLS_CERTIFICATE", "kafka": "MESH_KAFKA_CERTIFICATE"}


class HostMetrics:
    """`directory` is the mesh's, which lies on the disk that is looked at. An unreadable certificate is told by who uses it."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str] = os.environ, exporter: Exporter = EXPORTER
    ) -> None:
        self._directory = directory
        self._environment = environment
        self._host = socket.gethostname()
        self._free = exporter.gauge("mesh_disk_free_bytes")
        self._size = exporter.gauge("mesh_disk_size_bytes")
        self._ends = exporter.gauge("mesh_certificate_ends_timestamp_seconds")

    def look(self) -> None:
        """As it is now."""
        usage = shutil.disk_usage(self._directory)
        self._free[self._host,].set(usage.free)
        self._size[self._host,].set(usage.total)
        given = {what: Path(path) for what, name in CERTIFICATES.items() if (path := self._environment.get(name))}
        until = {what: good_until(path) for what, path in given.items()}
        self._ends.keep({(self._host, what): moment.timestamp() for what, moment in until.items() if moment})
