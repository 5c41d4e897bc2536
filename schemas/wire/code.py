"""Code: a function that is generated for one schema, one grant, one expression: its source, and the values its source names."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any


class Code:
    """Gathers the values that a source refers to, and builds functions of it.

    No author's word may stand in a source: columns, constants and texts are kept as values, and named by `keep`. Built sources
    are known to `linecache`, so that a traceback shows the line that failed.
    """

    def __init__(self, **names: Any) -> None:
        """`names` are values that the source knows by names of its own."""
        self.names: dict[str, Any] = names

    def keep(self, value: Any) -> str:
        """Take a value; the name by which the source refers to it."""
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def build(self, lines: Iterable[str], function: str) -> Callable[..., Any]:
        """Run the source, which defines the function; the function."""
        exec(_compiled("\n".join(lines) + "\n", function), self.names)  # noqa: S102 - templates, numbers and our own names
        return self.names[function]


@lru_cache(maxsize=1024)
def _compiled(source: str, function: str) -> CodeType:
    """Sources recur: grants of one shape, schema versions that differ in a default. Each is compiled and shown once."""
    file = f"<generated {function} {hash(source):x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return compile(source, file, "exec")
