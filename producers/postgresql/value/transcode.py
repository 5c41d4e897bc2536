"""The transcoder: one generated function per relation version, from PostgreSQL's binary tuples to Avro bytes.

Transcode, don't decode: text is copied, integers become varints, no dict and no object in between. The function
is straight-line Python written for exactly these columns: fixed-width neighbours are unpacked by one struct call together
with the header of the column behind them, small results come from tables, recurring numerics and dates from a bounded memo.
The same templates serve both dialects in which PostgreSQL sends a row, the log's and the snapshot's, so that both give the
same bytes (PG-21):

| dialect  | a value                                         | null       | not sent   |
|----------|-------------------------------------------------|------------|------------|
| pgoutput | `b`, length as int32, bytes                     | `n`        | `u`        |
| copy     | length as int32, bytes                          | length -1  | never      |
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from producers.postgresql.value.avro import Encode, Misfit, Unmapped, encoder
from producers.postgresql.value.encoding import reason_of, to_utf8
from producers.postgresql.value.tuple import TEXTUAL_TYPES, TupleColumn, Tuples
from schemas.contract import Contract, Field
from schemas.errors import ContractBroken, Rejected
from schemas.wire.code import Code
from schemas.wire.envelope import frame
from schemas.wire.varint import LAST, LAST_IN_UNION, MORE, MORE_IN_UNION, varint, varint_in_union

Row = Callable[[bytes, int], tuple[bytes, bytes, int]]
"""From a message and the offset of its first column to the Avro row, the framed key, and where the tuple ends.

Raises Unsent when a value is in no binary form; Rejected when a value fits no branch of its field. The message must be
followed by PADDING: the look-ahead of a short tuple reads past its end.
"""
MEMO_SIZE = 20_000


class Unsent(Exception):
    """The tuple has a column that was not sent, or was sent as text: `Tuples.mend` makes it whole first."""


class _Memo(dict[Any, bytes]):
    """Remembers encodings of values that recur; stops learning when it is full."""

    __slots__ = ("_encode",)

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode

    def __missing__(self, value: Any) -> bytes:
        encoded = self._encode(value)
        if len(self) < MEMO_SIZE:
            self[value] = encoded
        return encoded


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one column is written.

    `code` is its struct code, empty when its width varies; `lines` the body for a value, `null` for NULL; `parts` are the
    names whose bytes are the encoded field, none for a column that no field takes.
    """

    index: int
    code: str
    lines: tuple[str, ...] = ()
    null: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()


_CODES = {
    "bool": "?",
    "int2": "h",
    "int4": "i",
    "oid": "I",
    "int8": "q",
    "float4": "4s",
    "float8": "8s",
    "date": "i",
    "timestamp": "q",
    "timestamptz": "q",
    "time": "q",
    "uuid": "16s",
}
_RECURRING = frozenset({"numeric", "inet", "bit", "varbit"})
# In a template {i} is the column, {t} LAST or LAST_IN_UNION, {m} MORE or MORE_IN_UNION; the result is c{i}.
_INTEGER = (
    "if 0 <= v{i} < 134217728:",
    "    z = v{i} + v{i}",
    "    c{i} = {t}[z] if z < 65536 else {m}[z & 16383] + LAST[z >> 14]",
    "elif 0 < v{i} < 2199023255552:",
    "    z = v{i} + v{i}",
    "    c{i} = {m}[z & 16383] + MORE[z >> 14 & 16383] + LAST[z >> 28]",
    "elif -32768 <= v{i} < 0:",
    "    c{i} = {t}[-v{i} - v{i} - 1]",
    "else:",
    "    c{i} = far{i}(v{i})",
)
_MOMENT = (
    "z = v{i} + v{i} + 1893369600000000",  # twice the microseconds between 1970 and 2000, PostgreSQL's zero
    "if 4398046511104 <= z < 288230376151711744:",  # 1970-01-26 to the year 6536: eight bytes in 14-bit pieces
    "    c{i} = {m}[z & 16383] + MORE[z >> 14 & 16383] + MORE[z >> 28 & 16383] + LAST[z >> 42]",
    "else:",
    "    c{i} = far{i}(v{i})",
)
_TIME = (
    "if 134217728 <= v{i} < 86400000000:",
    "    z = v{i} + v{i}",
    "    c{i} = {m}[z & 16383] + MORE[z >> 14 & 16383] + LAST[z >> 28]",
    "else:",
    "    c{i} = far{i}(v{i})",
)
_INLINE: Mapping[str, tuple[str, ...]] = {
    "int2": _INTEGER,
    "int4": _INTEGER,
    "int8": _INTEGER,
    "oid": _INTEGER,
    "timestamp": _MOMENT,
    "timestamptz": _MOMENT,
    "time": _TIME,
    "date": ("c{i} = memo{i}[v{i}]",),
    "bool": ("c{i} = yes{i} if v{i} else no{i}",),
}
_COPIED = ("h{i} = {t}[n{i} + n{i}] if n{i} < 32768 else wide{i}(n{i} + n{i})", "c{i} = m[q:p]")

