"""What egress must give, said with decoded rows: slow, plain, and sharing no code with the cutting."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from schemas.agreement.grant import Grant, Mask
from schemas.expression.expression import parse

SUPPRESSED = "suppressed"
UNKNOWN = "scope_unknown"
Row = Mapping[str, Any]


def masked(value: Any, kind: str, mask: Mask, key: bytes) -> Any:
    if value is None or mask is Mask.FULL:
        return value
    if mask is Mask.HASH:
        assert kind == "string", "the oracle hashes text only"
        return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()
    if kind != "string":
        return None
    if len(value) <= 2:
        return value[:1] + "*" if len(value) == 2 else "*" * len(value)
    return value[0] + "*" * (len(value) - 2) + value[-1]


def project(row: Row | None, out_columns: list[str], kinds: Mapping[str, str], grant: Grant, key: bytes) -> Any:
    if row is None:
        return None
    return {
        name: masked(row[name], kinds[name], grant.mask.get(name, Mask.FULL), key) if name in row else None
        for name in out_columns
    }


def _may_be_key_alone(row: Row, row_filter: str) -> bool:
    """Whether the source may have sent the key c0 and nothing else, while the filter reads more."""
    is_alone = all(value is None for name, value in row.items() if name != "c0")
    return is_alone and not parse(row_filter).columns <= {"c0"}


def expected(
    envelope: Row,
    keeps: Callable[[Row], bool],
    grant: Grant,
    out_columns: list[str],
    kinds: Mapping[str, str],
    key: bytes,
    clear: set[str],
) -> Any:
    """The out envelope as a dict with its reason, or SUPPRESSED, or UNKNOWN."""
    before, after, op = envelope["before"], envelope["after"], envelope["op"]
    is_in = after is not None and keeps(after)
    was_in = before is not None and keeps(before)
    out = dict(envelope)
    out["before"] = project(before, out_columns, kinds, grant, key)
    out["after"] = project(after, out_columns, kinds, grant, key)
    out["unchanged"] = [name for name in envelope["unchanged"] or [] if name in out_columns] or None
    out["dq"] = [mark for mark in envelope["dq"] or [] if mark["columns"] and set(mark["columns"]) <= clear] or None
    if op == "t":
        return out, ""
    if op in {"c", "r"}:
        return (out, "") if is_in else SUPPRESSED
    if op == "d":
        if grant.row_filter is not None and (before is None or _may_be_key_alone(before, grant.row_filter)):
            return UNKNOWN
        return (out, "SOURCE_DELETED") if grant.row_filter is None or was_in else SUPPRESSED
    if before is None:
        return (out, "") if is_in else UNKNOWN
    if is_in:
        return ({**out, "op": "u" if was_in else "c", "before": out["before"] if was_in else None}, "")
    return ({**out, "op": "d", "after": None}, "OUT_OF_SCOPE") if was_in else SUPPRESSED
