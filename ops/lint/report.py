"""What `mesh check` found: problems with their place and fix, and what each feed's contract means for what runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.text import Text


class Severity(StrEnum):
    """Whether onboarding is refused."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to mend. `file` is relative to the checked folder, `line` counts from 1, `field` is empty for a whole file."""

    severity: Severity
    file: str
    line: int
    field: str
    message: str
    fix: str


class Standing(StrEnum):
    """How a contract stands to what runs."""

    NEW = "new"
    UNCHANGED = "unchanged"
    SUCCESSOR = "successor"
    BREAKING = "breaking"
    UNKNOWN = "not compared"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedStanding:
    """One feed against what runs: added and dropped columns, and the grants that a change would break."""

    feed: str
    standing: Standing
    added: Sequence[str] = ()
    dropped: Sequence[str] = ()
    broken_grants: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Report:
    """All that was found, in the order of files and lines."""

    folder: str
    problems: list[Problem] = field(default_factory=list[Problem])
    feeds: list[FeedStanding] = field(default_factory=list[FeedStanding])
    grants: int = 0
    limits: list[str] = field(default_factory=list[str])
    """What the delivery policies of sinks mean."""
    sending: list[str] = field(default_factory=list[str])
    """How rows are sent, a command for each feed whose department sends them itself."""

    @property
    def errors(self) -> Sequence[Problem]:
        """What onboarding refuses."""
        return [problem for problem in self.problems if problem.severity is Severity.ERROR]

    @property
    def warnings(self) -> Sequence[Problem]:
        """What should be looked at."""
        return [problem for problem in self.problems if problem.severity is Severity.WARNING]

    @property
    def is_ok(self) -> bool:
        """Whether it may be onboarded."""
        return not self.errors

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "folder": self.folder,
            "is_ok": self.is_ok,
            "problems": [asdict(problem) for problem in self.problems],
            "feeds": [asdict(feed) for feed in self.feeds],
            "grants": self.grants,
            "limits": list(self.limits),
            "sending": list(self.sending),
        }

    def render(self, console: Console | None = None) -> None:
        """Print the report for people."""
        console = console or Console()
        for problem in self.problems:
            style = "bold red" if problem.severity is Severity.ERROR else "yellow"
            head = Text(f"{problem.file}:{problem.line}  ", style="dim")
            head.append(problem.severity, style=style)
            head.append(f"  {problem.field}: " if problem.field else "  ", style="cyan")
            head.append(problem.message)
            console.print(head, soft_wrap=True)
            console.print(Text(f"    fix: {problem.fix}", style="green"), soft_wrap=True)
        for feed in self.feeds:
            if feed.standing is not Standing.UNKNOWN:
                console.print(_words(feed), soft_wrap=True)
        for limit in self.limits:
            console.print(Text(limit, style="dim"), soft_wrap=True)
        for command in self.sending:
            console.print(Text(command), soft_wrap=True)
        counts = (
            f"{len(self.feeds)} feeds, {self.grants} grants: {len(self.errors)} errors, {len(self.warnings)} warnings"
        )
        console.print(Text(counts, style="bold green" if self.is_ok else "bold red"), soft_wrap=True)


def _words(feed: FeedStanding) -> Text:
    styles = {Standing.BREAKING: "bold red", Standing.SUCCESSOR: "cyan", Standing.NEW: "green"}
    text = Text(f"{feed.feed}  ")
    text.append(feed.standing, style=styles.get(feed.standing, "dim"))
    if feed.added:
        text.append(f"  adds {', '.join(feed.added)} (reaches nobody until a grant names it)")
    if feed.dropped:
        text.append(f"  drops {', '.join(feed.dropped)}")
    if feed.broken_grants:
        text.append(f"  breaks {', '.join(feed.broken_grants)}", style="red")
    return text
