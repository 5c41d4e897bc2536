"""JSON and YAML texts together with the line of each part, so that a problem can name the line to mend."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
_WHITE = " \t\n\r"
_DECODER = json.JSONDecoder()
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')

CHARACTERS_MAX = 8_000_000
DEPTH_MAX = 100
PARTS_MAX = 200_000


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
    _check_size(text)
    _check_depth_of_json(text)
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
    _check_size(text)
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _check_aliases(node)
        value = yaml.safe_load(text)
    except Unreadable:
        raise
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


def _check_size(text: str) -> None:
    if len(text) > CHARACTERS_MAX:
        raise Unreadable(f"has more than {CHARACTERS_MAX} characters", 1, 1)


def _check_depth_of_json(text: str) -> None:
    depth = 0
    for match in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > DEPTH_MAX:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            raise Unreadable(f"is nested deeper than {DEPTH_MAX} levels", line, column)


def _check_events(text: str) -> None:
    """Refuse what is nested deeply before anything walks it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            mark = event.start_mark
            raise Unreadable(f"is nested deeper than {DEPTH_MAX} levels", mark.line + 1, mark.column + 1)


def _check_aliases(root: yaml.Node) -> None:
    """Refuse aliases that would make a small text a large one: each level of them multiplies what it names."""
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node) -> int:
        known = sizes.get(id(node))
        if known is None:
            sizes[id(node)] = PARTS_MAX + 1  # until it is known: whoever contains itself has no end
            sizes[id(node)] = known = 1 + sum(map(size_of, _parts_of(node)))
        if known > PARTS_MAX:
            mark = node.start_mark
            text = f"names parts by aliases (*) so that it has more than {PARTS_MAX} parts or no end; write them out"
            raise Unreadable(text, mark.line + 1, mark.column + 1)
        return known

    size_of(root)


def _parts_of(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


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
