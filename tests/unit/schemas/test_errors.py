"""The tree of errors, and the move that each asks for."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from schemas import errors
from schemas.errors import (
    ContractBroken,
    Fenced,
    MeshError,
    Misconfigured,
    Move,
    Rejected,
    Transient,
    asked_seconds,
    next_move,
)

ROOT = Path(errors.__file__).parent.parent
PRODUCT = ("schemas", "producers", "streams", "sinks", "ops")


@pytest.mark.parametrize(
    ("error", "move"),
    [
        (Transient("away"), Move.RETRY),
        (Rejected("numeric_nan"), Move.DEAD_LETTER),
        (ContractBroken("a.b", "has lost a column"), Move.STOP),
        (Misconfigured("MESH_KAFKA", "is empty", fix="set it"), Move.STOP),
        (Fenced("another process took over"), Move.START_AFRESH),
        (MeshError("of no branch"), Move.CRASH),
        (KeyError("x"), Move.CRASH),
    ],
)
def test_every_branch_has_its_move_and_the_rest_crashes(error: Exception, move: Move) -> None:
    assert next_move(error) is move


def test_how_long_to_wait_is_asked_by_those_only_who_say_so() -> None:
    assert asked_seconds(Transient("away", retry_after_seconds=3.0)) == 3.0
    assert asked_seconds(Transient("away")) is None
    assert asked_seconds(KeyError("x")) is None


def test_the_tree_is_drawn_as_it_is() -> None:
    parents = {
        node.name: base.id
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for base in node.bases[:1]
        if isinstance(base, ast.Name)
    }
    ours = {"MeshError"}
    while found := {name for name, parent in parents.items() if parent in ours} - ours:
        ours |= found
    drawn: dict[str, str] = {}
    branch = ""
    for indent, name in re.findall(r"^    ((?:│   )?)[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE):
        drawn[name] = branch if indent else "MeshError"
        branch = branch if indent else name
    assert drawn == {name: parents[name] for name in ours - {"MeshError"}}
