"""Open data as a process: the open sets over HTTP."""

from __future__ import annotations

from ops.opendata.service import run_opendata
from ops.run.parts import Parts


def run_opendata_parts(parts: Parts) -> None:
    """Serve the sets until the process is to stop."""
    run_opendata(parts.settings, parts.stack, parts.stop, parts.port, parts.name)
