"""Egress: what a grant lets through, cut out of the feed's Avro bytes without decoding the row.

For each value schema of a feed and each grant one function is generated. It takes an envelope and the boundaries that a
Scanner found, decides on the few columns that the row filter reads, and joins the granted spans to the bytes of the
grant's own `out` topic. Further grants share the walk. Upholds invariants 3 and 6: a column that no grant names is not in
any piece, and every change gets exactly one of the outcomes below.

| op   | row filter before → after         | outcome                                                        |
|------|-----------------------------------|----------------------------------------------------------------|
| r, c | in                                | as it is                                                       |
| r, c | out                               | suppressed                                                     |
| u    | in → in                           | as it is, also when no granted column changed (positions advance) |
| u    | in → out                          | delete, reason OUT_OF_SCOPE                                    |
| u    | out → in                          | create                                                         |
| u    | out → out                         | suppressed                                                     |
| u    | not known → in                    | as it is, `before` null                                        |
| d    | in                                | as it is, reason SOURCE_DELETED                                |
| d    | out                               | suppressed                                                     |
| u, d | not known → out, or d not known   | Rejected("scope_unknown"): a removal would tell of a row never granted |
| t    |                                   | as it is                                                       |

A grant without a row filter has every row in. "Not known" is a filter over columns that the source did not send: `before`
is null or, on a keyed-only feed, holds the key alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.directory import GrantEntry
from schemas.envelope import frame
from schemas.errors import Misconfigured, Rejected
from schemas.expression import Expression, parse
from schemas.expression_code import source_of
from schemas.grant import Grant, Mask
from streams.piece import Piece, adapter, hasher, masker
from streams.row_binding import SpanBinding
from streams.scan import Extras, Mark, Scanner, Shape, Spans
from streams.spans import write_long, write_text

HashKey = Callable[[str], bytes]
"""The secret with which one subscriber's HASH columns are keyed (FIELD-NOTES SE-06)."""

_MEMO_MAX = 4096


class Removal(bytes):
    """An out envelope that removes a row which left the grant's filter (reason OUT_OF_SCOPE)."""

    __slots__ = ()