_DIALECTS = {
    # struct code of a header, names it gives, test for a value, test for NULL, width of NULL, and of a header
    "pgoutput": ("Bi", "k{i}, n{i}", "k{i} == 98", "k{i} == 110", 1, 5),
    "copy": ("i", "n{i}", "n{i} >= 0", "n{i} == -1", 4, 4),
}


class Transcoder:
    """The two generated functions for one relation version under one contract; `tuples` mends what they do not take.

    `columns` are the relation's, in its order; columns that the contract does not name are skipped. Raises ContractBroken
    when a field has no column, or a column no exact mapping (PG-46).
    """

    def __init__(
        self, contract: Contract, columns: Sequence[TupleColumn], key_schema_id: int, *, codec: str = ""
    ) -> None:
        self.columns = tuple(columns)
        self._contract = contract
        self.codec = codec
        code = Code(
            LAST=LAST,
            LAST_IN_UNION=LAST_IN_UNION,
            MORE=MORE,
            MORE_IN_UNION=MORE_IN_UNION,
            NULL=b"\0",
            FRAME=frame(key_schema_id),
            Unsent=Unsent,
            join=b"".join,
        )
        self._names = code.names
        fields = {field.column: field for field in contract.fields}
        if missing := sorted(set(fields) - {column.name for column in columns}):
            raise ContractBroken(
                contract.feed,
                f"the table no longer publishes {', '.join(missing)}",
                fix=_without(contract, missing),
            )
        self._plans = [self._plan(i, column, fields.get(column.name)) for i, column in enumerate(columns)]
        self.tuples = Tuples(contract, self.columns)
        self.row: Row = code.build(self._function("pgoutput"), "pgoutput")
        self.copied_row: Row = code.build(self._function("copy"), "copy")

    def _plan(self, i: int, column: TupleColumn, field: Field | None) -> _Plan:
        if field is None:
            return _Plan(i, "")
        try:
            encode, tag = encoder(column.type, field, typmod=column.typmod, codec=self.codec)
        except Unmapped as error:
            raise ContractBroken(
                self._contract.feed, f"column {column.name}: {error}", fix=f"`mesh follow {self._contract.feed} --yes`"
            ) from None
        encode = _naming(encode, column.name)
        code = "" if column.type.is_enum else _CODES.get(column.type.name, "")
        is_plain = tag in (b"", b"\x02")
        tables = {"i": i, "t": "LAST_IN_UNION" if tag else "LAST", "m": "MORE_IN_UNION" if tag else "MORE"}
        is_text = column.type.name in TEXTUAL_TYPES or column.type.is_enum
        null = f"c{i} = NULL"
        if isinstance(field.wire_type(), str | dict) or field.wire_type()[0] != "null":
            self._names[f"none{i}"] = _refusing_null(column.name)
            null = f"c{i} = none{i}()"
        if is_text and is_plain and field.branches[0] == ("bytes" if column.type.name == "bytea" else "string"):
            self._names[f"wide{i}"] = varint_in_union if tag else varint
            lines = tuple(line.format(**tables) for line in _COPIED)
            if self.codec and column.type.name != "bytea":
                self._names[f"utf8_{i}"] = _naming(to_utf8(self.codec), column.name)
                lines = (f"c{i} = utf8_{i}(m[q:p])", f"n{i} = len(c{i})", lines[0])
            return _Plan(i, "", lines, (f"h{i} = b''", null), (f"h{i}", f"c{i}"))
        if not code:
            is_memo = column.type.name in _RECURRING
            self._names[f"far{i}"] = _Memo(encode) if is_memo else encode
            call = f"c{i} = far{i}[m[q:p]]" if is_memo else f"c{i} = far{i}(m[q:p])"
            return _Plan(i, "", (call,), (null,), (f"c{i}",))
        far = encode if code.endswith("s") else _packing(code, encode)
        self._names[f"far{i}"] = far
        template = _INLINE.get(column.type.name) if is_plain and field.branches[0] != "string" else None
        if column.type.name == "date":
            self._names[f"memo{i}"] = _Memo(far)
        if column.type.name == "bool" and template:
            self._names |= {f"yes{i}": encode(b"\x01"), f"no{i}": encode(b"\x00")}
        lines = template or ("c{i} = far{i}(v{i})",)
        return _Plan(i, code, tuple(line.format(**tables) for line in lines), (null,), (f"c{i}",))

    def _function(self, dialect: str) -> list[str]:
        lines = [f"def {dialect}(m, p):"]
        for group in _groups(self._plans):
            lines += (f"    {line}" for line in self._group(dialect, group))
        by_column = {self.columns[plan.index].name: plan for plan in self._plans}
        parts = [part for field in self._contract.fields for part in by_column[field.column].parts]
        key_parts = [
            part for name in self._contract.key for part in by_column[self._contract.by_name[name].column].parts
        ]
        lines.append(f"    return join(({', '.join(parts)},)), join((FRAME, {', '.join(key_parts)})), p")
        return lines

    def _group(self, dialect: str, group: Sequence[_Plan]) -> Iterator[str]:
        """Fixed-width neighbours and the header behind them by one unpack; one by one when any of them is no value."""
        if len(group) == 1:
            yield from self._single(dialect, group[0])
            return
        head, names, is_value, _, _, _ = _DIALECTS[dialect]
        unpack = f"group{group[0].index}_{dialect}"
        layout = ">" + "".join(f"{head}{plan.code}" for plan in group)
        self._names[unpack] = struct.Struct(layout).unpack_from
        targets = ", ".join(names.format(i=p.index) + (f", v{p.index}" if p.code else "") for p in group)
        yield f"{targets} = {unpack}(m, p)"
        yield f"if {' and '.join(is_value.format(i=plan.index) for plan in group)}:"
        width = struct.calcsize(layout)
        if group[-1].code:
            yield f"    p += {width}"
        else:
            yield f"    q = p + {width}"
            yield f"    p = q + n{group[-1].index}"
        for plan in group:
            yield from (f"    {line}" for line in plan.lines)
        yield "else:"
        for plan in group:
            yield from (f"    {line}" for line in self._single(dialect, plan))

    def _single(self, dialect: str, plan: _Plan) -> Iterator[str]:
        head, names, is_value, is_null, null_width, width = _DIALECTS[dialect]
        i = plan.index
        layout = f">{head}{plan.code}"
        unpack = f"one{i}_{dialect}"
        self._names[unpack] = struct.Struct(layout).unpack_from
        targets = names.format(i=i) + (f", v{i}" if plan.code else "")
        yield f"{targets}{'' if ',' in targets else ','} = {unpack}(m, p)"
        yield f"if {is_value.format(i=i)}:"
        if plan.code:
            yield f"    p += {struct.calcsize(layout)}"
        else:
            yield f"    q = p + {width}"
            yield f"    p = q + n{i}"
        yield from (f"    {line}" for line in plan.lines)
        yield f"elif {is_null.format(i=i)}:"
        yield f"    p += {null_width}"
        yield from (f"    {line}" for line in plan.null)
        yield "else:"
        yield "    raise Unsent"


