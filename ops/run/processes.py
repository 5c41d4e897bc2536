"""What `mesh up` runs beside the servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ops.host.up import mesh_command
from ops.prometheus.configuration import write_prometheus_config
from ops.settings import scrape_token_file

_YIELDING = ("nice", "-n", "10")
"""On one machine, what is derived from changes must not delay the changes: it works on when the other hops have had theirs."""


def processes(directory: Path, ports: Mapping[str, int]) -> Mapping[str, Sequence[str]]:
    """What `mesh up` runs beside the servers, in the order of starting."""
    write_prometheus_config(directory, scrape_token_file(directory))
    where = ("--dir", str(directory))
    return {
        "registry": mesh_command("run", "registry", *where, "--port", str(ports["registry"])),
        "streams": mesh_command("run", "streams", *where),
        "flows": (*_YIELDING, *mesh_command("run", "flows", *where)),
        "delivery": mesh_command("run", "delivery", *where),
        "capture": mesh_command("run", "capture", *where),
        "console": mesh_command("run", "console", *where, "--port", str(ports["console"])),
        "opendata": (*_YIELDING, *mesh_command("run", "opendata", *where, "--port", str(ports["opendata"]))),
    }