Cut = Callable[[bytes, Spans], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """One grant applied to one value schema. `boundaries` are what its function needs of a Scanner."""

    boundaries: frozenset[int]
    build: Callable[[Scanner], Cut]
    trailer: Callable[[Extras], bytes]
    filter_columns: frozenset[str]


def scope_unknown() -> Rejected:
    """Whether the row was the subscriber's cannot be told."""
    return Rejected(
        "scope_unknown",
        "the row filter reads columns that the source did not send for the row as it was",
        fix="set REPLICA IDENTITY FULL on the table, or filter on key columns only",
    )


def misshapen() -> Rejected:
    """An op without the row it needs, or with one it cannot have."""
    return Rejected("misshapen", "before and after do not fit the op")


def cutting(
    shape: Shape,
    out: Shape,
    entry: GrantEntry,
    *,
    key: tuple[str, ...],
    is_keyed_only: bool,
    hash_key: HashKey,
    held: str | None = "false",
    is_snapshot: bool = False,
) -> Cutting:
    """Apply a grant to records of `shape`; `out` is the schema registered for the grant's topic.

    `held` is the row filter by which the subscriber was served before the grant was redefined (None: every row,
    "false": none): rows that it holds by that and that the present filter excludes are removed. `is_snapshot` makes rows of
    the past what a snapshot's are: op r, without before; a sink takes such a row again at an equal position, which a grant
    with more columns than before relies on (FIELD-NOTES SK-15).

    Raises Misconfigured for a grant that cannot be applied: a key column MASKed or DROPped, a filter that does not fit, a
    column whose written type does not fit the out schema.
    """
    grant = entry.grant
    for column in key:
        if grant.mask.get(column) in {Mask.MASK, Mask.DROP}:
            raise Misconfigured(
                f"grant {grant.grant_id}", f"hides key column {column}", fix="use FULL or HASH for key columns"
            )
    if shape.types.essence(shape.section("source")) != out.types.essence(out.section("source")):
        raise Misconfigured(f"grant {grant.grant_id}", "has another source block than its feed", fix="grant it again")
    pieces = _pieces(shape, out, grant, key, hash_key)
    keeps = parse(grant.row_filter) if grant.row_filter is not None else None
    held_by = parse(held) if held is not None and held != "false" else None
    filter_columns = (keeps.columns if keeps else frozenset()) | (held_by.columns if held_by else frozenset())
    index = {name: place for place, name in enumerate(shape.columns)}
    needed = {index[name] + end for name in filter_columns if name in index for end in (0, 1)}
    needed |= {boundary for piece in pieces for boundary in piece.boundaries}
    plan = _Plan(
        head=frame(entry.value_schema_id),
        shape=shape,
        pieces=pieces,
        keeps=keeps,
        held=held_by,
        is_all_held=held is None,
        is_before_known=not (is_keyed_only and filter_columns - set(key)),
        is_snapshot=is_snapshot,
    )
    return Cutting(
        boundaries=frozenset(needed),
        build=plan.build,
        trailer=_trailer(grant, set(out.columns), key),
        filter_columns=frozenset(filter_columns),
    )


def _pieces(shape: Shape, out: Shape, grant: Grant, key: tuple[str, ...], hash_key: HashKey) -> list[Piece]:
    """One piece per out column, in out order. Default deny: what the grant does not name is written as null."""
    pieces: list[Piece] = []
    for name in out.columns:
        out_type = out.column_types[name]
        mask = grant.mask.get(name, Mask.FULL)
        is_granted = name in key or (name in grant.columns and mask is not Mask.DROP)
        if not is_granted or name not in shape.columns:
            if not isinstance(out_type, list) or out_type[0] != "null":
                raise Misconfigured(
                    f"grant {grant.grant_id}", f"column {name} is neither sent nor nullable", fix="register it again"
                )
            pieces.append(Piece(constant=b"\0"))
            continue
        place = shape.columns.index(name)
        written = shape.column_types[name]
        if mask is Mask.FULL:
            convert = adapter(shape.types, written, out.types, out_type, f"grant {grant.grant_id}, column {name}")
            pieces.append(Piece(start=place, convert=convert))
        elif mask is Mask.MASK:
            pieces.append(Piece(start=place, convert=masker(shape.types, written)))
        else:
            pieces.append(
                Piece(start=place, convert=hasher(shape.types, written, out_type, hash_key(grant.subscriber)))
            )
    return pieces


def _trailer(grant: Grant, out_columns: set[str], key: tuple[str, ...]) -> Callable[[Extras], bytes]:
    """Encodes `unchanged` and `dq` for one grant: what speaks of columns not granted in clear is left out."""
    sent = {name for name in out_columns if name in key or name in grant.columns}
    clear = {name for name in sent if grant.mask.get(name, Mask.FULL) is Mask.FULL}
    memo: dict[Extras, bytes] = {}

    def trailer(extras: Extras) -> bytes:
        encoded = memo.get(extras)
        if encoded is None:
            if len(memo) >= _MEMO_MAX:
                memo.clear()
            unchanged = tuple(name for name in extras.unchanged if name in sent)
            marks = tuple(mark for mark in extras.marks if mark.columns and clear.issuperset(mark.columns))
            encoded = memo[extras] = encode_extras(Extras(unchanged, marks))
        return encoded

    return trailer


def encode_extras(extras: Extras) -> bytes:
    """The envelope's last two fields, `unchanged` and `dq`."""
    unchanged = [write_text(name.encode()) for name in extras.unchanged]
    return _nullable_array(unchanged) + _nullable_array([_encode(mark) for mark in extras.marks])


def _encode(mark: Mark) -> bytes:
    columns = [write_text(name.encode()) for name in mark.columns]
    normalised = b"\0" if mark.normalised is None else b"\x02" + write_text(mark.normalised.encode())
    return write_text(mark.code.encode()) + write_long(len(columns)) + b"".join(columns) + b"\0" + normalised


def _nullable_array(items: list[bytes]) -> bytes:
    return b"\x02" + write_long(len(items)) + b"".join(items) + b"\0" if items else b"\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Everything that the function of one grant is generated from."""

    head: bytes
    shape: Shape
    pieces: list[Piece]
    keeps: Expression | None
    held: Expression | None
    is_all_held: bool
    is_before_known: bool
    is_snapshot: bool

    def build(self, scanner: Scanner) -> Cut:
        """Generate the function against the boundaries of this scanner."""
        namespace: dict[str, Any] = {
            "join": b"".join,
            "Removal": Removal,
            "scope_unknown": scope_unknown,
            "misshapen": misshapen,
        }

        def keep(value: Any) -> str:
            name = f"k{len(namespace)}"
            namespace[name] = value
            return name

        lines = _Writer(self, scanner, keep).lines()
        # The source is made of boundaries, our own names and constants in the namespace; no author's word is in it.
        exec(compile("\n".join(lines), "<cut>", "exec"), namespace)  # noqa: S102
        return namespace["cut"]


class _Writer:
    """Writes the source of one cut function. Tests and outputs are written for row x (before) or y (after)."""

    def __init__(self, plan: _Plan, scanner: Scanner, keep: Callable[[Any], str]) -> None:
        self._plan = plan
        self._scanner = scanner
        self._keep = keep
        self._head = keep(plan.head)

    def lines(self) -> list[str]:
        """The function: the ops in the order of their frequency."""
        update, created, removed, deleted = self._outputs()
        lines = ["def cut(b, s):", "    op, x, y, src, op_at, _, _ = s"]
        lines += ["    if op == 117:", "        if y is None:", "            raise misshapen()"]
        lines += [f"        {line}" for line in self._update(update, created, removed)]
        lines += [
            "    if op == 99 or op == 114:",
            "        if y is None or x is not None:",
            "            raise misshapen()",
        ]
        lines += [f"        {line}" for line in self._created()]
        lines += ["    if op == 100:", *(f"        {line}" for line in self._deleted(deleted))]
        lines += ["    if op == 116 and x is None and y is None:", f"        return join(({self._head}, b[5:]))"]
        lines.append("    raise misshapen()")
        return lines

    def _test(self, expression: Expression, row: str) -> tuple[list[str], str]:
        """Lines to run first, and the source of the truth, of an expression over one row."""
        types = self._plan.shape.column_types
        binding = SpanBinding(self._plan.shape, self._scanner.slot, row, self._keep)
        return (binding.loads, source_of(expression, types, binding, self._keep))

    def _set(self, name: str, expression: Expression, row: str) -> list[str]:
        loads, source = self._test(expression, row)
        return [*loads, f"{name} = {source}"]

    def _was_in(self) -> list[str]:
        """Sets was_in, for a record whose before is not null; the rows held by an older filter count as in."""
        plan = self._plan
        if plan.keeps is None or plan.is_all_held:
            return ["was_in = True"]
        lines = self._set("was_in", plan.keeps, "x")
        if plan.held is not None:
            for row in ("x", "y"):
                more = [f"if not was_in and {row} is not None:"]
                lines += more + [f"    {line}" for line in self._set("was_in", plan.held, row)]
        return lines

    def _update(self, update: str, created: str, removed: str) -> list[str]:
        plan = self._plan
        if plan.keeps is None:
            return [f"return {update} if x is not None else {self._upsert()}"]
        lines = self._set("is_in", plan.keeps, "y")
        if not plan.is_before_known:
            return [*lines, "if is_in:", f"    return {self._upsert(is_before_null=False)}", "raise scope_unknown()"]
        lines += ["if x is None:", "    if is_in:", f"        return {self._upsert()}", "    raise scope_unknown()"]
        lines += self._was_in()
        lines += ["if is_in:", f"    return {update} if was_in else {created}"]
        lines += ["if was_in:", f"    return Removal({removed})", "return None"]
        return lines

    def _created(self) -> list[str]:
        plan = self._plan
        if plan.keeps is None:
            return [f"return {self._upsert()}"]
        lines = self._set("is_in", plan.keeps, "y")
        lines += ["if is_in:", f"    return {self._upsert()}"]
        if plan.held is not None:
            lines += [*self._set("is_held", plan.held, "y"), "if is_held:", f"    return Removal({self._withdrawn()})"]
        elif plan.is_all_held:
            return [*lines, f"return Removal({self._withdrawn()})"]
        return [*lines, "return None"]

    def _deleted(self, deleted: str) -> list[str]:
        plan = self._plan
        bare = f"join(({self._head}, {self._keep(bytes(2))}, b[src:]))"
        if plan.keeps is None:
            return [f"return {deleted} if x is not None else {bare}"]
        if not plan.is_before_known:
            return ["raise scope_unknown()"]
        was_in = self._was_in()
        return [
            "if x is None:",
            "    raise scope_unknown()",
            "y = None",
            *was_in,
            f"return {deleted} if was_in else None",
        ]

    # --- the bytes -------------------------------------------------------------------------------------------------

    def _outputs(self) -> tuple[str, str, str, str]:
        """Sources of the out envelope for an update as it is, a create, a removal and a delete as it is."""
        before = _branched("5", "x0", b"\x02", self._row("x"))
        after = [b"\x02", *self._row("y")]
        if isinstance(before[-1], tuple) and before[-1][1] == "x$":  # the two rows touch: one span for both
            after = _branched("x$", "y0", b"\x02", self._row("y"))
        tail = [("src", "")]
        update = self._read() if self._plan.is_snapshot else self._join([*before, *after, *tail])
        created = self._read() if self._plan.is_snapshot else self._alone(b"\x02c")
        gone: list[Any] = [("src", "op_at"), b"\x02d", ("op_at + 2", "")]
        removed = self._join([*before, b"\0", *gone])
        deleted = self._join([*before, b"\0", *tail])
        return update, created, removed, deleted

    def _upsert(self, *, is_before_null: bool = True) -> str:
        """The out envelope with before null and everything else as it is."""
        if self._plan.is_snapshot:
            return self._read()
        row = self._row("y")
        start = _branched("5", "y0", b"\0\x02", row) if is_before_null else [b"\0\x02", *row]
        return self._join([*start, ("src", "")])

    def _read(self) -> str:
        """The out envelope of a snapshot's row."""
        return self._alone(b"\x02r")

    def _alone(self, op: bytes) -> str:
        """The out envelope with before null and another op."""
        return self._join([b"\0\x02", *self._row("y"), ("src", "op_at"), op, ("op_at + 2", "")])

    def _withdrawn(self) -> str:
        """A removal made of a create or snapshot row: what it was is in after."""
        return self._join([b"\x02", *self._row("y"), b"\0", ("src", "op_at"), b"\x02d", ("op_at + 2", "")])

    def _row(self, row: str) -> list[Any]:
        """The pieces of one projected row; a span is a pair of places, anything else bytes or a source text."""
        parts: list[Any] = []
        for piece in self._plan.pieces:
            if piece.start is None:
                parts.append(piece.constant)
            elif piece.convert is None:
                parts.append((self._place(row, piece.start), self._place(row, piece.start + 1)))
            else:
                start, end = (self._source(self._place(row, piece.start + more)) for more in (0, 1))
                parts.append(f"{self._keep(piece.convert)}(b, {start}, {end})")
        return parts

    def _place(self, row: str, boundary: int) -> str:
        if boundary == len(self._plan.shape.columns):
            return "x$" if row == "x" else "src"
        return f"{row}{boundary}"

    def _source(self, place: str) -> str:
        """Python source of a place: a boundary looks its slot up, anything else is itself."""
        if place[:1] in {"x", "y"}:
            boundary = len(self._plan.shape.columns) if place == "x$" else int(place[1:])
            return f"{place[0]}[{self._scanner.slot[boundary]}]"
        return place

    def _join(self, parts: list[Any]) -> str:
        merged: list[Any] = [self._plan.head]
        for part in parts:
            last = merged[-1]
            if isinstance(part, tuple) and isinstance(last, tuple) and last[1] == part[0]:
                merged[-1] = (last[0], part[1])
            elif isinstance(part, bytes) and isinstance(last, bytes):
                merged[-1] = last + part
            else:
                merged.append(part)
        texts = [
            self._keep(part)
            if isinstance(part, bytes)
            else part
            if isinstance(part, str)
            else f"b[{self._source(part[0])}:{self._source(part[1])}]"
            for part in merged
        ]
        return f"join(({', '.join(texts)}, ))"


def _branched(start: str, end: str, constant: bytes, row: list[Any]) -> list[Any]:
    """A union branch before a row: part of the row's first span where they touch, a constant otherwise."""
    if row and isinstance(row[0], tuple) and row[0][0] == end:
        return [(start, row[0][1]), *row[1:]]
    return [constant, *row]


def definition(grant: Grant) -> Mapping[str, Any]:
    """What decides which bytes a grant lets through: a grant with another definition is served from the start again."""
    masks = {column: str(mask) for column, mask in sorted(grant.mask.items()) if mask is not Mask.FULL}
    return {"columns": sorted(grant.columns), "row_filter": grant.row_filter, "mask": masks}


def definition_text(grant: Grant) -> str:
    """The definition as text that compares."""
    return json.dumps(definition(grant), sort_keys=True, ensure_ascii=False)
