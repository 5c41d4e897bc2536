"""Scanners: one function per value schema that walks a framed envelope once and says where things are.

    before  after  source op ts_ms transaction  unchanged dq
    ^x[..]  ^y[..] ^src   ^op_at               ^end

The row part is generated, column by column: a text is stepped over by its length byte, runs of numbers by one regular
expression. The tail (source to transaction) repeats but for a few numbers and the position, so it is matched by a regular
expression that was learned from an earlier record. A learned pattern is the grammar with constants put in, and Avro
parses in one way only: whatever it matches, it matches as a full walk would. Anything else takes the full walk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.contract import AvroType
from schemas.errors import Rejected
from schemas.wire.code import Code
from schemas.wire.spans import VARINT, Types, far_text, malformed, read_array, read_text
from schemas.wire.varint import read_long

PATTERNS_MAX = 16
_SECTIONS = ["before", "after", "source", "op", "ts_ms", "transaction", "unchanged", "dq"]
_TAIL = {
    "op": "string",
    "ts_ms": ("union", "null", "long"),
    "transaction": ("union", "null", ("record", "string", "long", "long")),
    "unchanged": ("union", "null", ("array", "string")),
    "dq": ("union", "null", ("array", ("record", "string", ("array", "string"), ("union", "null", "string")))),
}
_VARYING = frozenset({"sequence", "gtid"})
"""Texts of the source block that differ from record to record, though not in length."""

_SHORT_TEXT = b"(?>" + b"|".join(re.escape(bytes([2 * size])) + b".{%d}" % size for size in range(64)) + b")"
_STEP_1 = tuple(1 + (size >> 1) if size < 128 and not size & 1 else 0 for size in range(256))
_STEP_2 = tuple(step and step + 1 for step in _STEP_1)


class Mark(NamedTuple):
    """A data-quality mark: a validator's code or a rule's name, the columns it speaks of, their canonical text."""

    code: str
    columns: tuple[str, ...]
    normalised: str | None = None


class Extras(NamedTuple):
    """The two optional fields at the end, where one of them says something."""

    unchanged: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()


Spans = tuple[int, tuple[int, ...] | None, tuple[int, ...] | None, int, int, int, Extras | None]
"""What a scanner returns: op letter as a byte, column boundaries of before and after (None for null), the start of source,
of op, of unchanged, and the extras."""


@dataclass(frozen=True)
class Shape:
    """What an envelope schema says about bytes: the row's columns in order, and the types behind them."""

    schema: Mapping[str, Any]
    types: Types
    columns: tuple[str, ...]
    column_types: Mapping[str, AvroType]

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> Shape:
        """Raises Rejected for a schema that is no envelope of ours."""
        fields = schema.get("fields") or []
        if [field["name"] for field in fields] != _SECTIONS:
            raise Rejected("not_an_envelope", "the schema that the record names is not an envelope's")
        types = Types(schema)
        if any(types.essence(field["type"]) != _TAIL.get(field["name"]) for field in fields[3:]):
            raise Rejected("not_an_envelope", "the schema that the record names has another tail than an envelope's")
        row = types.resolve(fields[0]["type"][1])
        return cls(
            schema=schema,
            types=types,
            columns=tuple(field["name"] for field in row["fields"]),
            column_types={field["name"]: field["type"] for field in row["fields"]},
        )

    def section(self, name: str) -> AvroType:
        """The type of one of the envelope's fields."""
        return self.schema["fields"][_SECTIONS.index(name)]["type"]


