"""Asked: whom a disclosure is about: the key of one row of a feed, or an identifier, which is looked for in all feeds."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.show.tail import readable
from schemas.contract import Contract
from schemas.contract import Field as Column
from schemas.errors import Misconfigured
from schemas.feed import check_feed
from schemas.wire.varint import long_bytes

IDENTIFIER_LENGTH_MIN = 6
"""What is shorter is no identifier of anybody, and would be found in everybody's rows."""
IDENTIFYING = frozenset({"PII", "DIRECT_ID"})

Key = Mapping[str, str]
"""Key columns and their values as people read them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`identifier` is empty where one row is asked for by its key. Not shown: whom it is about is nobody's in a log."""

    identifier: str = field(default="", repr=False)
    feed: str = ""
    key: Key = field(default_factory=dict[str, str], repr=False)

    @classmethod
    def of(cls, identifier: str, feed: str, pairs: Iterable[str]) -> Asked:
        """Read what was given to the command. Raises Misconfigured, without quoting it."""
        key = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
        if identifier and not (feed or key):
            if len(identifier) < IDENTIFIER_LENGTH_MIN:
                fix = "give a citizen id (公民身份号码), a unified code (统一社会信用代码) or another whole identifier"
                raise Misconfigured("the identifier", f"has under {IDENTIFIER_LENGTH_MIN} characters", fix=fix)
            return cls(identifier=identifier)
        if identifier or not feed or not key or not all(key.values()):
            fix = "give an identifier alone, or `--feed <feed> --key <column>=<value>`"
            raise Misconfigured("the subject", "is not said, or said twice", fix=fix)
        return cls(feed=check_feed(feed), key=key)

    def parts(self) -> tuple[str, ...]:
        """What names it, for its keyed hash: the same however it is asked for again."""
        return (self.identifier,) if self.identifier else (self.feed, *(f"{n}={self.key[n]}" for n in sorted(self.key)))


def identifying(contract: Contract) -> list[str]:
    """Columns of text by which somebody may be named: keys, what is tagged as personal, and data elements that identify."""
    return [column.name for column in contract.fields if _is_text(column) and _identifies(column)]


def _identifies(column: Column) -> bool:
    return column.is_key or bool(IDENTIFYING & column.tags) or "element" in column.gov or column.name == "uscc"


def _is_text(column: Column) -> bool:
    return any(branch == "string" for branch in column.branches)


def key_of(contract: Contract, values: Mapping[str, Any]) -> dict[str, str]:
    """A key as people read it."""
    return {name: str(readable(contract.by_name.get(name), value)) for name, value in values.items()}


def forms(value: str, hash_key: bytes | None) -> frozenset[str]:
    """The value as it stands on a subscriber's topics: as it is, and as its HASH mask makes it, be it text or a number there."""
    if hash_key is None:
        return frozenset({value})
    encoded = [value.encode()]
    if value.lstrip("-").isdecimal() and len(value) < 19:
        encoded.append(long_bytes(int(value)))
    return frozenset({value, *(hmac.digest(hash_key, each, "sha256").hex() for each in encoded)})
