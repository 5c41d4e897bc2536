"""Printed: the text of a row as the feed's bytes have it, written by the same forms as the database writes its own (form.py).

Nothing of it is capture's: what capture encoded wrongly would else be read back as wrongly, and nobody would see it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from producers.fenced.encoded import reading
from producers.fenced.table import FeedChange
from producers.postgresql.fenced.form import ARRAY, HEX, STORE, TEXT, Form, name_of, without_null
from schemas.contract import AvroType
from schemas.errors import Rejected
from schemas.wire.envelope_walk import BROKEN, envelope_walk
from schemas.wire.walk import Walk, decode

Print = Callable[[Any], bytes]

_FIRST = date(1970, 1, 1).toordinal()
_BEGINNING = datetime(1970, 1, 1)  # noqa: DTZ001 - for what has no zone
_MEMO_SIZE = 20_000
_INFINITE = {
    "infinity": (2**63 - 1, 2**31 - 1, 2**31 - 1),
    "-infinity": (-(2**63), -(2**31), -(2**31)),
}
_INTERVAL = struct.Struct(">qii")


class _Prints(dict[Any, bytes]):
    """Remembers what values print as; stops learning when it is full."""

    __slots__ = ("_print",)

    def __init__(self, printed: Print) -> None:
        self._print = printed

    def __missing__(self, value: Any) -> bytes:
        printed = self._print(value)
        if len(self) < _MEMO_SIZE:
            self[value] = printed
        return printed


class PrintWalk(Walk):
    """Generates what prints the columns of a row. `recode` makes of UTF-8 what the database holds, None where that is UTF-8."""

    def __init__(self, recode: Callable[[bytes], bytes] | None) -> None:
        super().__init__()
        self._recode = recode
        self.scope |= {"recode": recode}

    def columns(self, record: Mapping[str, Any], forms: Mapping[str, Form]) -> list[str]:
        """Lines that read a row; the variables that then hold the print of each form's column, a NULL's where there is none."""
        found: dict[str, str] = {}
        for field in record["fields"]:
            kind, form = field["type"], forms.get(field["name"])
            if form is None:
                self.skip(kind)
                continue
            name = found[field["name"]] = self.fresh()
            if isinstance(kind, list):
                self.union(kind, lambda _index, branch, name=name, form=form: self._take(name, branch, form))
            else:
                self._take(name, kind, form)
        return [found.get(name, repr(null_of(form))) for name, form in forms.items()]

    def _take(self, name: str, kind: AvroType, form: Form) -> None:
        word = name_of(kind)
        if word == "null":
            self.add(f"{name} = {null_of(form)!r}")
        elif word in ("string", "uuid"):
            self._text(name, form)
        elif word in ("int", "long"):
            self._number(name)
            self.add(f"{name} = b'%d|' % {name}")
        elif word == "boolean":
            self.add(f"{name} = b't|' if m[p] else b'f|'", "p += 1")
        elif word in ("float", "double"):
            size = 4 if word == "float" else 8
            self.add(f"{name} = b'\\\\x%b|' % m[p : p + {size}][::-1].hex().encode()", f"p += {size}")
        elif word in _NUMBERS:
            self._number(name)
            self.scope[f"f{name}"] = _Prints(_NUMBERS[word]).__getitem__ if word == "date" else _NUMBERS[word]
            self.add(f"{name} = f{name}({name})")
        else:
            self.scope |= {f"d{name}": decode(self, kind), f"f{name}": _printer(kind, form, self._recode)}
            self.add(f"{name}, p = d{name}(m, p)", f"{name} = f{name}({name})")

    def _number(self, name: str) -> None:
        self.add(f"{name} = m[p]", "p += 1")
        self.block(f"if {name} > 127:", lambda: self.add(f"{name}, p = varint(m, p - 1)"))
        self.add(f"{name} = ({name} >> 1) ^ -({name} & 1)")

    def _text(self, name: str, form: Form) -> None:
        length = self.length()
        self.add(f"{name} = m[p : p + {length}]", f"p += {length}")
        if self._recode is not None:
            self.add(f"{name} = recode({name})", f"{length} = len({name})")
        if form.kind in (TEXT, STORE):
            self.add(f"{name} = b'%d:%b|' % ({length}, {name})")
        elif form.kind == ARRAY:
            self.add(f"{name} = b'=%d:%b||' % ({length}, {name})")
        elif form.kind == HEX:
            self.scope["infinite"] = _infinite
            self.add(f"{name} = infinite({name})")
        else:
            self.add(f"{name} = {name} + b'|'")


def null_of(form: Form) -> bytes:
    """What NULL prints as."""
    return b":|" if form.kind in (TEXT, STORE) else b"|"


def change_reader(
    envelope: Mapping[str, Any], forms: Mapping[str, Form], recode: Callable[[bytes], bytes] | None
) -> Callable[[bytes], FeedChange]:
    """Reads envelopes of one schema. `forms` by field, in the contract's order."""
    walk = PrintWalk(recode)
    return reading(envelope_walk(walk, envelope, lambda record: walk.columns(record, forms)))


