"""Conduct: how long an office takes over a question, and what goes wrong with it. A pure function of seed and question.

So an office that is started again treats what waits as it would have before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from random import Random


class Slip(Enum):
    """What goes wrong, if anything does. MISSPELT: an answer in words that its contract does not know."""

    NONE = auto()
    SILENT = auto()
    LATE = auto()
    WRONG = auto()
    NEED_INFO = auto()
    MISSPELT = auto()
    CONTRADICTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """Shares of questions that go wrong, and the days that one usually takes."""

    silent: float = 0.004
    late: float = 0.01
    wrong: float = 0.01
    need_info: float = 0.0055
    misspelt: float = 0.0005
    contradicted: float = 0.003
    least_days: float = 0.05
    most_days: float = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How one question goes: `wait` counts from when it was asked, from its deadline if LATE; `next_wait` from the first answer.

    `choice` in [0, 1) is for whatever else is left to chance.
    """

    slip: Slip
    wait: timedelta
    next_wait: timedelta
    choice: float


def conduct(seed: int, question: str, habits: Habits) -> Conduct:
    """How the office of this seed treats this question."""
    rng = Random(f"{seed}|{question}")  # noqa: S311 - reproducible on purpose, guards nothing
    span = habits.most_days - habits.least_days
    return Conduct(
        slip=_slip(rng.random(), habits),
        wait=timedelta(days=habits.least_days + rng.random() * span),
        next_wait=timedelta(days=habits.least_days + rng.random() * span * 2),
        choice=rng.random(),
    )


def _slip(draw: float, habits: Habits) -> Slip:
    for slip, share in (
        (Slip.SILENT, habits.silent),
        (Slip.LATE, habits.late),
        (Slip.WRONG, habits.wrong),
        (Slip.NEED_INFO, habits.need_info),
        (Slip.MISSPELT, habits.misspelt),
        (Slip.CONTRADICTED, habits.contradicted),
    ):
        if draw < share:
            return slip
        draw -= share
    return Slip.NONE
