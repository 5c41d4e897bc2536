"""Inspected: one file of a folder, and the problems found in it so far."""

from __future__ import annotations

from typing import Any

from ops.lint.located import Located, Path
from ops.lint.report import Problem, Severity
from schemas.errors import Misconfigured
from schemas.form import examine


class Inspected:
    """`problems` is in the order in which they were found; what is given twice is one from the beginning."""

    def __init__(self, name: str, located: Located) -> None:
        self._name = name
        self.located = located
        self.problems: list[Problem] = []
        for path, line in located.twice:
            self.error(path, "", f"{path[-1]} is given twice; the first is lost", "keep one", line)

    def error(self, path: Path, field: str, message: str, fix: str, line: int | None = None) -> None:
        """Note what onboarding refuses, at its place."""
        self._add(Severity.ERROR, path, field, message, fix, line)

    def warn(self, path: Path, field: str, message: str, fix: str, line: int | None = None) -> None:
        """Note what is better mended."""
        self._add(Severity.WARNING, path, field, message, fix, line)

    def _add(self, severity: Severity, path: Path, field: str, message: str, fix: str, line: int | None) -> None:
        at = self.located.line(path) if line is None else line
        self.problems.append(
            Problem(severity=severity, file=self._name, line=at, field=field, message=message, fix=fix)
        )

    def reject(self, path: Path, field: str, error: Misconfigured) -> None:
        """Note what a part of the product refuses, in its words."""
        self.error(path, field, str(error.args[0]), error.fix)

    def is_unlike(self, form: type[Any], value: Any, at: Path, what: str, field: str = "") -> bool:
        """Whether a part of the file is not as its form says; each difference is a problem on its line."""
        _, faults = examine(form, value, what)
        for fault in faults:
            self.error((*at, *fault.path), field, fault.message, fault.fix)
        return bool(faults)

    @property
    def has_errors(self) -> bool:
        """Whether onboarding would refuse it."""
        return any(problem.severity is Severity.ERROR for problem in self.problems)
