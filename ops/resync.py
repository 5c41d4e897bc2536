"""`mesh resync`: a person accepts that a source has a gap, and has every table of it copied anew (invariant 9).

Capture stops a source loudly when its slot is lost or is not the one it confirmed to. Resync raises the source's epoch: every
feed first learns that its rows are gone (op=t), then receives them again, with positions above all earlier ones.
"""

from __future__ import annotations

from contextlib import closing

from ops.control import ControlStore
from ops.scrape import gather
from ops.settings import Settings
from producers.log import Log
from producers.postgres import resync
from schemas.errors import Misconfigured
from schemas.feed import CAPTURE


def accept_gap(settings: Settings, source: str) -> None:
    """Mark the source `<agency>.<name>` for a resync. Raises Misconfigured when it is unknown, or captured right now."""
    samples, _ = gather(settings.directory)
    if samples.latest("mesh_capture_connected", source=source):
        raise Misconfigured(source, "is being captured without a gap", fix="resync a source that capture has stopped")
    with closing(Log(settings.kafka, client_id="mesh-resync")) as log:
        store = ControlStore(settings.kafka, CAPTURE, log)
        record = store.load(source)
        if record is None:
            known = ", ".join(sorted(store.all())) or "none"
            raise Misconfigured(source, "was never captured", fix=f"name one of: {known}")
        store.save(source, resync(record))
