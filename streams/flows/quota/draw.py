"""Draw (摇号): who wins, as anybody can compute it again from what is published; pure, and used by the flow and by `mesh quota`.

The roster hash and the commitment to the draw key are public before the key is. The order of the codes then follows from the
key alone: HMAC-SHA256 with the draw key as key and the code as message, ascending as bytes; the first `quota` codes win.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

ALGORITHM = "HMAC-SHA256"
KEY_BYTES = 32


def roster_hash(codes: Iterable[str]) -> str:
    """SHA-256 of the codes, sorted as ASCII text and joined by LF without a final one; hexadecimal."""
    return hashlib.sha256("\n".join(sorted(codes)).encode("ascii")).hexdigest()


def commitment(draw_key: bytes) -> str:
    """What is published before the draw key is: its SHA-256, hexadecimal."""
    return hashlib.sha256(draw_key).hexdigest()


def draw_value(draw_key: bytes, code: str) -> bytes:
    """A code's place in the draw: the smaller, the earlier."""
    return hmac.digest(draw_key, code.encode("ascii"), "sha256")


def draw_order(codes: Iterable[str], draw_key: bytes) -> list[str]:
    """All codes in the order of the draw."""
    return [code for _, code in sorted((draw_value(draw_key, code), code) for code in codes)]


def parse_key(text: str) -> bytes | None:
    """A draw key from its hexadecimal text; None if it is not 32 bytes of it."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None


def verify_draw(
    codes: Sequence[str],
    *,
    published_hash: str,
    key_commitment: str,
    draw_key: str,
    quota: int,
    winners: Sequence[str],
    algorithm: str = ALGORITHM,
) -> list[str]:
    """What is wrong with a draw, as codes; an empty list means that it is exactly the one that follows from the key.

    `codes` is the published roster, `winners` the published result in order of rank. Possible: ALGORITHM_UNKNOWN,
    ROSTER_REPEATS, ROSTER_HASH_DIFFERS, KEY_NOT_HEX, KEY_NOT_COMMITTED, WINNERS_DIFFER.
    """
    problems: list[str] = []
    if algorithm != ALGORITHM:
        problems.append("ALGORITHM_UNKNOWN")
    if len(set(codes)) != len(codes):
        problems.append("ROSTER_REPEATS")
    if roster_hash(codes) != published_hash.lower():
        problems.append("ROSTER_HASH_DIFFERS")
    key = parse_key(draw_key)
    if key is None:
        return [*problems, "KEY_NOT_HEX"]
    if commitment(key) != key_commitment.lower():
        problems.append("KEY_NOT_COMMITTED")
    if list(winners) != draw_order(codes, key)[: max(quota, 0)]:
        problems.append("WINNERS_DIFFER")
    return problems
