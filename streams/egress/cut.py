"""Cut: the source of the function that applies one grant to the envelopes of one value schema.

A projected row is a list of parts: spans between two places of the envelope, constants, and conversions. Spans that touch
become one, so that a grant on neighbouring columns costs one slice, and a grant on all of them one for the whole record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.errors import Rejected
from schemas.expression.code import source_of
from schemas.expression.expression import Expression
from schemas.wire.code import Code
from schemas.wire.row_binding import SpanBinding
from schemas.wire.scan import Scanner, Shape, Spans
from streams.egress.piece import Piece


class Removal(bytes):
    """An out envelope that removes a row which left the grant's filter (reason OUT_OF_SCOPE)."""

    __slots__ = ()


Cut = Callable[[bytes, Spans], bytes | None]


class ScopeUnknown(Rejected):
    """Whether the row was the subscriber's cannot be told from the change; what was delivered may tell (streams/egress/scope.py)."""


def scope_unknown() -> ScopeUnknown:
    """The source did not send the row as it was."""
    return ScopeUnknown(
        "scope_unknown",
        "the row filter reads columns that the source did not send for the row as it was",
        fix="set REPLICA IDENTITY FULL on the table, or filter on key columns only",
    )


def misshapen() -> Rejected:
    """An op without the row it needs, or with one it cannot have."""
    return Rejected("misshapen", "before and after do not fit the op")


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPlan:
    """Everything that the function of one grant is generated from; `cutting` in streams/egress/egress.py makes one."""

    head: bytes
    shape: Shape
    pieces: list[Piece]
    keeps: Expression | None
    held: Expression | None
    is_all_held: bool
    is_before_known: bool
    is_snapshot: bool
    key: frozenset[str]
    key_pieces: frozenset[int]

    def build(self, scanner: Scanner) -> Cut:
        """Generate the function against the boundaries of this scanner."""
        return self._built(scanner, "cut", _Writer.lines)

    def build_withdrawal(self, scanner: Scanner) -> Cut:
        """Generate the function that makes a removal of any change, for a row that is known to be the subscriber's."""
        return self._built(scanner, "withdraw", _Writer.withdrawal)

    def build_kept(self, scanner: Scanner) -> Callable[[bytes, Spans], bool]:
        """Generate the function that says of a row inside the filter whether the former filter held it, too."""
        return self._built(scanner, "kept", _Writer.kept)

    def _built(self, scanner: Scanner, name: str, lines_of: Callable[[_Writer], list[str]]) -> Any:
        code = Code(join=b"".join, Removal=Removal, scope_unknown=scope_unknown, misshapen=misshapen)
        return code.build(lines_of(_Writer(self, scanner, code.keep)), name)


class _Writer:
    """Writes the source of one cut function. Tests and outputs are written for row x (before) or y (after)."""

    def __init__(self, plan: CutPlan, scanner: Scanner, keep: Callable[[Any], str]) -> None:
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
            f"if {' or '.join(['x is None', *self._is_key_alone()])}:",
            "    raise scope_unknown()",
            "y = None",
            *was_in,
            f"return {deleted} if was_in else None",
        ]

    def _is_key_alone(self) -> list[str]:
        """The test whether a delete's row may be its key alone: every other column is one byte long, hence null.

        A table's replica identity may have changed since its feed was onboarded; nothing else on the wire says so.
        """
        plan, columns = self._plan, self._plan.shape.columns
        filtered = (plan.keeps.columns if plan.keeps else frozenset()) | (
            plan.held.columns if plan.held else frozenset()
        )
        if filtered <= plan.key:
            return []
        keys = [place for place, name in enumerate(columns) if name in plan.key]
        spans = "".join(
            f" - ({self._source(f'x{at + 1}')} - {self._source(f'x{at}')})" for at in keys if at + 1 < len(columns)
        )
        if len(columns) - 1 in keys:  # the last column ends where the row does
            spans += f" - (src - 1 - {self._source(f'x{len(columns) - 1}')})"
        return [f"src - 7{spans} == {len(columns) - len(keys)}"]

    def kept(self) -> list[str]:
        """A function that evaluates the former filter over the row behind the change."""
        lines = ["def kept(b, s):", "    op, x, y, src, op_at, _, _ = s"]
        if self._plan.held is None:  # it was the same, or every row
            return [*lines, "    return True"]
        return [*lines, *(f"    {line}" for line in self._set("is_held", self._plan.held, "y")), "    return is_held"]

    def withdrawal(self) -> list[str]:
        """A function from a change to the removal of its row, which names the key alone."""
        gone = [("src", "op_at"), b"\x02d", ("op_at + 2", "")]
        row = [part if at in self._plan.key_pieces else b"\0" for at, part in enumerate(self._row("y"))]
        was = [part if at in self._plan.key_pieces else b"\0" for at, part in enumerate(self._row("x"))]
        return [
            "def withdraw(b, s):",
            "    op, x, y, src, op_at, _, _ = s",
            "    if y is not None:",
            f"        return Removal({self._join([bytes([2]), *row, bytes(1), *gone])})",
            "    if x is not None:",
            f"        return Removal({self._join([bytes([2]), *was, bytes(1), *gone])})",
            f"    return Removal({self._join([bytes(2), *gone])})",
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
