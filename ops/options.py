"""Options that every command of `mesh` takes, each said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
