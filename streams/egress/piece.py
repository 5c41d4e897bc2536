"""Pieces: how one column's written bytes become what a subscriber may see of them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from schemas.contract import AvroType
from schemas.errors import Misconfigured
from schemas.expression.column_kind import branches_of
from schemas.wire.spans import Types, read_text
from schemas.wire.varint import long_bytes, read_long, text_bytes

Convert = Callable[[bytes, int, int], bytes]
"""From a column's span in an envelope to its bytes in the out envelope."""

_MEMO_MAX = 16384


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One out column: the span of written column `start`, as it is or converted; or a constant."""

    start: int | None = None
    convert: Convert | None = None
    constant: bytes = b""

    @property
    def boundaries(self) -> tuple[int, ...]:
        """The column boundaries that it needs."""
        return () if self.start is None else (self.start, self.start + 1)


def adapter(written: Types, written_type: AvroType, out: Types, out_type: AvroType, place: str) -> Convert | None:
    """From a column as written to the same column in the out schema; None where the bytes are the same.

    Raises Misconfigured where a written branch has no twin in the out type.
    """
    if written.essence(written_type) == out.essence(out_type):
        return None
    twins = [out.essence(branch) for branch in branches_of(out_type)]
    try:
        targets = [twins.index(written.essence(branch)) for branch in branches_of(written_type)]
    except ValueError as error:
        raise Misconfigured(
            place, "its written type does not fit the granted one", fix="register a compatible contract"
        ) from error
    if not isinstance(out_type, list):
        raise Misconfigured(place, "may be null, which the granted type forbids", fix="make the granted type nullable")
    prefixes = [long_bytes(target) for target in targets]
    if not isinstance(written_type, list):
        return lambda b, i, j: prefixes[0] + b[i:j]
    if targets == list(range(len(targets))):
        return None

    def rebranch(b: bytes, i: int, j: int) -> bytes:
        branch, start = read_long(b, i)
        return prefixes[branch] + b[start:j]

    return rebranch


def masker(types: Types, written_type: AvroType) -> Convert:
    """Text keeps its first and last character (of two, the first); anything else becomes null."""
    branches = [types.resolve(branch) for branch in branches_of(written_type)]
    text_branch = next((index for index, branch in enumerate(branches) if branch != "null"), 0)
    if branches[text_branch] != "string":
        return lambda b, i, j: b"\0"  # noqa: ARG005  # a Convert's shape
    is_union = isinstance(written_type, list)

    def mask(b: bytes, i: int, j: int) -> bytes:  # noqa: ARG001  # a Convert's shape
        branch, start = read_long(b, i) if is_union else (text_branch, i)
        if branch != text_branch:
            return b"\0"
        text = read_text(b, start)[0].decode("utf-8", "replace")
        last = text[-1] if len(text) > 2 else ""
        hidden = (text[:1] if len(text) > 1 else "") + "*" * (len(text) - (len(text) > 1) - len(last)) + last
        return b"\x02" + text_bytes(hidden.encode())

    return mask


def hasher(types: Types, written_type: AvroType, out_type: AvroType, key: bytes) -> Convert:
    """HMAC-SHA256 of the value under the subscriber's key, as hexadecimal text.

    Text hashes as its UTF-8 bytes, anything else as its Avro bytes, without the union's branch: equal values of two feeds
    have equal hashes for one subscriber, and for nobody else.
    """
    branches = [types.resolve(branch) for branch in branches_of(written_type)]
    is_union = isinstance(written_type, list)
    prefix = b"\x02" if isinstance(out_type, list) else b""
    memo: dict[bytes, bytes] = {}

    def hash_span(b: bytes, i: int, j: int) -> bytes:
        span = b[i:j]
        hashed = memo.get(span)
        if hashed is None:
            if len(memo) >= _MEMO_MAX:
                memo.clear()
            branch, start = read_long(span, 0) if is_union else (0, 0)
            kind = branches[branch]
            if kind == "null":
                hashed = b"\0"
            else:
                value = read_text(span, start)[0] if kind in ("string", "bytes") else span[start:]
                hashed = prefix + text_bytes(hmac.digest(key, value, "sha256").hex().encode())
            memo[span] = hashed
        return hashed

    return hash_span
