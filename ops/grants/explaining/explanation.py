"""Explanation: why one row is, or is not, at a subscriber: one sentence of verdict, then what was looked at, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.text import Text

from ops.command.terminal import report_console

Standing = Literal["yes", "no", "open"]
"""Whether a step speaks for the row being there, against it, or cannot be told from here."""
_MARKS: Mapping[Standing, tuple[str, str]] = {"yes": ("✓", "green"), "no": ("✗", "red"), "open": ("·", "yellow")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One step: what was looked at, whether it speaks for the row being there, what was found, and what to do about it."""

    name: str
    standing: Standing
    told: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`is_there`: whether the subscriber has the row as it is now; None where that is not known from here."""

    grant_id: str
    verdict: str
    is_there: bool | None
    looks: Sequence[Look]

    def to_json(self) -> Mapping[str, Any]:
        """For scripts; no value of a column tagged PII."""
        steps = [asdict(each) for each in self.looks]
        return {"grant_id": self.grant_id, "verdict": self.verdict, "is_there": self.is_there, "steps": steps}

    def render(self) -> None:
        """For people."""
        console = report_console()
        console.print(Text(self.verdict, "bold"), soft_wrap=True)
        for each in self.looks:
            mark, color = _MARKS[each.standing]
            console.print(Text.assemble("  ", (mark, color), f" {each.name}: {each.told}"), soft_wrap=True)
            if each.fix:
                console.print(Text(f"      fix: {each.fix}"), soft_wrap=True)


def verdict_of(looks: Sequence[Look]) -> tuple[str, bool | None]:
    """The first step that speaks against decides; then the first that cannot be told."""
    against = next((each for each in looks if each.standing == "no"), None)
    if against is not None:
        return f"It is not at the subscriber: {against.told}.", False
    unsure = next((each for each in looks if each.standing == "open"), None)
    if unsure is not None:
        return f"Whether it is at the subscriber is not known from here: {unsure.told}.", None
    return "It is at the subscriber, as it is in the feed now.", True
