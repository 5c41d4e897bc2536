"""`mesh status` and `mesh top` on the terminal. They import little: a look at the mesh must not wait for all of its code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import click
from rich.console import RenderableType
from rich.live import Live

from ops.command.terminal import report_console
from ops.settings import Settings
from ops.show.overview import overview
from ops.show.top import render as render_overview
from ops.watch.incidents import IncidentReader
from ops.watch.lag import LagReader
from ops.watch.status import StatusReader, status
from ops.watch.status_report import Status
from ops.watch.status_table import render
from ops.watch.told.last_told import LastTold
from schemas.agreement.directory import Directory
from schemas.log.control.follower import Follower, read_directory

View = Callable[[Status, Directory], RenderableType]


def show_status(settings: Settings, *, watch: bool, as_json: bool) -> None:
    """Print the status once, or keep it on the terminal until Ctrl-C."""
    _show(settings, lambda report, _: render(report), Status.to_json, watch=watch, as_json=as_json)


def show_top(settings: Settings, *, watch: bool, as_json: bool) -> None:
    """Print the overview once, or keep it on the whole terminal until Ctrl-C."""
    _show(
        settings,
        lambda report, directory: render_overview(overview(report), directory),
        lambda report: overview(report).to_json(),
        watch=watch,
        as_json=as_json,
        is_whole_screen=True,
    )


def _show(
    settings: Settings,
    view: View,
    to_json: Callable[[Status], Any],
    *,
    watch: bool,
    as_json: bool,
    is_whole_screen: bool = False,
) -> None:
    if as_json or not watch:
        agreed = read_directory(settings.kafka)
        report = status(settings, agreed)
        if as_json:
            click.echo(json.dumps(to_json(report), ensure_ascii=False, indent=2, default=str))
        else:
            report_console().print(view(report, agreed))
        return
    with (
        closing(Follower(settings.kafka)) as directory,
        closing(LagReader(settings.kafka)) as lags,
        Live(auto_refresh=False, screen=is_whole_screen) as live,
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
            live.update(view(reader.read(), directory()), refresh=True)
            time.sleep(1)
