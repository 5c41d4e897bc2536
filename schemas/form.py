"""Form: what people may write into a mapping, said once by a frozen dataclass: names, types, units, bounds.

The options of each kind of source and sink, and the files of agencies and subscribers, are such dataclasses. `examine` finds
everything that is wrong, each with its place and with what may stand there, for `mesh check`; `read` is the same at run time
and raises. So what check lets pass is what runs.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class PostgresOptions:
        retained_warning_bytes: Annotated[Bytes, Between(1)] = 2 << 30     # 2147483648, "2GB"
        format: Literal["jsonl", "csv"] = "jsonl"
        schedule_seconds: Annotated[tuple[Seconds, ...], Between(1)] = (1.0, 5.0)      # a list of one or more, 1 or "1s"

A size may be a number of bytes or have a unit (kB, MB, GB, TB, each 1024 of the last, as PostgreSQL's settings have them); a
time a number of seconds or a unit (ms, s, min, h, d). A field without default is required; `needed` says why. Texts never
quote a value: an option may hold what nobody else is to read.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from schemas.errors import Misconfigured

Path = tuple[str | int, ...]
T = TypeVar("T")
_NOTHING: Any = object()
"""What could not be read."""


class Unit(Enum):
    """What a number counts, with the units that may be written behind it."""

    BYTES = "bytes"
    SECONDS = "seconds"


Bytes = Annotated[int, Unit.BYTES]
Seconds = Annotated[float, Unit.SECONDS]

_UNITS: Mapping[Unit, Mapping[str, float]] = {
    Unit.BYTES: {
        "": 1,
        "b": 1,
        **{name: 1024**power for power, letter in enumerate("kmgt", 1) for name in (f"{letter}b", f"{letter}ib")},
    },
    Unit.SECONDS: {"": 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400},
}
_WORDS = {
    Unit.BYTES: "a size such as 512MB or 4GB, or a whole number of bytes",
    Unit.SECONDS: "a time such as 500ms, 30s or 5min, or a number of seconds",
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of a number, or of how many entries a list has, both inclusive; None is open."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A value with a form of its own. `parse` raises ValueError; `words` say what may stand there, such as "a network"."""

    parse: Callable[[Any], Any]
    words: str


@dataclass(frozen=True, slots=True)
class FormFault:
    """One thing that is wrong: where (names and indices from the form's root), what, and what to write instead."""

    path: Path
    message: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """The form of a kind that has none."""


def needed(why: str, fix: str = "") -> Any:
    """A required field. `why` continues "has no <name>: "."""
    return field(metadata={"why": why, "fix": fix})


def examine(form: type[T], given: Any, what: str) -> tuple[T | None, list[FormFault]]:
    """What the form reads out of a mapping (None when it cannot), and every fault. `what` names a field: "option of a sink"."""
    faults: list[FormFault] = []
    value = _Reading(what, faults).record(form, given, ())
    return (None if faults or value is _NOTHING else value), faults


def read(form: type[T], given: Any, subject: str, what: str = "option") -> T:
    """The same at run time. Raises Misconfigured with the subject, naming every fault."""
    value, faults = examine(form, given, what)
    if value is None or faults:
        places = ", ".join(dict.fromkeys(_shown(fault.path) for fault in faults))
        text = "; ".join(fault.message for fault in faults)
        fix = "; ".join(dict.fromkeys(fault.fix for fault in faults))
        raise Misconfigured(f"{subject}, {places}" if places else subject, text, fix=fix)
    return value


def names_of(form: type[Any]) -> tuple[str, ...]:
    """The names that the form knows, in its order."""
    return tuple(entry.name for entry in fields(form))


def nearest(name: str, names: Sequence[str]) -> str:
    """The fix for a name that is not there: the nearest right one, else all of them."""
    close = get_close_matches(name.lower(), names, 1)
    if close:
        return f"did you mean {close[0]}?"
    return f"use one of {', '.join(names)}" if names else "remove it: there are none"


def words_of(hint: Any) -> str:
    """What may stand there, in words."""
    kind, extras = _unwrapped(hint)
    for extra in extras:
        if isinstance(extra, Written):
            return extra.words
    bounds = next((extra for extra in extras if isinstance(extra, Between)), Between())
    unit = next((extra for extra in extras if isinstance(extra, Unit)), None)
    words = _WORDS[unit] if unit else _SIMPLE.get(kind)
    return words + _bounds_words(bounds) if words else _words_of_many(kind, bounds)