class Scanner:
    """`scan(b)` walks one framed envelope. `wanted` are the column boundaries to report: i is the start of column i.

    `slot[i]` is where boundary i stands in the tuples that `scan` returns. `scan` raises Rejected or IndexError for bytes
    that are not what the schema says.
    """

    def __init__(self, shape: Shape, wanted: Iterable[int]) -> None:
        self.shape = shape
        self.wanted = tuple(sorted(set(wanted)))
        self.slot = {boundary: slot for slot, boundary in enumerate(self.wanted)}
        types = shape.types
        self._skip_source = types.skip(shape.section("source"))
        self._skip_times = [types.skip(shape.section(name)) for name in ("ts_ms", "transaction")]
        self._tails: list[Callable[[bytes, int], re.Match[bytes] | None]] = []
        self._learned = 0
        no_tail = re.compile(rb"(?!)").match
        self._code = Code(S1=_STEP_1, S2=_STEP_2, far=far_text, malformed=malformed, slow=self._slow, tail=no_tail)
        self.scan: Callable[[bytes], Spans] = self._code.build(self._lines(), "scan")

    def _lines(self) -> list[str]:
        reported = "(" + "".join(f"a{boundary}, " for boundary in self.wanted) + ")"
        walk = [f"        {line}" for line in self._row()]
        return [
            "def scan(b):",
            "    t = b[5]",
            "    p = 6",
            "    if t == 2:",
            *walk,
            f"        x = {reported}",
            "    elif t:",
            "        raise malformed()",
            "    else:",
            "        x = None",
            "    t = b[p]",
            "    p += 1",
            "    if t == 2:",
            *walk,
            f"        y = {reported}",
            "    elif t:",
            "        raise malformed()",
            "    else:",
            "        y = None",
            "    m = tail(b, p)",
            "    if m is None:",
            "        return slow(b, x, y, p)",
            "    o = m.start(1)",
            "    return b[o + 1], x, y, p, o, m.end(), None",
        ]

    def _row(self) -> list[str]:
        """Lines that take `p` over one row and set a<i> at each wanted boundary."""
        lines: list[str] = []
        run: list[bytes] = []

        def end_run() -> None:
            if run:
                self._walk_pattern(lines, b"".join(run))
                run.clear()

        for index, name in enumerate(self.shape.columns):
            if index in self.slot:
                end_run()
                lines.append(f"a{index} = p")
            avro_type = self.shape.column_types[name]
            pattern = self.shape.types.pattern(avro_type)
            if pattern is not None:
                run.append(pattern)
            else:
                end_run()
                self._walk_column(lines, avro_type)
        end_run()
        if len(self.shape.columns) in self.slot:
            lines.append(f"a{len(self.shape.columns)} = p")
        return lines

    def _walk_pattern(self, lines: list[str], pattern: bytes) -> None:
        name = self._code.keep(re.compile(pattern, re.DOTALL).match)
        lines += [f"m = {name}(b, p)", "if m is None:", "    raise malformed()", "p = m.end()"]

    def _walk_column(self, lines: list[str], avro_type: AvroType) -> None:
        kind = self.shape.types.resolve(avro_type)
        if kind in ("string", "bytes"):
            lines += ["n = S1[b[p]]", "if n:", "    p += n", "else:", "    p = far(b, p)"]
        elif isinstance(kind, Sequence) and not isinstance(kind, str):
            lines.append("t = b[p]")
            # The common branch is tested first: the null comes last.
            order = sorted(range(len(kind)), key=lambda index: kind[index] == "null")
            for place, index in enumerate(order):
                lines.append(f"{'elif' if place else 'if'} t == {2 * index}:")
                lines += [f"    {line}" for line in self._branch(kind[index])]
            lines += ["else:", "    raise malformed()"]
        else:
            lines.append(f"p = {self._code.keep(self.shape.types.skip(avro_type))}(b, p)")

    def _branch(self, branch: AvroType) -> list[str]:
        kind = self.shape.types.resolve(branch)
        if kind == "null":
            return ["p += 1"]
        if kind in ("string", "bytes"):
            return ["n = S2[b[p + 1]]", "if n:", "    p += n", "else:", "    p = far(b, p + 1)"]
        return [f"p = {self._code.keep(self.shape.types.skip(branch))}(b, p + 1)"]

    def _slow(self, b: bytes, x: tuple[int, ...] | None, y: tuple[int, ...] | None, src: int) -> Spans:
        """The full walk of the tail; learns a pattern from it."""
        for tail in self._tails:
            found = tail(b, src)
            if found is not None:
                self._code.names["tail"] = tail
                op_at = found.start(1)
                return b[op_at + 1], x, y, src, op_at, found.end(), None
        op_at = self._skip_source(b, src)
        if b[op_at] != 2 or b[op_at + 1] not in b"crudt":
            raise Rejected("unknown_op", "the envelope's op is none of c, r, u, d, t")
        p = op_at + 2
        for skip in self._skip_times:
            p = skip(b, p)
        end = p
        unchanged, p = _nullable_array(b, p, _text)
        marks, p = _nullable_array(b, p, _mark)
        if p != len(b):
            raise Rejected("trailing_bytes", "the record is longer or shorter than its schema says")
        if unchanged or marks:
            return b[op_at + 1], x, y, src, op_at, end, Extras(tuple(unchanged), tuple(marks))
        if p == end + 2 and self._learned < PATTERNS_MAX:
            self._learned += 1
            tail = re.compile(self._pattern(b, src), re.DOTALL).match
            self._tails = [tail, *self._tails[:3]]
            self._code.names["tail"] = tail
        return b[op_at + 1], x, y, src, op_at, end, Extras() if p != end + 2 else None

    def _pattern(self, b: bytes, p: int) -> bytes:
        """The grammar of the tail with this record's constants put in, for records without extras."""
        parts: list[bytes] = []
        types = self.shape.types
        for field in types.resolve(self.shape.section("source"))["fields"]:
            end = types.skip(field["type"])(b, p)
            pattern = types.pattern(field["type"])
            if pattern is None and field["name"] in _VARYING and b[p : p + 1] == b"\x02":
                text, _ = read_text(b, p + 1)
                head = end - len(text)
                pattern = re.escape(b[p:head]) + b".{%d}" % len(text)
            parts.append(re.escape(b[p:end]) if pattern is None else pattern)
            p = end
        parts += [rb"(\x02[crudt])", types.pattern(self.shape.section("ts_ms")) or rb"\x00"]
        parts.append(rb"(?:\x00|\x02" + _SHORT_TEXT + VARINT + VARINT + rb")(?=\x00\x00\Z)")
        return b"".join(parts)


def _text(b: bytes, p: int) -> tuple[str, int]:
    text, p = read_text(b, p)
    return text.decode("utf-8", "replace"), p


def _mark(b: bytes, p: int) -> tuple[Mark, int]:
    code, p = _text(b, p)
    columns, p = read_array(b, p, _text)
    branch, p = read_long(b, p)
    normalised = None
    if branch:
        normalised, p = _text(b, p)
    return Mark(code, tuple(columns), normalised), p


def _nullable_array(b: bytes, p: int, read_item: Callable[[bytes, int], tuple[Any, int]]) -> tuple[list[Any], int]:
    branch, p = read_long(b, p)
    return read_array(b, p, read_item) if branch else ([], p)
