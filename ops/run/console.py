"""The console as a process: its pages, and what it watches beside them."""

from __future__ import annotations

import logging
from contextlib import closing

from ops.console.frame.sight import Sight
from ops.console.server import Console
from ops.ledger.view import LedgerReader
from ops.ledger.watch import LedgerWatch
from ops.ledger.watch import watching as watch_ledger
from ops.metrics.board import Boards, following
from ops.metrics.flow_metrics import BoardMetrics
from ops.metrics.watch_metrics import LedgerMetrics
from ops.run.parts import Parts
from ops.settings import load_as_command
from ops.watch.incidents import IncidentReader
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader
from ops.watch.told.last_told import LastTold
from schemas.registry.client import RegistryClient


def run_console(parts: Parts) -> None:
    """Serve the pages until the process is to stop."""
    settings, directory = parts.settings, parts.directory()
    lags = parts.enter(closing(LagReader(settings.kafka)))
    reader = StatusReader(
        settings.directory,
        directory,
        lags.read,
        incidents=IncidentReader(settings.kafka),
        lasts=LastTold(settings.kafka),
    )
    boards = Boards(settings.kafka, directory, RegistryClient(settings.registry).schema, BoardMetrics())
    following(boards, parts.stop)
    ledger, standing = LedgerReader(settings), IncidentReader(settings.kafka)
    former = [incident.name for incident in standing().values() if incident.kind == "ledger"]
    watch = LedgerWatch(lambda: ledger.balance(directory()), parts.incidents(directory), former, LedgerMetrics().show)
    watch_ledger(watch, parts.stop)
    # `mesh up` writes the commands' login once all hops run: it is read for each act.
    sight = Sight(reader.read, directory, settings, lambda: load_as_command(settings.directory))
    console = Console(sight, parts.port, parts.entrance())
    console.run(parts.stop, lambda url: logging.getLogger(__name__).info("console: %s", url))