def key_reader(
    record: Mapping[str, Any], forms: Mapping[str, Form], recode: Callable[[bytes], bytes] | None
) -> Callable[[bytes], bytes]:
    """Reads keys of one schema. `forms` by field, in the key's order."""
    walk = PrintWalk(recode)
    cells = walk.columns(record, forms)
    compiled = walk.compile("key", f"(({', '.join(cells)},), p)")

    def read(message: bytes) -> bytes:
        try:
            found, end = compiled(message, 5)
        except BROKEN as error:
            raise Rejected("key_not_decodable", type(error).__name__) from error
        if end != len(message):
            raise Rejected("key_not_decodable", "the key does not end where its schema says")
        return b"".join(found)

    return read


# ── single values ────────────────────────────────────────────────────────────────────────────────────────────────────


def _printer(kind: AvroType, form: Form, recode: Callable[[bytes], bytes] | None) -> Print:  # noqa: PLR0911 - a line a kind
    """From a decoded value of one branch to its print."""
    word = name_of(kind)
    match word:
        case "string" | "uuid":
            return lambda value: _measured(_bytes(value, recode))
        case "boolean":
            return lambda value: b"t|" if value else b"f|"
        case "int" | "long":
            return lambda value: b"%d|" % value
        case "decimal":
            scale = int(kind.get("scale", 0))
            return _Prints(lambda raw: _decimal(raw, scale)).__getitem__
        case "bytes":
            return lambda value: b"\\x%b|" % value.hex().encode()
        case "float" | "double":
            pack = struct.Struct(">f" if word == "float" else ">d").pack
            return lambda value: b"\\x%b|" % pack(value).hex().encode()
        case "record":
            return lambda value: _interval(value["micros"], value["days"], value["months"])
        case "array":
            return _listed(kind, form, recode)
        case "map":
            return lambda value: _measured(_bytes(_stored(value), recode))
        case _:
            return _NUMBERS[word]


def _listed(kind: Mapping[str, Any], form: Form, recode: Callable[[bytes], bytes] | None) -> Print:
    (branch,) = without_null(kind["items"])
    assert form.item is not None, "an array's form has its items'"
    printed, null = _printer(branch, form.item, recode), null_of(form.item)
    return lambda values: b"[%b]|" % b"".join(null if value is None else printed(value) for value in values)


def _measured(raw: bytes) -> bytes:
    return b"%d:%b|" % (len(raw), raw)


def _bytes(text: str, recode: Callable[[bytes], bytes] | None) -> bytes:
    raw = text.encode()
    return recode(raw) if recode else raw


def _stored(pairs: Mapping[str, str | None]) -> str:
    """What hstore prints."""
    return ", ".join(f"{_quoted(key)}=>{'NULL' if value is None else _quoted(value)}" for key, value in pairs.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _decimal(raw: bytes, scale: int) -> bytes:
    number = int.from_bytes(raw, "big", signed=True)
    digits = f"{abs(number):0{scale + 1}d}"
    shown = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return b"%b%b|" % (b"-" if number < 0 else b"", shown.encode())


def _interval(micros: int, days: int, months: int) -> bytes:
    return b"\\x%b|" % _INTERVAL.pack(micros, days, months).hex().encode()


def _infinite(text: bytes) -> bytes:
    return _interval(*_INFINITE[text.decode()]) if text.decode() in _INFINITE else text + b"|"


def _day(days: int) -> bytes:
    return b"%b|" % date.fromordinal(days + _FIRST).isoformat().encode()


def _clock(hour: int, minute: int, second: int, micros: int) -> str:
    return f"{hour:02d}:{minute:02d}:{second:02d}" + (f".{micros:06d}".rstrip("0") if micros else "")


def _moment(micros: int, zone: str) -> bytes:
    at = _BEGINNING + timedelta(microseconds=micros)
    clock = _clock(at.hour, at.minute, at.second, at.microsecond)
    return f"{at.year:04d}-{at.month:02d}-{at.day:02d} {clock}{zone}|".encode()


def _time(micros: int) -> bytes:
    seconds, micros = divmod(micros, 1_000_000)
    minutes, second = divmod(seconds, 60)
    return f"{_clock(*divmod(minutes, 60), second, micros)}|".encode()


_NUMBERS: Mapping[str, Print] = {
    "date": _day,
    "local-timestamp-micros": lambda micros: _moment(micros, ""),
    "timestamp-micros": lambda micros: _moment(micros, "+00"),
    "time-micros": _time,
}


def words_of(forms: Iterable[Form]) -> Iterator[Any]:
    """What `concat` is given for these columns, one after the other."""
    for form in forms:
        yield from form.words
