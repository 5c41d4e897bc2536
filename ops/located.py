"""JSON and YAML texts together with the line of each part, so that a problem can name the line to mend."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
_WHITE = " \t\n\r"
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A parsed text. `places` maps a path of keys and indices to its line, from 1; `twice` lists keys given twice."""

    value: Any
    places: Mapping[Path, int]
    twice: tuple[tuple[Path, int], ...] = ()

    def line(self, path: Path) -> int:
        """The line of a part, or of the nearest part around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, 1)


class Unreadable(ValueError):
    """A text that is no JSON or YAML, with the place where reading ended."""

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def read_json(text: str) -> Located:
    """Parse JSON. Raises Unreadable."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        last = len(text.rstrip().splitlines()) or 1  # what is missing at the end is missed on the last written line
        raise Unreadable(error.msg, min(error.lineno, last), error.colno) from error
    except (RecursionError, ValueError) as error:
        raise Unreadable("is nested too deeply" if isinstance(error, RecursionError) else str(error), 1, 1) from error
    scan = _JsonScan(text)
    scan.value(0, ())
    return Located(value=value, places=scan.places, twice=tuple(scan.twice))


@dataclass(slots=True)
class _JsonScan:
    """A second walk over text that is known to be JSON, only for the places."""

    text: str
    places: dict[Path, int] = field(default_factory=dict[Path, int])
    twice: list[tuple[Path, int]] = field(default_factory=list[tuple[Path, int]])
    _line_ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._line_ends = [place for place, character in enumerate(self.text) if character == "\n"]

    def _skip(self, at: int) -> int:
        while at < len(self.text) and self.text[at] in _WHITE:
            at += 1
        return at

    def value(self, at: int, path: Path) -> int:
        """Note where a value and its parts stand; returns the place after it."""
        at = self._skip(at)
        self.places.setdefault(path, bisect_right(self._line_ends, at - 1) + 1)
        if self.text[at] == "{":
            return self._object(at + 1, path)
        if self.text[at] == "[":
            return self._array(at + 1, path)
        return _DECODER.raw_decode(self.text, at)[1]

    def _object(self, at: int, path: Path) -> int:
        at = self._skip(at)
        seen: set[str] = set()
        while self.text[at] != "}":
            at = self._skip(at + 1) if self.text[at] == "," else at
            line = bisect_right(self._line_ends, at - 1) + 1
            key, at = _DECODER.raw_decode(self.text, at)
            inner = (*path, key)
            if key in seen:
                self.twice.append((inner, line))
            seen.add(key)
            self.places[inner] = line
            at = self._skip(self.value(self._skip(at) + 1, inner))
        return at + 1

    def _array(self, at: int, path: Path) -> int:
        at = self._skip(at)
        index = 0
        while self.text[at] != "]":
            at = self._skip(at + 1) if self.text[at] == "," else at
            at = self._skip(self.value(at, (*path, index)))
            index += 1
        return at + 1


def read_yaml(text: str) -> Located:
    """Parse YAML (one document, safe types only). Raises Unreadable."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Unreadable(error.problem or str(error), line, column) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(str(error) or type(error).__name__, 1, 1) from error
    places: dict[Path, int] = {}
    twice: list[tuple[Path, int]] = []
    if node is not None:
        _walk(node, (), places, twice)
    return Located(value=value, places=places, twice=tuple(twice))


def _walk(node: yaml.Node, path: Path, places: dict[Path, int], twice: list[tuple[Path, int]]) -> None:
    places.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, inner in node.value:
            place = (*path, str(key.value))
            places[place] = key.start_mark.line + 1
            if key.value in seen:
                twice.append((place, key.start_mark.line + 1))
            seen.add(key.value)
            _walk(inner, place, places, twice)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*path, index), places, twice)