def _without(contract: Contract, missing: Sequence[str]) -> str:
    """What can be done about columns that are not there."""
    if {contract.by_name[name].column for name in contract.key} & set(missing):
        return "name the key's columns back; the feed then goes on by itself"
    return (
        f"name them back, and the feed goes on by itself; or let it go on without them: `mesh follow {contract.feed} --yes` "
        "(generated columns are published from PostgreSQL 18 on, with publish_generated_columns = stored)"
    )


def _groups(plans: Sequence[_Plan]) -> Iterator[list[_Plan]]:
    """Runs of fixed-width columns, each closed by the variable-width column behind it."""
    group: list[_Plan] = []
    for plan in plans:
        group.append(plan)
        if not plan.code or len(group) == 6:
            yield group
            group = []
    if group:
        yield group


def _naming(encode: Encode, column: str) -> Encode:
    def named(raw: bytes) -> bytes:
        try:
            return encode(raw)
        except Misfit as error:
            raise Rejected(error.reason, f"column {column}") from error
        except UnicodeDecodeError as error:  # PG-35: never replaced, never passed on
            raise Rejected(reason_of(error.encoding), f"column {column}") from None
        except (ValueError, struct.error, IndexError, KeyError) as error:
            raise Rejected("not_decodable", f"column {column}") from error

    return named


def _packing(code: str, encode: Encode) -> Callable[[Any], bytes]:
    pack = struct.Struct(f">{code}").pack
    return lambda value: encode(pack(value))


def _refusing_null(column: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise Rejected("key_is_null", f"column {column}")

    return refuse
