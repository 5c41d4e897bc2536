"""Explanation: why one row is, or is not, at a subscriber: one sentence of verdict, then what was looked at, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click

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
        click.secho(self.verdict, bold=True)
        for each in self.looks:
            mark, color = _MARKS[each.standing]
            click.secho(f"  {mark} ", fg=color, nl=False)
            click.echo(f"{each.name}: {each.told}")
            if each.fix:
                click.echo(f"      fix: {each.fix}")


def verdict_of(looks: Sequence[Look]) -> tuple[str, bool | None]:
    """The first step that speaks against decides; then the first that cannot be told."""
    against = next((each for each in looks if each.standing == "no"), None)
    if against is not None:
        return f"It is not at the subscriber: {against.told}.", False
    unsure = next((each for each in looks if each.standing == "open"), None)
    if unsure is not None:
        return f"Whether it is at the subscriber is not known from here: {unsure.told}.", None
    return "It is at the subscriber, as it is in the feed now.", True