_SIMPLE: Mapping[Any, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _words_of_many(kind: Any, bounds: Between) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is tuple:
        return f"a list{' of one or more' if bounds.least else ''}; each is {words_of(arguments[0])}"
    if origin is not None:
        return f"an object of names and values; each is {words_of(arguments[1])}"
    return "an object of names and values"


class _Reading:
    """One walk through what was written. Collects faults."""

    def __init__(self, what: str, faults: list[FormFault]) -> None:
        self._what = what
        self._faults = faults

    def record(self, form: type[Any], given: Any, path: Path) -> Any:
        """A dataclass from a mapping."""
        if not isinstance(given, Mapping):
            self._fault(path, f"{_shown(path) or 'it'} is no object of names and values", "write `name: value` there")
            return _NOTHING
        known = _fields(form)
        before = len(self._faults)
        names = {entry.metadata.get("name", entry.name): entry.name for entry, _ in known.values()}
        for name in given:
            if name not in names:
                self._fault((*path, str(name)), f"there is no {self._what} {name}", nearest(str(name), list(names)))
        values: dict[str, Any] = {}
        for shown, name in names.items():
            entry, hint = known[name]
            if shown in given and (given[shown] is not None or not _is_optional(hint)):
                values[name] = self.value(hint, given[shown], (*path, shown))
            elif entry.default is MISSING and entry.default_factory is MISSING:
                self._missing(entry, shown, hint, path)
        return form(**values) if len(self._faults) == before else _NOTHING

    def value(self, hint: Any, given: Any, path: Path) -> Any:
        """One value by its type."""
        kind, extras = _unwrapped(hint)
        written = next((extra for extra in extras if isinstance(extra, Written)), None)
        try:
            if written is not None:
                return written.parse(given)
            if is_dataclass(kind):
                return self.record(cast(type, kind), given, path)
            value = self._plain(kind, extras, given, path)
        except (ValueError, TypeError, OverflowError):
            value = _NOTHING
            self._wrong(hint, path, given)
        if value is not _NOTHING and not _is_within(value, extras):
            self._wrong(hint, path, given)
            return _NOTHING
        return value

    def _plain(self, kind: Any, extras: Sequence[Any], given: Any, path: Path) -> Any:
        """A value by a type that is no record. Raises ValueError for another."""
        unit = next((extra for extra in extras if isinstance(extra, Unit)), None)
        if unit is not None:
            return _quantity(given, unit, is_whole=kind is int)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is tuple:
            _expect(given, list)
            entries = [self.value(arguments[0], entry, (*path, index)) for index, entry in enumerate(given)]
            return _NOTHING if any(entry is _NOTHING for entry in entries) else tuple(entries)
        if origin is Literal:
            _expect(given, str)
            return arguments[arguments.index(given)]
        if origin is not None:
            _expect(given, Mapping)
            read = {_expect(name, str): self.value(arguments[1], entry, (*path, name)) for name, entry in given.items()}
            return _NOTHING if any(entry is _NOTHING for entry in read.values()) else read
        if kind is float and type(given) is int:
            return float(given)
        return _expect(given, kind)

    def _missing(self, entry: Field[Any], name: str, hint: Any, path: Path) -> None:
        why, fix = entry.metadata.get("why", ""), entry.metadata.get("fix", "")
        self._fault(path, f"has no {name}" + (f": {why}" if why else ""), fix or f"add `{name}:`, {words_of(hint)}")

    def _wrong(self, hint: Any, path: Path, given: Any) -> None:
        words = words_of(hint)
        kind, _ = _unwrapped(hint)
        choices = [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []
        close = nearest(given, choices) if choices and isinstance(given, str) else ""
        fix = f"{close} It is {words}" if close.startswith("did") else f"write {words}"
        self._fault(path, f"{_shown(path)} is not {words}", fix)

    def _fault(self, path: Path, message: str, fix: str) -> None:
        self._faults.append(FormFault(path, message, fix))


@cache
def _fields(form: type[Any]) -> Mapping[str, tuple[Field[Any], Any]]:
    hints = get_type_hints(form, include_extras=True)
    return {entry.name: (entry, hints[entry.name]) for entry in fields(form)}


def _unwrapped(hint: Any) -> tuple[Any, Sequence[Any]]:
    """A type without Annotated and without its None, and the annotations."""
    extras: list[Any] = []
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            extras += more
        elif _is_optional(hint) and len(get_args(hint)) == 2:
            [hint] = [branch for branch in get_args(hint) if branch is not type(None)]
        else:
            return hint, extras


def _expect(given: Any, kind: Any) -> Any:
    """The value, of exactly that type. Raises ValueError: true is no number, and NaN is none either."""
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
        raise ValueError
    if is_number and not math.isfinite(given):
        raise ValueError
    return given


def _is_optional(hint: Any) -> bool:
    return get_origin(hint) in {Union, types.UnionType} and type(None) in get_args(hint)


def _quantity(given: Any, unit: Unit, *, is_whole: bool) -> float:
    if isinstance(given, str):
        match = _QUANTITY.fullmatch(given)
        if match is None or match[2].lower() not in _UNITS[unit]:
            raise ValueError
        given = float(match[1]) * _UNITS[unit][match[2].lower()]
    number = _expect(given, int | float)
    if is_whole and number != int(number):
        raise ValueError
    return int(number) if is_whole else float(number)


def _is_within(value: Any, extras: Sequence[Any]) -> bool:
    bounds = next((extra for extra in extras if isinstance(extra, Between)), None)
    if bounds is None:
        return True
    number = len(value) if isinstance(value, tuple | Mapping) else value
    return (bounds.least is None or number >= bounds.least) and (bounds.most is None or number <= bounds.most)


def _bounds_words(bounds: Between) -> str:
    if bounds.least is not None and bounds.most is not None:
        return f", from {bounds.least:g} to {bounds.most:g}"
    if bounds.least is not None:
        return f", {bounds.least:g} or more"
    return f", {bounds.most:g} at most" if bounds.most is not None else ""


def _shown(path: Path) -> str:
    return ".".join(map(str, path))
