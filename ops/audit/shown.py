"""Shown: lines of the audit as people look for them, and the file that they take along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import click
from rich.table import Table as Grid
from rich.text import Text

from ops.audit.chain import Head, Line
from ops.audit.trail import end_of_trail, read_trail
from ops.audit.verify import Verified, lines_of, verify
from ops.command.terminal import SHANGHAI, report_console
from ops.host.private import fresh_private
from ops.settings import Settings
from schemas.log.topics import ensure_control_topics

SHOWN_APART = frozenset({"seq", "previous", "seen", "taken_up", "hash", "who", "what", "when", "subject"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines are asked for. `subject` and `what` may hold `*` for anything; None is all."""

    subject: str | None = None
    what: str | None = None
    by: str | None = None
    since: datetime | None = None

    def has(self, line: Line) -> bool:
        """Whether a line is one of them."""
        return (
            (self.subject is None or fnmatchcase(str(line.get("subject", "")), self.subject))
            and (self.what is None or fnmatchcase(str(line.get("what", "")), self.what))
            and (self.by is None or line.get("who") == self.by)
            and (self.since is None or _when(line) >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """Lines of the audit, oldest first."""

    lines: Sequence[Line]

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        return {"lines": [dict(line) for line in self.lines]}

    def render(self) -> None:
        """For people."""
        table = Grid("line", "when", "who", "what", "subject", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        for line in self.lines:
            more = {name: value for name, value in line.items() if name not in SHOWN_APART}
            told = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in more.items())
            when = _when(line).astimezone(SHANGHAI).isoformat(" ", "seconds").removesuffix("+08:00")
            cells = (
                line.get("seq", "-"),
                when,
                line.get("who", ""),
                line.get("what", ""),
                line.get("subject", ""),
                told,
            )
            table.add_row(*(Text(str(cell)) for cell in cells))
        report_console().print(table)
        click.echo(f"{len(self.lines)} lines", err=True)


def listed(settings: Settings, wanted: Wanted) -> Listed:
    """The lines that are asked for."""
    ensure_control_topics(settings.kafka)
    return Listed([line for each in read_trail(settings.kafka) if wanted.has(line := each.line)])


def export(settings: Settings, path: Path) -> Verified:
    """Write every line to a file, as it stands there, and say what it was found to be. It is there whole, or not at all."""
    ensure_control_topics(settings.kafka)
    partial = fresh_private(path, "")
    try:
        with partial.open("wb") as file:
            file.writelines(each.text + b"\n" for each in read_trail(settings.kafka))
        verified = verified_file(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return verified


def verified_file(path: Path, noted: Head | None = None, running: Head | None = None) -> Verified:
    """Verify an export. Raises Misconfigured where it is empty."""
    with path.open("rb") as file:
        return verify(lines_of(file), noted, running)


def verified_mesh(settings: Settings, noted: Head | None = None) -> Verified:
    """Verify what the running mesh has; places are offsets there."""
    ensure_control_topics(settings.kafka)
    return verify(_places(settings), noted)


def head_of(settings: Settings) -> Head:
    """Where the running mesh's chain ends now."""
    ensure_control_topics(settings.kafka)
    return end_of_trail(settings.kafka).head


def _places(settings: Settings) -> Iterator[tuple[int, bytes]]:
    return ((each.offset, each.text) for each in read_trail(settings.kafka))


def _when(line: Line) -> datetime:
    try:
        return datetime.fromisoformat(str(line.get("when")))
    except ValueError:
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")
