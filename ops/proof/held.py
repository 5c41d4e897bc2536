"""Held: the rows that a subscriber holds by a grant, worked out from what was read back (sinks/copy.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.proof.plain import Read, plain
from schemas.agreement.grant import Grant, Mask
from schemas.contract import Contract
from sinks.copy import Copy, Held, granted

Key = tuple[Any, ...]
Rows = dict[Key, tuple[Any, ...]]
"""Key values to the values of all granted columns, in the order of `granted`."""


def held(copy: Copy, grant: Grant, contract: Contract) -> Rows:
    """The newest state of each key. Raises Misconfigured for a format that cannot be read, Transient."""
    fields = granted(grant, contract)
    reads = [(field.name, plain(field, grant.mask.get(field.name, Mask.FULL))) for field in fields]
    key_reads = [read for field, read in zip(fields, reads, strict=True) if field.is_key]
    places = [place for place, field in enumerate(fields) if field.is_key]
    rows: Rows = {}
    newest: dict[Key, Held] = {}
    truncated = ""
    for event in copy.held(grant, contract):
        if not event.token:
            values = _take(event.row, reads)
            rows[tuple(values[place] for place in places)] = values
            continue
        if event.op == "t":
            truncated = max(truncated, event.token)
            continue
        key = _take(event.row, key_reads)
        known = newest.get(key)
        if known is None or known.token < event.token:
            row = event.row
            if event.unchanged and known is not None:
                row = {**row, **{name: known.row[name] for name in event.unchanged if name in known.row}}
            newest[key] = Held(row, event.token, event.op)
    for key, event in newest.items():
        if event.op != "d" and event.token >= truncated:
            rows[key] = _take(event.row, reads)
    return rows


def _take(row: Mapping[str, Any], reads: Iterable[tuple[str, Read]]) -> tuple[Any, ...]:
    return tuple([read(row[name]) for name, read in reads])
