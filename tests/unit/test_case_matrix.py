"""The table of cases in `tests/README.md` names tests that exist, and each row says something."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent.parent
CASE = re.compile(r"[CDROFHXTW]-\d+|A\d+")
"""X: brothers of a case, found in looking for them. T: tables that are told.
W: what is taken away. A: checks of the exchange hub (HANDBOOK §4 A)."""


def rows() -> Iterator[tuple[str, str, str]]:
    for line in (TESTS / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) >= 3 and CASE.fullmatch(cells[0]):
            yield cells[0], cells[1].strip("`"), cells[2]


def functions_of(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_case_names_a_test_that_exists() -> None:
    for case, test, told in rows():
        for named in test.replace("`", "").split(", "):
            file, _, function = named.partition("::")
            path = TESTS.parent / file
            assert path.is_file(), f"{case}: {file} does not exist"
            assert function.partition("[")[0] in functions_of(path), f"{case}: {named} does not exist"
        assert told, f"{case}: nothing is said of it"
