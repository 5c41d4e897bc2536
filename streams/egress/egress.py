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
| d    | in                                | as it is, reason SOURCE_DELETED or the one that a flow gave    |
| d    | out                               | suppressed                                                     |
| u, d | not known → out, or d not known   | ScopeUnknown: a removal if the row was delivered (scope.py), else suppressed |
| t    |                                   | as it is                                                       |

A grant without a row filter has every row in. "Not known" is a filter over columns that the source did not send: `before`
is null or holds the key alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.agreement.directory import GrantEntry
from schemas.agreement.grant import Grant, Mask
from schemas.errors import Misconfigured
from schemas.expression.expression import parse
from schemas.wire.envelope import frame
from schemas.wire.scan import Extras, Mark, Scanner, Shape
from schemas.wire.varint import long_bytes, text_bytes
from streams.egress.cut import Cut, CutPlan
from streams.egress.owed import Kept
from streams.egress.piece import Piece, adapter, hasher, masker

HashKey = Callable[[str], bytes]
"""The secret with which one subscriber's HASH columns are keyed (SE-06)."""

_MEMO_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """One grant applied to one value schema. `boundaries` are what its function needs of a Scanner."""

    boundaries: frozenset[int]
    build: Callable[[Scanner], Cut]
    withdrawal: Callable[[Scanner], Cut] | None
    trailer: Callable[[Extras], bytes]
    filter_columns: frozenset[str]
    kept: Callable[[Scanner], Kept] | None = None


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
    with more columns than before relies on (SK-15).

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
    if keeps is not None:
        needed |= {index[name] + end for name in key if name in index for end in (0, 1)}
    needed |= {boundary for piece in pieces for boundary in piece.boundaries}
    plan = CutPlan(
        head=frame(entry.value_schema_id),
        shape=shape,
        pieces=pieces,
        keeps=keeps,
        held=held_by,
        is_all_held=held is None,
        is_before_known=not (is_keyed_only and filter_columns - set(key)),
        is_snapshot=is_snapshot,
        key=frozenset(key),
        key_pieces=frozenset(place for place, name in enumerate(out.columns) if name in key),
    )
    return Cutting(
        boundaries=frozenset(needed),
        build=plan.build,
        withdrawal=plan.build_withdrawal if keeps is not None else None,
        trailer=_trailer(grant, set(out.columns), key),
        filter_columns=frozenset(filter_columns),
        kept=plan.build_kept,
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
    unchanged = [text_bytes(name.encode()) for name in extras.unchanged]
    return _nullable_array(unchanged) + _nullable_array([_encode(mark) for mark in extras.marks])


def _encode(mark: Mark) -> bytes:
    columns = [text_bytes(name.encode()) for name in mark.columns]
    normalised = b"\0" if mark.normalised is None else b"\x02" + text_bytes(mark.normalised.encode())
    return text_bytes(mark.code.encode()) + long_bytes(len(columns)) + b"".join(columns) + b"\0" + normalised


def _nullable_array(items: list[bytes]) -> bytes:
    return b"\x02" + long_bytes(len(items)) + b"".join(items) + b"\0" if items else b"\0"


def definition(grant: Grant) -> Mapping[str, Any]:
    """What decides which bytes a grant lets through: a grant with another definition is served from the start again."""
    masks = {column: str(mask) for column, mask in sorted(grant.mask.items()) if mask is not Mask.FULL}
    return {"columns": sorted(grant.columns), "row_filter": grant.row_filter, "mask": masks}


def definition_text(entry: GrantEntry) -> str:
    """The definition as text that compares. Another edition is another definition: it goes to another topic."""
    edition = {"edition": entry.edition} if entry.edition > 1 else {}
    return json.dumps({**definition(entry.grant), **edition}, sort_keys=True, ensure_ascii=False)
