"""Chain: what is in a line of the audit, in which bytes, and how each line holds the one before.

A line is one JSON object in canonical form: names sorted, no spaces, UTF-8. `seq` counts from 1, `previous` is the hash of the line
before (64 zeros for the first), `hash` is the SHA-256 (FIPS 180-4) of the line without `hash`, and `seen` is the offset up to which
its writer had read. Lines of before the chain, and of processes of an earlier version that still run, have none of these; the next
writer's first line takes them up: `taken_up` has their number and one hash over all of theirs, in order.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.errors import Misconfigured

GENESIS = "0" * 64
RESERVED = frozenset({"seq", "previous", "seen", "taken_up", "hash"})
_HASH = re.compile(r"[0-9a-f]{64}")

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain is: the number and the hash of its last line. A person can note it down, as `4711:9f3c…`."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read what `mesh audit head` printed, or a hash alone, whose number is 0 then. Raises Misconfigured."""
        number, _, digits = text.strip().lower().rpartition(":")
        if not _HASH.fullmatch(digits) or not (number == "" or number.isdecimal()):
            fix = "give it as `mesh audit head` printed it, such as 4711:<64 hexadecimal digits>"
            raise Misconfigured(f"head {text[:80]}", "is no head of an audit", fix=fix)
        return cls(int(number or 0), digits)


def canonical(line: Line) -> bytes:
    """The one way in which a line is written."""
    text = json.dumps(line, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode(
        "utf-8", "backslashreplace"
    )  # half a character, as in a file's name, comes back out of JSON as it was


def digest(line: Line) -> str:
    """The hash of a line: of everything in it but its hash."""
    return hashlib.sha256(canonical({name: value for name, value in line.items() if name != "hash"})).hexdigest()


def is_linked(line: Line) -> bool:
    """Whether a line is one of the chain, or says that it is."""
    return "seq" in line


def taken_up(hashes: Iterable[str]) -> dict[str, Any]:
    """What a linked line says of lines without a link: how many, and one hash over theirs in order."""
    listed = list(hashes)
    return {"lines": len(listed), "hash": hashlib.sha256("\n".join(listed).encode()).hexdigest()}


def linked(line: Line, head: Head, seen: int, loose: Iterable[str] = ()) -> tuple[dict[str, Any], Head]:
    """The line as it stands in the chain behind `head`, and the head that it makes; `loose`: hashes of the lines it takes up."""
    whole = {**line, "seq": head.seq + 1, "previous": head.hash, "seen": seen}
    if listed := list(loose):
        whole["taken_up"] = taken_up(listed)
    whole["hash"] = digest(whole)
    return whole, Head(whole["seq"], whole["hash"])


def line_of(value: bytes | None) -> dict[str, Any]:
    """A record of the audit as a line; what is no JSON object is a line without a link that has its hash."""
    try:
        found = json.loads(value or b"")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"unreadable": hashlib.sha256(value or b"").hexdigest()}  # pyright: ignore[reportUnknownVariableType]
