"""What `gov` says of a record or of a column: class, opening and legal basis, and what it was to say and does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.lint.folder_form import misspelt
from ops.lint.inspected import Inspected
from ops.lint.located import Path

CLASSES = ("UNCONDITIONAL", "CONDITIONAL", "NOT_SHARED")
OPENINGS = ("OPEN", "CONDITIONAL_OPEN", "NOT_OPEN")
UNDECIDED = "DRAFT"
"""A legal basis that starts so was put there by `mesh draft`: a person has yet to decide."""


def look_at_sharing(
    file: Inspected, own: Mapping[str, Any], inherited: Mapping[str, Any], at: Path, field: str
) -> None:
    """Class, opening and legal basis of a record or field; `inherited` is what holds, `own` what is written there."""
    for name, allowed in (("class", CLASSES), ("open", OPENINGS)):
        if name in own and own[name] not in allowed:
            fix = f"use one of {', '.join(allowed)}"
            file.error((*at, name), field, f"gov.{name} is {own[name]!r}", fix)
    basis, holds = inherited.get("basis"), inherited.get("class")
    if holds in {"CONDITIONAL", "NOT_SHARED"} and "class" in own:
        if not isinstance(basis, str) or not basis.strip():
            fix = 'add "basis": "<law, article>" to its gov; without one it may not be withheld or restricted'
            file.error((*at, "class"), field, f"is {holds} without a legal basis", fix)
        elif basis.startswith(UNDECIDED) and ("basis" in own or not field):
            fix = "let the department decide class and legal basis, and write them there"
            file.warn((*at, "basis"), field, f"is {holds} only by the draft's choice", fix)


def look_for_misspelt(file: Inspected, own: Mapping[str, Any], known: frozenset[str], at: Path, field: str) -> None:
    """Names that nobody reads and that are nearly one that is read."""
    for name, meant in misspelt(own, known).items():
        text = f"gov.{name} says nothing to the mesh, so that what it was to say does not hold"
        file.error((*at, name), field, text, f"did you mean {meant}?")
