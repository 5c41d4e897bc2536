"""Names that are known, in what a person reads: those close to one that is not there, or a few of many."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

FEW = 12
"""So many are taken in at a glance; a city has hundreds of feeds."""


def did_you_mean(name: str, known: Collection[str], otherwise: str = "") -> str:
    """The fix for a name that is not there; `otherwise`, where none is close: what lists them all."""
    if close := get_close_matches(name, known):
        return f"did you mean {' or '.join(f'`{each}`' for each in close)}?"
    return otherwise or (f"use one of {few(known)}" if known else "there is none yet")


def few(names: Iterable[str], most: int = FEW) -> str:
    """The first of them, and how many more there are; empty when there are none."""
    every = list(names)
    shown = ", ".join(every[:most])
    return f"{shown} and {len(every) - most} more" if len(every) > most else shown
