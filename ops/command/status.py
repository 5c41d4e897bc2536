"""`mesh status` on the terminal. It imports little: a look at the mesh must not wait for all of its code."""

from __future__ import annotations

import json
import time
from contextlib import closing, suppress

import click
from rich.live import Live

from ops.command.terminal import report_console
from ops.settings import Settings
from ops.watch.incidents import IncidentReader
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader, status
from ops.watch.status_table import render
from ops.watch.told.last_told import LastTold
from schemas.log.control.follower import Follower, read_directory


def show_status(settings: Settings, *, watch: bool, as_json: bool) -> None:
    """Print the status once, or keep it on the terminal until Ctrl-C."""
    if as_json or not watch:
        report = status(settings, read_directory(settings.kafka))
        if as_json:
            click.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2, default=str))
        else:
            report_console().print(render(report))
        return
    with (
        closing(Follower(settings.kafka)) as directory,
        closing(LagReader(settings.kafka)) as lags,
        Live(auto_refresh=False, screen=False) as live,
        suppress(KeyboardInterrupt),
    ):
        reader = StatusReader(
            settings.directory,
            directory,
            lags.read,
            incidents=IncidentReader(settings.kafka),
            lasts=LastTold(settings.kafka),
        )
        while True:
            live.update(render(reader.read()), refresh=True)
            time.sleep(1)
