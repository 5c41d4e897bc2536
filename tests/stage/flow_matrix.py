"""Which test upholds which check of the handbook: `python -m tests.stage.flow_matrix` rewrites the table in streams/flows/README.md.

A test names its check: `test_c4_…`. Tests of `tests/unit/streams/flows` run in memory, and once more through the real broker
(tests/broker/test_flow_checks.py).
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "streams" / "flows" / "README.md"
FOLDERS = (ROOT / "tests" / "unit" / "streams" / "flows", ROOT / "tests" / "broker", ROOT / "tests" / "chaos")
NAMED = re.compile(r"test_([c-l]\d)_(\w+)", re.IGNORECASE)
CHECKS = {"C": 7, "D": 3, "E": 9, "F": 5, "G": 8, "H": 6, "I": 5, "J": 6, "K": 7, "L": 1}
BEGIN, END = "<!-- matrix: begin -->\n", "<!-- matrix: end -->\n"


def named_tests() -> dict[str, list[tuple[Path, str]]]:
    """Check to the tests that carry its number, in the order of files and lines."""
    found: dict[str, list[tuple[Path, str]]] = {
        f"{letter}{number}": [] for letter, most in CHECKS.items() for number in range(1, most + 1)
    }
    for folder in FOLDERS:
        for path in sorted(folder.glob("test_*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and (match := NAMED.fullmatch(node.name)):
                    found[match.group(1).upper()].append((path, match.group(2).replace("_", " ")))
    return found


def table() -> str:
    """The matrix in Markdown."""
    lines = ["| check | test |", "|---|---|"]
    for check, tests in named_tests().items():
        files: dict[Path, list[str]] = {}
        for path, words in tests:
            files.setdefault(path, []).append(words)
        cells = [f"`{path.relative_to(ROOT)}`: {'; '.join(words)}" for path, words in files.items()]
        lines.append(f"| {check} | {'<br>'.join(cells) or '**none yet**'} |")
    return "\n".join(lines) + "\n"


def rendered(text: str) -> str:
    """The README with the present matrix in it."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table() + END + tail


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
