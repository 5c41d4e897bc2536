"""Every check of the handbook (HANDBOOK §4) that a flow's unit tests make in memory, once more through the real broker."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.stage.broker_rehearsal import BrokerRehearsal

FOLDER = Path(__file__).parent.parent / "unit" / "streams" / "flows"
CHECK = re.compile(r"test_[a-l]\d+_", re.IGNORECASE)
IN_MEMORY = "in_memory_only"
"""Name of a test's attribute that says why a broker would add nothing but hours: thousands of interleavings."""


def checks() -> Iterator[Any]:
    """Every check function of every flow, with each of its parameter sets."""
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(f"tests.unit.streams.flows.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not CHECK.match(name) or hasattr(function, IN_MEMORY) or hasattr(function, "hypothesis"):
                continue
            for label, values in parameters(function):
                yield pytest.param(module, function, values, id=f"{path.stem[5:]}-{name[5:]}{label}")


def parameters(function: Callable[..., Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `parametrize` gives a check, with a label for each set."""
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    for sets in itertools.product(*(mark.args[1] for mark in marks)):
        values: dict[str, Any] = {}
        for mark, given in zip(marks, sets, strict=True):
            names = mark.args[0].split(",") if isinstance(mark.args[0], str) else list(mark.args[0])
            one = getattr(given, "values", given) if isinstance(given, type(pytest.param())) else given
            values |= dict(zip((name.strip() for name in names), one if len(names) > 1 else [one], strict=True))
        yield "".join(f"-{value}" for value in values.values() if isinstance(value, str | int)), values


@pytest.mark.parametrize(("module", "check", "values"), list(checks()))
def test_through_the_broker(
    module: ModuleType,
    check: Callable[..., Any],
    values: dict[str, Any],
    rehearsal: type[BrokerRehearsal],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(module, "Rehearsal", rehearsal)

    def given(name: str) -> Any:
        """What a check asks for: a value of its own, a fixture of its module, or one of everybody's."""
        if name in values:
            return values[name]
        fixture = getattr(module, name, None)
        if fixture is None:
            return request.getfixturevalue(name)
        function = fixture._get_wrapped_function()
        made = function(*map(given, inspect.signature(function).parameters))
        if not inspect.isgenerator(made):
            return made
        ending.append(made)
        return next(made)

    ending: list[Any] = []
    check(*map(given, inspect.signature(check).parameters))
    for fixture in ending:  # what a fixture checks of a rehearsal that is over
        assert next(fixture, None) is None
