"""What every command of `mesh` has: options, and how it prints what it did; each said once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import click

from ops.settings import DEFAULT_DIRECTORY

_Command = Callable[..., Any]


def dir_option(command: _Command) -> _Command:
    """`--dir D`, given as `directory`."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_DIRECTORY,
        envvar="MESH_DIR",
        show_default=True,
        show_envvar=True,
        help="The mesh's directory: state, logs, connections.",
    )(command)


def json_option(command: _Command) -> _Command:
    """`--json`, given as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")(command)


class Outcome(Protocol):
    """What a command did."""

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        ...

    def render(self) -> None:
        """Print it for people."""
        ...


def print_outcome(outcome: Outcome, as_json: bool) -> None:
    """Print what a command did, for people or for scripts."""
    if as_json:
        click.echo(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2))
    else:
        outcome.render()


class Reports(Protocol):
    """What a command did, in lines."""

    def to_json(self) -> Any:
        """For scripts."""
        ...

    def lines(self) -> list[str]:
        """For people."""
        ...


def print_lines(outcome: Reports, as_json: bool) -> None:
    """Print what a command did, line by line for people, or for scripts."""
    if as_json:
        click.echo(json.dumps(outcome.to_json(), ensure_ascii=False, indent=2))
        return
    for line in outcome.lines():
        click.echo(line)
